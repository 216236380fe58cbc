//! Caches about stored objects and the backend, which a reload keeps or replaces as a whole.

use std::sync::Arc;

use crate::config::resolved;
use crate::objects::layout_cache::LayoutCache;
use crate::objects::tags::TagKeeping;
use crate::objects::verification_cache::VerifiedCache;
use crate::operations::Services;
use crate::operations::cors_rules::PageRules;
use crate::operations::listed_objects::LookupCache;
use crate::operations::sub_resource_support::KnownSubResources;
use crate::operations::version_support::VersionSupport;
use crate::upload_state::UploadCaches;

/// Caches about stored objects and the backend. They only save work.
pub(super) struct BackendCaches {
    pub(super) lookups: Arc<LookupCache>,
    pub(super) uploads: UploadCaches,
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
            uploads: UploadCaches::new(),
            layouts: Arc::new(LayoutCache::new()),
            verified: Arc::new(VerifiedCache::new()),
            tag_keeping: Arc::new(TagKeeping::default()),
            sub_resources: Arc::new(KnownSubResources::new(backend.operations.clone())),
            versions: Arc::default(),
            page_rules: Arc::new(PageRules::new()),
        }
    }

    /// Returns the caches of a running service.
    pub(super) fn of(services: &Services) -> Self {
        let store = &services.store;
        Self {
            lookups: Arc::clone(&services.lookups),
            uploads: services.uploads.clone(),
            layouts: Arc::clone(&store.layouts),
            verified: Arc::clone(&store.verified),
            tag_keeping: Arc::clone(&store.tag_keeping),
            sub_resources: Arc::clone(&services.sub_resources),
            versions: Arc::clone(&services.versions),
            page_rules: Arc::clone(&services.page_rules),
        }
    }
}
