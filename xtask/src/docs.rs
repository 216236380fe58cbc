//! `docs/configuration.md` and `docs/metrics.md`, generated from the declarations of the settings
//! and of the metrics.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use s3proxy::config::reference;
use s3proxy::telemetry::metrics;

const FOLDER: &str = "docs";

/// A page's path, and the function that generates its text.
type Page = (&'static str, fn() -> String);

const PAGES: &[Page] = &[
    ("configuration.md", reference::markdown),
    ("metrics.md", metrics::reference::markdown),
];

#[derive(Debug, thiserror::Error)]
pub(crate) enum DocsError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} does not match the declarations; run `cargo run -p xtask -- docs`")]
    Outdated { path: PathBuf },
}

pub(crate) fn write(root: &Path) -> Result<(), DocsError> {
    for (name, markdown) in PAGES {
        let path = root.join(FOLDER).join(name);
        fs::create_dir_all(root.join(FOLDER))
            .and_then(|()| fs::write(&path, markdown()))
            .map_err(|source| DocsError::File { path, source })?;
    }
    Ok(())
}

pub(crate) fn check(root: &Path) -> Result<(), DocsError> {
    for (name, markdown) in PAGES {
        let path = root.join(FOLDER).join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text == markdown() => {}
            Ok(_) => return Err(DocsError::Outdated { path }),
            Err(source) => return Err(DocsError::File { path, source }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_match_the_declarations() {
        check(&crate::root()).unwrap();
    }

    #[test]
    fn an_outdated_page_is_found_and_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        assert!(matches!(check(folder.path()), Err(DocsError::File { .. })));
        write(folder.path()).unwrap();
        for (name, _) in PAGES {
            fs::write(folder.path().join("docs").join(name), "something else").unwrap();
            let checked = check(folder.path());
            assert!(matches!(checked, Err(DocsError::Outdated { .. })), "{name}");
            write(folder.path()).unwrap();
        }
        check(folder.path()).unwrap();
    }
}
