//! Rust sources on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct SourceError {
    path: PathBuf,
    source: io::Error,
}

/// All `.rs` files in a folder and below, sorted.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |source| SourceError {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.append(&mut sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn read(path: &Path) -> Result<String, SourceError> {
    fs::read_to_string(path).map_err(|source| SourceError {
        path: path.to_owned(),
        source,
    })
}
