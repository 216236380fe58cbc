//! The services and settings that handlers use besides the engine's.

use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};

use http::uri::Scheme;

use super::cors_rules::PageRules;
use super::listed_objects::LookupCache;
use super::long_running::LongWork;
use super::sub_resource_support::KnownSubResources;
use super::version_support::VersionSupport;
use crate::body::client_pace::PaceLimits;
use crate::keys::keys_in_use::SealingKeys;
use crate::objects::Store;
use crate::upload_state::UploadCaches;
use crate::upload_state::periodic_sweep::SeenBuckets;

/// Services and settings that every operation uses.
pub(crate) struct Services {
    pub(crate) store: Arc<Store>,
    pub(crate) uploads: UploadCaches,
    pub(crate) lookups: Arc<LookupCache>,
    pub(crate) sub_resources: Arc<KnownSubResources>,
    pub(crate) versions: Arc<VersionSupport>,
    pub(crate) page_rules: Arc<PageRules>,
    pub(crate) long_work: Arc<LongWork>,
    pub(crate) seen_buckets: Arc<SeenBuckets>,
    /// Keys that the rules select, kept as long as requests may seal under them. Set when these
    /// services begin to serve clients.
    pub(crate) sealing: OnceLock<SealingKeys>,
    /// How clients speak to the proxy itself.
    pub(crate) client_scheme: Scheme,
    /// Largest object that a client may upload in one request, in bytes.
    pub(crate) put_body_bytes: Option<NonZeroU64>,
    /// Limits for clients that send or receive a body slowly.
    pub(crate) patience: PaceLimits,
}
