//! File descriptors: a client's connection takes one, and its request one more to the backend.
//!
//! Many systems allow few by default, for the sake of programs that cannot handle more than 1024,
//! and more to programs that ask. This one asks for the maximum.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::overflow_connections;

/// Descriptors for files, key services, and pooled connections.
const OTHERS: u64 = 256;

/// Raises the limit to the maximum, and warns if that is too low for this many connections.
pub(crate) fn ask_for_descriptors(connections: usize) {
    let allowed = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: allowed,
        maximum: allowed,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::debug!(%error, "could not raise the limit on file descriptors");
    }
    let needed = needed(connections);
    let available = getrlimit(Resource::Nofile).current;
    if let Some(available) = available.filter(|available| *available < needed) {
        tracing::warn!(
            available,
            needed,
            "too few file descriptors for listen.max_connections; raise the limit (ulimit -n) or \
             lower that setting"
        );
    }
}

fn needed(connections: usize) -> u64 {
    2 * (connections + overflow_connections::CAPACITY) as u64 + OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is_asked_for() {
        ask_for_descriptors(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn each_connection_may_have_one_to_the_backend() {
        assert!(needed(4096) > 8192);
    }
}
