//! The services and settings with which stored objects are read and written.

use std::sync::Arc;

use super::layout_cache::LayoutCache;
use super::tags::TagKeeping;
use super::verification_cache::VerifiedCache;
use crate::backend::Backend;
use crate::body::budget::BodyBudget;
use crate::body::buffers::BufferPool;
use crate::config::resolved::{DekTag, Policy};
use crate::keys::Keyring;
use crate::keys::legacy::LegacyKeys;
use crate::rules::Rules;

/// The backend, and everything that objects at it are sealed and opened with.
pub(crate) struct Store {
    pub(crate) backend: Backend,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) rules: Rules,
    pub(crate) legacy_keys: Arc<LegacyKeys>,
    pub(crate) policy: Policy,
    pub(crate) dek_tag: DekTag,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) budget: Arc<BodyBudget>,
    pub(crate) layouts: Arc<LayoutCache>,
    pub(crate) verified: Arc<VerifiedCache>,
    pub(crate) tag_keeping: Arc<TagKeeping>,
    /// Largest body that is held whole in memory, in bytes.
    pub(crate) held_body_bytes: u64,
}
