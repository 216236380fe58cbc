//! Opens objects in the legacy formats, whose only tag covers the whole body.
//!
//! A short body is held and opened at once. A longer one is read twice: first all of it, to verify
//! it, then the requested blocks, pinned to the same object and compared with the verified digests.
//! The verification continues if its client leaves, so that a client with a short timeout finds it
//! done on a later attempt. It ends with the program, which loses nothing.

use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry::trace::FutureExt;
use s3proxy_envelope::layout::PlaintextRange;
use s3proxy_envelope::legacy::{
    LegacyDek, LegacyError, LegacyOpener, LegacyVerifier, NONCE_BYTES, TAG_BYTES, VerifiedBody,
    open_held,
};
use s3proxy_protocol::error::{ErrorCode, S3Error};
use tokio::sync::OwnedMutexGuard;

use crate::body::buffers::STREAM_BYTES;
use crate::body::legacy::LegacyBody;
use crate::body::opening::StoredBytes;
use crate::failure::{Failure, Outcome};
use crate::keys::legacy::{KekOrigin, LegacyEnvelope, LegacyKeyError, LegacyTag, LegacyUnwrapped};
use crate::objects::layout_cache::LayoutKey;
use crate::objects::read::pinned::{Arrived, ask_for, read_stretch};
use crate::objects::read::{Found, Source};
use crate::objects::verification_cache::{LegacyState, Verification};
use crate::objects::{OwnedCall, StoreCall};
use crate::telemetry::audit::{Stored, StoredFormat};
use crate::telemetry::metrics::{self, LegacyFormat};

/// Bodies up to this length, in bytes, are held despite `limits.held_body`: a block is no smaller.
const HELD_BYTES: u64 = 64 * 1024;

/// A legacy object with its data key.
pub(crate) struct Legacy<'a> {
    call: &'a StoreCall<'a>,
    source: &'a Source<'a>,
    found: &'a Found,
    envelope: &'a LegacyEnvelope,
    dek: Arc<LegacyDek>,
}

/// Audit entry of a legacy object. No envelope names its key, so the kind of key is given.
fn older(tag: LegacyTag, origin: KekOrigin) -> Stored {
    let key = match origin {
        KekOrigin::Passphrase => "passphrase",
        KekOrigin::Constellation => "constellation",
        KekOrigin::Zero => "zero",
    };
    Stored {
        format: match tag {
            LegacyTag::Configured => StoredFormat::Intrinsec,
            LegacyTag::Constellation => StoredFormat::Constellation,
        },
        key: Some(key.to_owned()),
    }
}

/// Data key of a legacy object, if its place may use the envelope.
pub(crate) async fn unwrap_legacy(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    envelope: &LegacyEnvelope,
) -> Outcome<LegacyDek> {
    let unwrapped = call
        .store
        .legacy_keys
        .unwrap(call.place(source.object), envelope);
    let LegacyUnwrapped { dek, origin } = unwrapped.await.map_err(failure)?;
    call.reads(|| older(envelope.tag, origin));
    tracing::debug!(?origin, "opening an object in an older proxy's format");
    Ok(dek)
}

/// Checks whether the place may use the envelope, as far as possible without a key service.
pub(crate) fn check_legacy(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    envelope: &LegacyEnvelope,
) -> Outcome<()> {
    let checked = call
        .store
        .legacy_keys
        .check(call.place(source.object), envelope);
    let origin = checked.map_err(failure)?;
    call.reads(|| older(envelope.tag, origin));
    Ok(())
}

fn failure(error: LegacyKeyError) -> Failure {
    match error {
        LegacyKeyError::Refused { .. } => Failure::Refused(S3Error::new(
            ErrorCode::AccessDenied,
            "The object is in an older proxy's format, and the proxy's settings (legacy_reads = \
             deny, or a rule) refuse to serve it.",
        )),
        error => error.into(),
    }
}

impl<'a> Legacy<'a> {
    /// Unwraps the data key, if legacy objects may be read here.
    pub(crate) async fn new(
        call: &'a StoreCall<'a>,
        source: &'a Source<'a>,
        found: &'a Found,
        envelope: &'a LegacyEnvelope,
    ) -> Outcome<Self> {
        let dek = unwrap_legacy(call, source, envelope).await?;
        metrics::legacy_read(match envelope.tag {
            LegacyTag::Configured => LegacyFormat::Intrinsec,
            LegacyTag::Constellation => LegacyFormat::Constellation,
        });
        Ok(Self {
            call,
            source,
            found,
            envelope,
            dek: Arc::new(dek),
        })
    }

    /// Opens the whole object or a range inside it, up to the first block. Bytes that have
    /// `arrived` are used if they cover the required ones, and dropped otherwise.
    pub(crate) async fn read(
        &self,
        range: Option<PlaintextRange>,
        arrived: Option<Arrived>,
    ) -> Outcome<LegacyBody> {
        let length = self.found.length.0;
        if self.found.stored.0 <= HELD_BYTES.max(self.call.store.held_body_bytes) {
            return self.read_held(range, arrived).await;
        }
        let (verified, arrived) = self.verified(arrived).await?;
        let range = range.or_else(|| PlaintextRange::new(0, length.checked_sub(1)?));
        let range = range.expect("what is not held is not empty");
        let stretch = verified.stretch(range).ok_or(Failure::Range(length))?;
        let arrived = match arrived.filter(|arrived| arrived.covers(stretch)) {
            Some(arrived) => arrived,
            None => ask_for(self.call, self.source, self.found, stretch).await?,
        };
        let opener = LegacyOpener::new(&verified, &self.dek, range).map_err(altered)?;
        let stored = StoredBytes {
            skip: stretch.0 - arrived.first,
            begun: arrived.begun,
            body: arrived.body,
        };
        let memory = STREAM_BYTES + 2 * verified.block_bytes();
        let share = self.call.share(memory).await?;
        let length = range.last - range.first + 1;
        let mut body = LegacyBody::streamed(stored, opener, length, share);
        body.prefetch().await?;
        Ok(body)
    }

    async fn read_held(
        &self,
        range: Option<PlaintextRange>,
        arrived: Option<Arrived>,
    ) -> Outcome<LegacyBody> {
        let length = usize::try_from(self.found.stored.0).expect("a held body fits memory");
        let share = self.call.share(length).await?;
        let mut arrived = self.whole(arrived).await?;
        let stored = Vec::from(arrived.take(length).await?);
        // Opened in place, so that one share covers stored bytes and plaintext.
        let mut plaintext = Bytes::from(open_held(&self.dek, stored).map_err(altered)?);
        if let Some(PlaintextRange { first, last }) = range {
            let position = |at: u64| usize::try_from(at).expect("a position in memory");
            if last >= plaintext.len() as u64 {
                return Err(Failure::Range(plaintext.len() as u64));
            }
            plaintext = plaintext.slice(position(first)..=position(last));
        }
        Ok(LegacyBody::held(plaintext, share))
    }

    async fn whole(&self, arrived: Option<Arrived>) -> Outcome<Arrived> {
        whole(self.call, self.source, self.found, arrived).await
    }

    /// Returns the cached verification, with the bytes that arrived; or verifies now, using those.
    async fn verified(
        &self,
        arrived: Option<Arrived>,
    ) -> Outcome<(Arc<VerifiedBody>, Option<Arrived>)> {
        let Found {
            headers,
            stored,
            length,
            ..
        } = self.found;
        let state = LegacyState::from_headers(headers, *stored, self.envelope.wrapped_dek);
        let key = self.source.layout_key();
        // Readers of the same state share the entry and its turn: only one reads everything.
        let entry = self.call.store.verified.enter(key, state, *length);
        if let Some(body) = entry.body() {
            return Ok((Arc::clone(body), arrived));
        }
        let (turn, arrived) = match Arc::clone(&entry.turn).try_lock_owned() {
            Ok(turn) => (turn, arrived),
            Err(_taken) => {
                // Another reader verifies: do not hold a backend connection open unread.
                drop(arrived);
                (Arc::clone(&entry.turn).lock_owned().await, None)
            }
        };
        // The reader before may have finished while this one waited for its turn.
        if let Some(body) = entry.body() {
            return Ok((Arc::clone(body), arrived));
        }
        let reading = FirstReading {
            call: self.call.detached(),
            key: self.source.layout_key(),
            headers: self.source.headers.clone(),
            found: self.found.clone(),
            dek: Arc::clone(&self.dek),
            entry,
            _turn: turn,
        };
        // A task of its own: dropping the request must not stop the verification.
        match tokio::spawn(reading.run(arrived).with_current_context()).await {
            Ok(outcome) => outcome.map(|body| (body, None)),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

/// An owned verification, for a task that outlives the request.
struct FirstReading {
    call: OwnedCall,
    key: LayoutKey,
    headers: HeaderMap,
    found: Found,
    dek: Arc<LegacyDek>,
    entry: Arc<Verification>,
    _turn: OwnedMutexGuard<()>,
}

impl FirstReading {
    async fn run(self, arrived: Option<Arrived>) -> Outcome<Arc<VerifiedBody>> {
        let call = &self.call.call();
        let source = Source {
            object: self.key.object.at(self.key.version.as_deref()),
            headers: self.headers,
        };
        let stored = self.found.stored;
        let memory = STREAM_BYTES + VerifiedBody::memory_of(self.found.length);
        let _share = call.share(memory).await?;
        // The tag ends the body, but decryption starts from it: nothing can be verified before.
        let tag = (stored.0 - TAG_BYTES as u64, stored.0 - 1);
        let tag = read_stretch(call, &source, &self.found, tag).await?;
        let tag = <[u8; TAG_BYTES]>::try_from(&tag[..]).expect("so many bytes were asked for");
        let mut arrived = whole(call, &source, &self.found, arrived).await?;
        let nonce = arrived.take(NONCE_BYTES).await?;
        let nonce = nonce[..].try_into().expect("so many bytes were asked for");
        let verifier = LegacyVerifier::new(&self.dek, stored, nonce, tag);
        let mut verifier = verifier.map_err(altered)?;
        while arrived.first < arrived.end {
            verifier.push(&arrived.piece().await?).map_err(altered)?;
        }
        let body = Arc::new(verifier.finish().map_err(altered)?);
        self.entry.succeeded(&body);
        Ok(body)
    }
}

/// All stored bytes: those that are arriving, or requested here.
async fn whole(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    arrived: Option<Arrived>,
) -> Outcome<Arrived> {
    let all = (0, found.stored.0 - 1);
    match arrived.filter(|arrived| arrived.covers(all)) {
        Some(arrived) => Ok(arrived),
        None => ask_for(call, source, found, all).await,
    }
}

fn altered(error: LegacyError) -> Failure {
    Failure::Stored(error.into())
}
