//! Opens sealed objects: selects the stored bytes, and verifies them in the right order.
//!
//! A single message is opened with the head from its envelope. A multipart body below 5 MiB is one
//! message too, but its head is only at the beginning of the body. From 5 MiB up the
//! seal is read first, from the tail; a range may also need the head of its first part.
//! Seals and heads are cached, data keys are not.

use std::sync::Arc;

use s3proxy_envelope::dek::Dek;
use s3proxy_envelope::header::{Envelope, Layout};
use s3proxy_envelope::layout::{ChunkSpan, PlaintextRange};
use s3proxy_envelope::message::{HEAD_BYTES, MessageHead};
use s3proxy_envelope::multipart::{Seal, tail_first};
use s3proxy_envelope::object::ObjectOpener;

use crate::body::buffers::STREAM_BYTES;
use crate::body::opening::{OpeningBody, StoredBytes};
use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::delivery::PartStructure;
use crate::objects::layout_cache::KnownLayout;
use crate::objects::read::pinned::{Arrived, ask_for, read_stretch};
use crate::objects::read::{Found, Source};
use crate::stored_fault::StoredFault;

/// A sealed object with its data key, and with its seal if it has one.
pub(crate) struct Sealed<'a> {
    call: &'a StoreCall<'a>,
    source: &'a Source<'a>,
    found: &'a Found,
    dek: Dek,
    structure: Structure,
}

enum Structure {
    /// One message, whose head is in the envelope.
    Single(MessageHead),
    /// One message, whose head is in the body.
    Headless(Arc<KnownLayout>),
    /// Parts, listed in the seal.
    Parts(Arc<KnownLayout>),
}

/// An opener, and the range of stored bytes that it takes, both ends included.
struct SealedReading {
    stretch: (u64, u64),
    opener: ObjectOpener,
    /// Plaintext bytes that the opener yields.
    length: u64,
}

impl<'a> Sealed<'a> {
    /// Reads and verifies the seal, if the object has one that is not cached.
    pub(crate) async fn new(
        call: &'a StoreCall<'a>,
        source: &'a Source<'a>,
        found: &'a Found,
        envelope: &Envelope,
        dek: Dek,
    ) -> Outcome<Self> {
        let structure = match (envelope.layout, &envelope.head) {
            (Layout::Single, Some(head)) => Structure::Single(*head),
            (Layout::Single, None) => {
                return Err(StoredFault::malformed("no head in layout 1").into());
            }
            (Layout::Multipart, _) => {
                let layout = layout(call, source, found, envelope, &dek).await?;
                match layout.seal() {
                    Some(_) => Structure::Parts(layout),
                    None => Structure::Headless(layout),
                }
            }
        };
        Ok(Self {
            call,
            source,
            found,
            dek,
            structure,
        })
    }

    pub(crate) fn parts(&self) -> PartStructure<'_> {
        match &self.structure {
            Structure::Single(_) => PartStructure::None,
            Structure::Headless(_) => PartStructure::One,
            Structure::Parts(layout) => PartStructure::Listed(seal_of(layout)),
        }
    }

    /// The seal, if the body has one.
    pub(crate) fn seal(&self) -> Option<&Seal> {
        match &self.structure {
            Structure::Single(_) | Structure::Headless(_) => None,
            Structure::Parts(layout) => layout.seal(),
        }
    }

    /// Opens the whole object or a range inside it, up to the first piece. Bytes that have
    /// `arrived` are used if they cover all of the required ones, and dropped otherwise.
    pub(crate) async fn read(
        &self,
        range: Option<PlaintextRange>,
        mut arrived: Option<Arrived>,
    ) -> Outcome<OpeningBody> {
        let reading = match range {
            None => self.whole()?,
            Some(range) => self.range(range, &mut arrived).await?,
        };
        let usable = arrived.filter(|arrived| arrived.covers(reading.stretch));
        let arrived = match usable {
            Some(arrived) => arrived,
            None => ask_for(self.call, self.source, self.found, reading.stretch).await?,
        };
        let stored = StoredBytes {
            skip: reading.stretch.0 - arrived.first,
            begun: arrived.begun,
            body: arrived.body,
        };
        let share = self.call.share(STREAM_BYTES).await?;
        let pool = Arc::clone(&self.call.store.pool);
        let mut body = OpeningBody::new(stored, reading.opener, reading.length, pool, share);
        // Before the response begins: a fault in the first piece still gets an error status.
        body.prefetch().await?;
        Ok(body)
    }

    fn whole(&self) -> Outcome<SealedReading> {
        let (dek, stored) = (&self.dek, self.found.stored);
        let (opener, end) = match &self.structure {
            Structure::Single(head) => (ObjectOpener::whole(dek, head, stored), stored.0),
            Structure::Headless(_) => (ObjectOpener::whole_headless(dek, stored), stored.0),
            Structure::Parts(layout) => {
                let seal = seal_of(layout);
                (seal.open_whole(dek), seal.parts_end())
            }
        };
        Ok(SealedReading {
            stretch: (0, end - 1),
            opener: opener.map_err(|error| Failure::Stored(error.into()))?,
            length: self.found.length.0,
        })
    }

    async fn range(
        &self,
        range: PlaintextRange,
        arrived: &mut Option<Arrived>,
    ) -> Outcome<SealedReading> {
        let (dek, stored) = (&self.dek, self.found.stored);
        let one_message = ChunkSpan::of(range, self.found.length);
        let one_message = (one_message.stored_first(), one_message.stored_last());
        let (opener, stretch) = match &self.structure {
            Structure::Single(head) => (ObjectOpener::range(dek, head, stored, range), one_message),
            Structure::Headless(layout) => {
                // Usually a separate request: few range responses begin at the head.
                let head = self.head(layout, 0, arrived).await?;
                let opener = ObjectOpener::range(dek, &head, stored, range);
                // Only a head whose commitment was verified may enter the cache.
                if opener.is_ok() {
                    self.learn_head(layout, 0, head);
                }
                (opener, one_message)
            }
            Structure::Parts(layout) => {
                let seal = seal_of(layout);
                let length = self.found.length.0;
                let span = seal.span(range).ok_or(Failure::Range(length))?;
                let head = match span.head_position() {
                    None => None,
                    Some(position) => Some(self.head(layout, position, &mut None).await?),
                };
                let opener = seal.open_span(dek, &span, head.as_ref());
                if let (Ok(_), Some(position), Some(head)) = (&opener, span.head_position(), head) {
                    self.learn_head(layout, position, head);
                }
                (opener, (span.stored_first(), span.stored_last()))
            }
        };
        Ok(SealedReading {
            stretch,
            opener: opener.map_err(|error| Failure::Stored(error.into()))?,
            length: range.last - range.first + 1,
        })
    }

    /// A message's head: from the cache, from the beginning of the arriving bytes, or requested. It
    /// is unverified until its commitment was checked.
    async fn head(
        &self,
        layout: &KnownLayout,
        position: u64,
        arrived: &mut Option<Arrived>,
    ) -> Outcome<MessageHead> {
        if let Some(head) = layout.head(position) {
            return Ok(head);
        }
        let stretch = (position, position + HEAD_BYTES as u64 - 1);
        let at_front = arrived
            .as_mut()
            .filter(|arrived| arrived.first == position && arrived.covers(stretch));
        let bytes = match at_front {
            Some(arrived) => arrived.take(HEAD_BYTES).await?,
            None => read_stretch(self.call, self.source, self.found, stretch).await?,
        };
        Ok(MessageHead::from_slice(&bytes).expect("so many bytes were asked for"))
    }

    /// Caches a head whose commitment was verified.
    fn learn_head(&self, layout: &Arc<KnownLayout>, position: u64, head: MessageHead) {
        if layout.learn_head(position, head) && layout.seal().is_none() {
            // Without a seal the entry had no content until now.
            let key = self.source.layout_key();
            self.call.store.layouts.remember(key, Arc::clone(layout));
        }
    }
}

fn seal_of(layout: &KnownLayout) -> &Seal {
    layout.seal().expect("only layouts with a seal have parts")
}

/// Layout of a multipart object: from the cache, or read from its tail and verified.
pub(crate) async fn layout(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    dek: &Dek,
) -> Outcome<Arc<KnownLayout>> {
    let (key, state) = (source.layout_key(), found.state(envelope));
    let known = call.store.layouts.recall(&key);
    if let Some(layout) = known.filter(|known| known.is_of(&state)) {
        return Ok(layout);
    }
    if !found.has_seal(envelope) {
        return Ok(Arc::new(KnownLayout::new(state, None)));
    }
    let seal = read_seal(call, source, found, dek).await?;
    let layout = Arc::new(KnownLayout::new(state, Some(seal)));
    call.store.layouts.remember(key, Arc::clone(&layout));
    Ok(layout)
}

async fn read_seal(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    dek: &Dek,
) -> Outcome<Seal> {
    let first = tail_first(found.stored).expect("a body with a seal has a tail");
    // A tail has at most 1.6 MB; its bytes and the parsed list are in memory at the same time.
    let length = usize::try_from(found.stored.0 - first).expect("a tail fits memory");
    let _share = call.share(2 * length).await?;
    let tail = read_stretch(call, source, found, (first, found.stored.0 - 1)).await?;
    Seal::open(dek, found.stored, &tail).map_err(|error| Failure::Stored(error.into()))
}
