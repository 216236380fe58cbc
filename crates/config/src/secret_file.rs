//! Files with secrets that users other than the proxy's can read.
//!
//! Access by the file's group is fine if the proxy is in that group: Kubernetes gives a volume's
//! files to the pod's `fsGroup`. In a volume that the kubelet manages (it swaps the link `..data`),
//! permissions for other users do not matter, since a pod has none: the cluster controls who may
//! read the Secret.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, getgroups};

use super::notice::Notice;

const READ_BY_OTHERS: u32 = 0o004;
const READ_BY_GROUP: u32 = 0o040;
const PERMISSIONS: u32 = 0o777;

/// Returns the warning about the permissions of a file with a secret, if there is one.
pub(super) fn exposure(path: &Path) -> Option<Notice> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || is_in_kubelet_volume(path) {
        return None;
    }
    let mode = metadata.mode() & PERMISSIONS;
    let by_group = mode & READ_BY_GROUP != 0 && !is_own_group(metadata.gid());
    let who = match (by_group, mode & READ_BY_OTHERS != 0) {
        (false, false) => return None,
        (false, true) => "o",
        (true, _) => "go",
    };
    Some(Notice::ReadableByOthers {
        file: path.display().to_string(),
        mode,
        who,
    })
}

fn is_in_kubelet_volume(path: &Path) -> bool {
    let folder = path.parent().map(|folder| folder.join("..data"));
    folder.is_some_and(|data| data.is_symlink())
}

fn is_own_group(gid: u32) -> bool {
    let groups = getgroups().unwrap_or_default();
    getegid().as_raw() == gid || groups.iter().any(|group| group.as_raw() == gid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_told_of_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        let told = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            exposure(&path).map(|notice| notice.to_string())
        };
        // A new file belongs to one of the process's own groups.
        for quiet in [0o600, 0o400, 0o640, 0o660] {
            assert_eq!(told(quiet), None, "{quiet:o}");
        }
        for open in [0o644, 0o666, 0o604] {
            let text = told(open).unwrap();
            assert!(text.contains(&format!("mode {open:04o}")), "{text}");
            let remedy = format!("chmod o-rwx {}", path.display());
            assert!(text.ends_with(&remedy), "{text}");
        }
    }

    #[test]
    fn a_volume_of_the_kubelet_is_left_to_the_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("..2026")).unwrap();
        fs::write(at("..2026/key"), "secret").unwrap();
        fs::set_permissions(at("..2026/key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(exposure(&at("..2026/key")).is_some());
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/key", at("key")).unwrap();
        assert_eq!(exposure(&at("key")), None);
    }
}
