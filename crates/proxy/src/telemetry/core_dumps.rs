//! Prevention of core files, which would contain keys and contents.
//!
//! The limit is set to zero for good. On Linux the process is also marked as not dumpable, which
//! keeps other processes of the same user from attaching to it, and keeps pipes in `core_pattern`
//! from receiving a dump: the limit does not apply to those.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Error that core files could not be disabled.
#[derive(Debug, thiserror::Error)]
#[error("core files cannot be disabled")]
pub struct CoreDumpError(#[source] rustix::io::Errno);

/// Disables core files for this process and those it starts.
pub fn forbid_core_dumps() -> Result<(), CoreDumpError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(CoreDumpError)?;
    forbid_attaching()
}

#[cfg(target_os = "linux")]
fn forbid_attaching() -> Result<(), CoreDumpError> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(CoreDumpError)
}

#[cfg(not(target_os = "linux"))]
fn forbid_attaching() -> Result<(), CoreDumpError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_files_are_forbidden_for_good() {
        forbid_core_dumps().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior(),
            Ok(rustix::process::DumpableBehavior::NotDumpable)
        );
    }
}
