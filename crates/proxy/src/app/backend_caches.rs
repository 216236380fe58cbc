//! Caches about stored objects and the backend, which a reload keeps or replaces as a whole.

use std::sync::Arc;

use crate::config::resolved;
use crate::execute::Parts;
use crate::execute::copy::tags::TagKeeping;
use crate::execute::cors::PageRules;
use crate::execute::layouts::LayoutCache;
use crate::execute::lookup::LookupCache;
use crate::execute::multipart::attempts::Attempts;
use crate::execute::multipart::state::UploadCache;
use crate::execute::sub_resource::KnownSubResources;
use crate::execute::verified::VerifiedCache;
use crate::execute::versions::VersionSupport;

/// Caches about stored objects and the backend. They only save work.
pub(super) struct BackendCaches {
    pub(super) lookups: Arc<LookupCache>,
    pub(super) uploads: Arc<UploadCache>,
    pub(super) attempts: Arc<Attempts>,
    pub(super) layouts: Arc<LayoutCache>,
    pub(super) verified: Arc<VerifiedCache>,
    pub(super) tag_keeping: Arc<TagKeeping>,
    pub(super) sub_resources: Arc<KnownSubResources>,
    pub(super) versions: Arc<VersionSupport>,
    pub(super) page_rules: Arc<PageRules>,
}

impl BackendCaches {
    /// Returns empty caches.
    pub(super) fn empty(backend: &resolved::Backend) -> Self {
        Self {
            lookups: Arc::new(LookupCache::new()),
            uploads: Arc::new(UploadCache::new()),
            attempts: Arc::new(Attempts::new()),
            layouts: Arc::new(LayoutCache::new()),
            verified: Arc::new(VerifiedCache::new()),
            tag_keeping: Arc::new(TagKeeping::default()),
            sub_resources: Arc::new(KnownSubResources::new(backend.operations.clone())),
            versions: Arc::default(),
            page_rules: Arc::new(PageRules::new()),
        }
    }

    /// Returns the caches of a running service.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            lookups: Arc::clone(&parts.lookups),
            uploads: Arc::clone(&parts.uploads),
            attempts: Arc::clone(&parts.attempts),
            layouts: Arc::clone(&parts.layouts),
            verified: Arc::clone(&parts.verified),
            tag_keeping: Arc::clone(&parts.tag_keeping),
            sub_resources: Arc::clone(&parts.sub_resources),
            versions: Arc::clone(&parts.versions),
            page_rules: Arc::clone(&parts.page_rules),
        }
    }
}
