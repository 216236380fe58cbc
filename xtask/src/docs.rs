//! `docs/configuration.md`, generated from the declarations of the settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use s3proxy::config::reference;

const FOLDER: &str = "docs";

#[derive(Debug, thiserror::Error)]
pub(crate) enum DocsError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} does not match the declarations; `cargo run -p xtask -- docs` writes it anew")]
    Outdated { path: PathBuf },
}

pub(crate) fn write(root: &Path) -> Result<(), DocsError> {
    let path = page(root);
    fs::create_dir_all(root.join(FOLDER))
        .and_then(|()| fs::write(&path, reference::markdown()))
        .map_err(|source| DocsError::File { path, source })
}

pub(crate) fn check(root: &Path) -> Result<(), DocsError> {
    let path = page(root);
    match fs::read_to_string(&path) {
        Ok(text) if text == reference::markdown() => Ok(()),
        Ok(_) => Err(DocsError::Outdated { path }),
        Err(source) => Err(DocsError::File { path, source }),
    }
}

fn page(root: &Path) -> PathBuf {
    root.join(FOLDER).join("configuration.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_reference_matches_the_declarations() {
        check(&crate::root()).unwrap();
    }

    #[test]
    fn a_changed_page_is_noticed_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        assert!(matches!(check(folder.path()), Err(DocsError::File { .. })));
        fs::write(page(folder.path()), "something else").unwrap();
        assert!(matches!(
            check(folder.path()),
            Err(DocsError::Outdated { .. })
        ));
        write(folder.path()).unwrap();
        check(folder.path()).unwrap();
    }
}
