//! Output of the lines: standard output, or a file that may be moved away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::AuditError;

/// File mode: only the proxy's user may read the log.
const MODE: u32 = 0o600;

/// Destination of the lines.
pub(super) enum LineOutput {
    Stdout,
    File {
        path: PathBuf,
        file: File,
    },
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

/// Result of comparing the open file with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileCheck {
    /// The path denoted another file, or none; the output now writes to that file.
    Reopened,
    /// The open file is still the one at the path.
    Same,
}

impl LineOutput {
    pub(super) fn file(path: PathBuf) -> Result<Self, AuditError> {
        match open(&path) {
            Ok(file) => Ok(Self::File { path, file }),
            Err(error) => Err(AuditError::File { path, error }),
        }
    }

    /// Checks that the file can be opened, without creating it: the check may run as another user
    /// than the server.
    pub(super) fn check(path: &Path) -> Result<(), AuditError> {
        let opened = match OpenOptions::new().append(true).open(path) {
            // A missing file is fine if its folder is readable: opening would create it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| *folder != Path::new(""));
                fs::read_dir(folder.unwrap_or(Path::new("."))).map(drop)
            }
            opened => opened.map(drop),
        };
        opened.map_err(|error| AuditError::File {
            path: path.to_owned(),
            error,
        })
    }

    /// Writes some of the bytes, through to the system.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write(bytes)?;
                stdout.flush()?;
                Ok(written)
            }
            Self::File { file, .. } => file.write(bytes),
            #[cfg(test)]
            Self::Test(writer) => writer.write(bytes),
        }
    }

    /// Switches to the file that the path denotes now, if it is not the open one.
    pub(super) fn follow(&mut self) -> io::Result<FileCheck> {
        let (path, file) = match self {
            Self::Stdout => return Ok(FileCheck::Same),
            #[cfg(test)]
            Self::Test(_) => return Ok(FileCheck::Same),
            Self::File { path, file } => (path, file),
        };
        let opened = file.metadata()?;
        // Device and inode, not the path's text: rotation renames the open file.
        let same = fs::metadata(&*path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
        if same {
            return Ok(FileCheck::Same);
        }
        *file = open(path)?;
        Ok(FileCheck::Reopened)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}
