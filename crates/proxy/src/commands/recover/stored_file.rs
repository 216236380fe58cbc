//! A stored body in a local file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use s3proxy_envelope::layout::StoredLength;

use super::{RecoverError, unreadable};

/// A stored body in a file.
pub(super) struct StoredFile {
    file: File,
    path: PathBuf,
    pub(super) length: StoredLength,
}

impl StoredFile {
    pub(super) fn open(path: &Path) -> Result<Self, RecoverError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| unreadable(path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length: StoredLength(length),
        })
    }

    pub(super) fn seek(&mut self, position: u64) -> Result<(), RecoverError> {
        let sought = self.file.seek(SeekFrom::Start(position));
        sought.map_err(|error| unreadable(&self.path, error))?;
        Ok(())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RecoverError> {
        let read = self.file.read(buffer);
        read.map_err(|error| unreadable(&self.path, error))
    }

    /// Reads `N` bytes at `position`.
    pub(super) fn exact<const N: usize>(&mut self, position: u64) -> Result<[u8; N], RecoverError> {
        let mut bytes = [0; N];
        self.seek(position)?;
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|error| unreadable(&self.path, error))?;
        Ok(bytes)
    }

    /// Reads from `position` to the end.
    pub(super) fn rest(&mut self, position: u64) -> Result<Vec<u8>, RecoverError> {
        let mut bytes = Vec::new();
        self.seek(position)?;
        let read = self.file.read_to_end(&mut bytes);
        read.map_err(|error| unreadable(&self.path, error))?;
        Ok(bytes)
    }
}
