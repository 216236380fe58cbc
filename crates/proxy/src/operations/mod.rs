//! Execution of a [`crate::plan::Plan`] in backend requests: one file per family of operations.

pub(crate) mod answer;
pub(crate) mod attributes;
pub(crate) mod copy;
pub(crate) mod cors;
pub(crate) mod course;
pub(crate) mod delete;
pub(crate) mod delete_bucket;
mod delivery;
mod embedded;
pub(crate) mod forward;
pub(crate) mod get_object;
pub(crate) mod head_object;
mod held;
pub(crate) mod hidden;
pub(crate) mod layouts;
pub(crate) mod list_buckets;
pub(crate) mod list_objects;
pub(crate) mod lookup;
pub(crate) mod multipart;
pub(crate) mod new_object;
mod page;
pub(crate) mod patience;
pub(crate) mod payload;
mod plaintext_headers;
pub(crate) mod post_object;
pub(crate) mod preflight;
pub(crate) mod put_object;
pub(crate) mod sealed_stream;
pub(crate) mod source;
pub(crate) mod stored;
pub(crate) mod sub_resource;
mod unsealed;
pub(crate) mod verified;
pub(crate) mod verify;
pub(crate) mod versions;

use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use hyper::body::Incoming;
use s3proxy_protocol::chunked::ChunkMode;
use s3proxy_protocol::post::{FormHead, FormParser};

use crate::auth::{Authenticated, PostedForm};
use crate::backend::Backend;
use crate::body::budget::{BodyBudget, BodyShare, BudgetExhausted, Holder};
use crate::body::buffers::BufferPool;
use crate::body::inbound;
use crate::body::pace::Patience;
use crate::config::resolved::{DekTag, Policy};
use crate::keys::Keyring;
use crate::keys::in_use::SealingKeys;
use crate::keys::legacy::LegacyKeys;
use crate::record::RequestRecord;
use crate::respond::Failure;
use crate::rules::Rules;
use crate::throttle::network;

/// Services and settings that every operation uses.
pub(crate) struct Parts {
    pub(crate) backend: Backend,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) rules: Rules,
    pub(crate) legacy_keys: Arc<LegacyKeys>,
    pub(crate) policy: Policy,
    pub(crate) dek_tag: DekTag,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) budget: Arc<BodyBudget>,
    pub(crate) lookups: Arc<lookup::LookupCache>,
    pub(crate) uploads: Arc<multipart::state::UploadCache>,
    pub(crate) attempts: Arc<multipart::attempts::Attempts>,
    /// How clients speak to the proxy itself.
    pub(crate) client_scheme: Scheme,
    pub(crate) layouts: Arc<layouts::LayoutCache>,
    pub(crate) verified: Arc<verified::VerifiedCache>,
    pub(crate) tag_keeping: Arc<copy::tags::TagKeeping>,
    pub(crate) sub_resources: Arc<sub_resource::KnownSubResources>,
    pub(crate) versions: Arc<versions::VersionSupport>,
    pub(crate) page_rules: Arc<cors::PageRules>,
    pub(crate) long_work: Arc<patience::LongWork>,
    pub(crate) seen_buckets: Arc<multipart::seldom::SeenBuckets>,
    /// Keys that the rules select, kept as long as requests may seal under them. Set when these
    /// services begin to serve clients.
    pub(crate) sealing: OnceLock<SealingKeys>,
    pub(crate) held_body_bytes: u64,
    /// Largest object that a client may upload in one request, in bytes.
    pub(crate) put_body_bytes: Option<NonZeroU64>,
    /// Limits for clients that send or receive a body slowly.
    pub(crate) patience: Patience,
}

/// One request in progress, with the services that handle it.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) parts: &'a Arc<Parts>,
    pub(crate) request: &'a Arc<Authenticated>,
    pub(crate) record: &'a Arc<RequestRecord>,
}

impl Job<'_> {
    /// Waits for a share of the memory budget for bodies.
    pub(crate) async fn share(self, bytes: usize) -> Result<BodyShare, BudgetExhausted> {
        self.parts.budget.share(self.holder(), bytes).await
    }

    /// Owner of the request's memory, for fair sharing: a listed client, or the peer's network.
    pub(crate) fn holder(self) -> Holder {
        let identity = &self.request.identity;
        if identity.is_listed() {
            Holder::authenticated(identity.name.as_str())
        } else if identity.is_anonymous() {
            Holder::unauthenticated(network(self.record.peer))
        } else {
            // `auth = none`: all clients are admitted, and only their networks distinguish them.
            Holder::authenticated(network(self.record.peer))
        }
    }

    /// Clones the job for work that outlives the request's handler.
    pub(crate) fn detached(self) -> OwnedJob {
        OwnedJob {
            parts: Arc::clone(self.parts),
            request: Arc::clone(self.request),
            record: Arc::clone(self.record),
        }
    }
}

/// An owned [`Job`].
pub(crate) struct OwnedJob {
    parts: Arc<Parts>,
    request: Arc<Authenticated>,
    record: Arc<RequestRecord>,
}

impl OwnedJob {
    pub(crate) fn job(&self) -> Job<'_> {
        Job {
            parts: &self.parts,
            request: &self.request,
            record: &self.record,
        }
    }
}

/// Unread body of a request, with the state that verifies its chunks.
pub(crate) struct RawBody {
    pub(crate) incoming: Incoming,
    /// `None` unless the body is `aws-chunked`.
    pub(crate) chunks: Option<ChunkMode>,
}

/// Body of a request: taken by an operation, or left to be drained.
pub(crate) struct BodySlot {
    incoming: Option<Incoming>,
    pub(crate) chunks: Option<ChunkMode>,
    /// Fields before the file, if the body is a form.
    pub(crate) form: Option<PostedForm>,
    /// Whether part of the body was read in place.
    begun: bool,
}

impl BodySlot {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            chunks: None,
            form: None,
            begun: false,
        }
    }

    /// Reads a form up to its file. The body stays in the slot: a form that is refused afterwards
    /// is drained like any other body.
    pub(crate) async fn read_form(
        &mut self,
        parser: FormParser,
        timeout: Duration,
        received: &AtomicU64,
    ) -> Outcome<(FormHead, Bytes)> {
        self.begun = true;
        let incoming = self.incoming.as_mut().expect("nobody took the body yet");
        Ok(inbound::read_form_head(incoming, parser, timeout, received).await?)
    }

    /// Whether the client has been told to send its body (100 Continue).
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes the body out of the slot. Each operation does so at most once.
    pub(crate) fn take(&mut self) -> RawBody {
        RawBody {
            incoming: self.incoming.take().expect("a body is used once"),
            chunks: self.chunks.take(),
        }
    }

    pub(crate) fn into_unused(self) -> Option<Incoming> {
        self.incoming
    }
}

pub(crate) type Outcome<T> = Result<T, Failure>;
