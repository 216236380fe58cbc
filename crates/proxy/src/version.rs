//! Version of the program, and its commit.

/// Version, as MAJOR.MINOR.PATCH.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Abbreviated hash of the commit; "unknown" in a development build, or without git.
pub const COMMIT: &str = env!("S3PROXY_BUILD_COMMIT");

/// Version, commit and, if known, the day of the commit, as `--version` prints them.
pub const FULL: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("S3PROXY_BUILD_DESCRIPTION"),
    ")"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_version_has_the_number_first_and_the_commit() {
        let rest = FULL.strip_prefix(VERSION);
        let rest = rest.and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'));
        let description = rest.expect("the number, and the rest in brackets");
        let is_known = description.starts_with(&format!("commit {COMMIT}"));
        assert!(is_known || COMMIT == "unknown", "{FULL}");
    }
}
