//! A file that either is complete or does not exist.
//!
//! It is written under another name in the same folder, and renamed once it is complete and on
//! disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::report::explained;
use crate::failure::Failure;
use crate::record::RequestId;

/// Why the object could not be written out.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("{}", explained(.0))]
    Object(#[from] Failure),
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
}

/// A file under a temporary name, which is removed unless it is finished.
pub(super) struct UnfinishedFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    is_renamed: bool,
}

impl UnfinishedFile {
    /// Creates the file in the folder of `path`, so that it can be renamed.
    pub(super) fn beside(path: &Path) -> Result<Self, OutputError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{}", RequestId::generate()));
        // Only the owner may read plaintext, whatever the umask.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished);
        Ok(Self {
            file: file.map_err(|error| file_error(&unfinished, error))?,
            path: unfinished,
            is_renamed: false,
        })
    }

    /// Renames the file, once it is on disk.
    pub(super) fn finish(mut self, path: &Path) -> Result<(), OutputError> {
        // Before the rename: after a crash the final name must not denote an incomplete file.
        self.file
            .sync_all()
            .map_err(|error| file_error(&self.path, error))?;
        fs::rename(&self.path, path).map_err(|error| file_error(path, error))?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If the removal fails, nothing can be done about the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the error about a file.
pub(super) fn file_error(path: &Path, error: io::Error) -> OutputError {
    OutputError::File {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let names = || -> Vec<String> {
            let entries = fs::read_dir(folder.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect()
        };
        let mut unfinished = UnfinishedFile::beside(&path).unwrap();
        unfinished.file.write_all(b"half").unwrap();
        assert!(!path.exists() && names().len() == 1);
        drop(unfinished);
        assert_eq!(names(), [""; 0]);
        let mut unfinished = UnfinishedFile::beside(&path).unwrap();
        unfinished.file.write_all(b"whole").unwrap();
        unfinished.finish(&path).unwrap();
        assert_eq!(names(), ["object"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
