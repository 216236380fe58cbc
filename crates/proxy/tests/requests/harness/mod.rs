//! The proxy under test, its backend, and clients that sign.
//!
//! ```text
//! Client -> Proxy (App, over loopback) -> Backend (script, records) -> embedded store
//! ```

mod backend;
mod client;
mod proxy;
mod signer;
mod vault;

pub(crate) use backend::{Backend, RecordedRequest, Reply};
pub(crate) use client::{Answer, ClientRequest, raw_exchange, sha256};
pub(crate) use proxy::{Proxy, ProxyBuilder};
pub(crate) use signer::{Credential, encoded};
pub(crate) use vault::{Mood, VaultCalls, VaultServer};

use std::num::NonZeroUsize;
use std::time::Duration;

use s3proxy::commands::object_selection::{Extent, Selection, VersionScope};

/// Longest wait in any test: reaching it means that something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The access key with which the proxy signs requests to its backend.
pub(crate) const BACKEND_ACCESS_KEY_ID: &str = "dev";

/// The current objects of the bucket `bucket`, one at a time, as commands on stored objects process
/// them.
pub(crate) fn whole_bucket() -> Selection {
    Selection {
        targets: vec!["bucket".parse().unwrap()],
        extent: Extent::Prefix,
        versions: VersionScope::Current,
        start_after: None,
        concurrency: NonZeroUsize::MIN,
        modified_since: None,
    }
}
