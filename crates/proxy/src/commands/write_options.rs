//! Options that `rewrap`, `migrate` and `decrypt` share: all three replace stored objects.

/// How a command replaces objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether anything is changed.
    pub mode: RunMode,
    /// What happens to replaced versions.
    pub old_versions: OldVersions,
    /// Whether clients may write at the same time.
    pub writers: Writers,
}

/// Whether a command changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Change objects.
    Apply,
    /// Only show which objects would be changed.
    DryRun,
}

/// What happens to replaced versions in a versioned bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldVersions {
    /// Keep replaced versions as they are.
    Keep,
    /// Delete each version once the one that replaces it exists.
    Delete,
}

/// Whether clients may write at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Clients may write, so the backend has to honour conditions.
    Possible,
    /// The operator has stopped all clients that write.
    Stopped,
}
