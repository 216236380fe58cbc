//! The files that a configuration came from, as they were when they were read.
//!
//! Changes are detected by contents: a Kubernetes volume swaps a symbolic link, network file
//! systems send no notifications, and file times prove little. For each file a fingerprint of
//! exactly the bytes that were used is kept, so that no change between reading and watching is
//! missed.
//!
//! Absent: files that cannot be read twice, such as pipes. They are remembered by name, since a
//! configuration that came from one cannot be reloaded.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::fingerprint::Fingerprint;

/// Longest file in bytes; a longer one is not part of a configuration.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Contents or error of each file, as a fingerprint.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, FileContent>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileContent {
    Text(Fingerprint),
    Unreadable(io::ErrorKind),
    /// A pipe or a device, whose contents are gone.
    Once,
}

impl Files {
    /// Reads a file and records a fingerprint of its contents.
    pub fn read(&mut self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let (read, found) = look(path);
        self.0.insert(path.to_owned(), found);
        read
    }

    /// Returns the same files as they are now.
    #[must_use]
    pub fn now(&self) -> Self {
        let now = self.0.iter().map(|(path, found)| {
            let now = match found {
                FileContent::Once => FileContent::Once,
                FileContent::Text(_) | FileContent::Unreadable(_) => look(path).1,
            };
            (path.clone(), now)
        });
        Self(now.collect())
    }

    /// Returns the fingerprint of a file's contents, if they could be read.
    pub(super) fn fingerprint(&self, path: &Path) -> Option<Fingerprint> {
        match self.0.get(path)? {
            FileContent::Text(fingerprint) => Some(*fingerprint),
            FileContent::Unreadable(_) | FileContent::Once => None,
        }
    }

    /// Returns a file that is empty and was not before. Usually it is just being overwritten.
    #[must_use]
    pub fn emptied_since(&self, before: &Self) -> Option<&Path> {
        let empty = FileContent::Text(Fingerprint::of([&b""[..]]));
        let is_emptied = |(path, found): &(&PathBuf, &FileContent)| {
            let known = before.0.get(*path);
            **found == empty && known.is_some_and(|known| *known != empty)
        };
        self.0
            .iter()
            .find(is_emptied)
            .map(|(path, _)| path.as_path())
    }

    /// Returns a file that cannot be read again, such as a pipe.
    #[must_use]
    pub fn read_once(&self) -> Option<&Path> {
        let once = self
            .0
            .iter()
            .find(|(_, found)| **found == FileContent::Once);
        once.map(|(path, _)| path.as_path())
    }
}

/// Files that are checked repeatedly.
///
/// A change counts once two checks have found the same contents: at the first one, a writer may
/// have been halfway through.
pub struct FileWatcher {
    known: Files,
    moving: Option<Files>,
}

/// Result of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum FileChange {
    /// The files have their known contents.
    Same,
    /// Something has changed, perhaps not completely yet.
    Moving,
    /// A change was found for the second time, and is the known state from now on.
    Settled,
}

impl FileWatcher {
    #[must_use]
    pub fn new(known: Files) -> Self {
        Self {
            known,
            moving: None,
        }
    }

    /// Reads the files on a thread where that may block.
    pub async fn check(&mut self) -> FileChange {
        let known = self.known.clone();
        match tokio::task::spawn_blocking(move || known.now()).await {
            Ok(now) => self.found(now),
            // The runtime is shutting down.
            Err(_) => FileChange::Same,
        }
    }

    fn found(&mut self, now: Files) -> FileChange {
        if now == self.known {
            self.moving = None;
            FileChange::Same
        } else if self.moving.as_ref() == Some(&now) {
            *self = Self::new(now);
            FileChange::Settled
        } else {
            self.moving = Some(now);
            FileChange::Moving
        }
    }
}

fn look(path: &Path) -> (io::Result<Zeroizing<Vec<u8>>>, FileContent) {
    let unreadable = |error: io::Error| {
        let found = FileContent::Unreadable(error.kind());
        (Err(error), found)
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(error),
    };
    if metadata.is_file() && metadata.len() > MOST_BYTES {
        let reason = "it is longer than 16 MiB";
        return unreadable(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => {
            let found = if metadata.is_file() {
                FileContent::Text(Fingerprint::of([bytes.as_slice()]))
            } else {
                FileContent::Once
            };
            (Ok(bytes), found)
        }
        Err(error) => unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_the_same_while_its_contents_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&path).unwrap().as_slice(), b"one");
        fs::write(&path, "one").unwrap();
        assert!(files.now() == files);
        fs::write(&path, "two").unwrap();
        assert!(files.now() != files);
        fs::remove_file(&path).unwrap();
        let missing = files.now();
        assert!(missing != files && missing.now() == missing);
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let (link, next) = (folder.path().join("data"), folder.path().join("next"));
        for (name, text) in [("1", "one"), ("2", "two")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("key"), text).unwrap();
        }
        symlink("1", &link).unwrap();
        let mut files = Files::default();
        files.read(&link.join("key")).unwrap();
        // As the kubelet changes a volume.
        symlink("2", &next).unwrap();
        fs::rename(&next, &link).unwrap();
        assert!(files.now() != files);
    }

    #[test]
    fn a_change_counts_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut files = Files::default();
        files.read(&path).unwrap();
        let mut watched = FileWatcher::new(files.clone());
        let mut look = |text: &str| {
            fs::write(&path, text).unwrap();
            watched.found(files.now())
        };
        assert_eq!(look("one"), FileChange::Same);
        // A writer is under way: each look finds another content.
        assert_eq!(look("tw"), FileChange::Moving);
        assert_eq!(look("two"), FileChange::Moving);
        assert_eq!(look("two"), FileChange::Settled);
        assert_eq!(look("two"), FileChange::Same);
        assert_eq!(look("one"), FileChange::Moving);
        assert_eq!(look("two"), FileChange::Same);
        assert_eq!(look("one"), FileChange::Moving, "begun again");
    }

    #[test]
    fn a_file_that_was_emptied_is_told_from_one_that_was_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (emptied, empty) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&emptied, "one").unwrap();
        fs::write(&empty, "").unwrap();
        let mut before = Files::default();
        for path in [&emptied, &empty] {
            before.read(path).unwrap();
        }
        assert_eq!(before.now().emptied_since(&before), None);
        fs::write(&emptied, "").unwrap();
        let now = before.now();
        assert_eq!(now.emptied_since(&before), Some(emptied.as_path()));
    }

    #[test]
    fn what_is_no_file_is_read_once() {
        let mut files = Files::default();
        // Stands for a pipe, which would be empty on a second reading.
        let device = Path::new("/dev/null");
        assert!(files.read(device).unwrap().is_empty());
        assert_eq!(files.read_once(), Some(device));
        assert!(files.now() == files);
    }
}
