//! Verifies that a stored object opens: the whole object, or its envelope alone.
//!
//! The body goes through the same readers as GetObject's, and is dropped. Stored checksums are
//! compared with the plaintext: those of the whole object, those of the parts of an upload, and the
//! checksum of the parts' checksums. Absent: objects that are not sealed, which cannot be verified.

use http_body_util::BodyExt;
use s3proxy_envelope::header::{Envelope, PrivateMap};
use s3proxy_envelope::multipart::Seal;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue, Checksummer};

use crate::failure::{Failure, Outcome};
use crate::objects::StoreCall;
use crate::objects::plaintext_headers::{self, Checksums, part_checksum};
use crate::objects::read::{self, Found, Sealed, Source};
use crate::objects::stored::Form;
use crate::stored_fault::StoredFault;

/// Extent of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Envelope, seal and body.
    Bodies,
    /// The key, the private part of the envelope, and the seal.
    Heads,
}

/// Result of a successful verification.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Plaintext bytes that were opened.
    pub(crate) opened: u64,
    /// Algorithms of the stored checksums that match.
    pub(crate) checksums: Vec<&'static str>,
}

/// Opens the object that was found. No plaintext is released, for legacy objects either.
pub(crate) async fn verify(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    depth: Depth,
) -> Outcome<Verified> {
    match &found.form {
        Form::Sealed(envelope) => sealed(call, source, found, envelope, depth).await,
        Form::Legacy(_) | Form::Plain => {
            let body = read::open(call, source, found, None).await?;
            let opened = drain(body, &mut Checks::default()).await?;
            Ok(Verified {
                opened,
                checksums: Vec::new(),
            })
        }
    }
}

async fn sealed(
    call: &StoreCall<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    depth: Depth,
) -> Outcome<Verified> {
    let dek = read::unwrap(call, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?;
    let sealed = Sealed::new(call, source, found, envelope, dek).await?;
    match depth {
        // `Sealed::new` has verified the seal.
        Depth::Heads => Ok(Verified::default()),
        Depth::Bodies => {
            let mut checks = Checks::new(private.as_ref(), sealed.seal());
            let body = sealed.read(None, None).await?;
            let opened = drain(body, &mut checks).await?;
            Ok(Verified {
                opened,
                checksums: checks.finish()?,
            })
        }
    }
}

async fn drain<B>(mut body: B, checks: &mut Checks<'_>) -> Outcome<u64>
where
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
    Failure: From<B::Error>,
{
    let mut opened = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            opened += data.len() as u64;
            checks.update(&data)?;
        }
    }
    Ok(opened)
}

/// Checksums that are compared while plaintext passes.
#[derive(Default)]
struct Checks<'a> {
    /// Checksums of the whole object: algorithm, stored value, running value.
    whole: Vec<(ChecksumAlgorithm, ChecksumValue, Checksummer)>,
    parts: Option<PartChecks<'a>>,
}

struct PartChecks<'a> {
    seal: &'a Seal,
    algorithm: ChecksumAlgorithm,
    /// Current part, counted from 0, and its remaining bytes.
    index: usize,
    remaining: u64,
    running: Checksummer,
    /// The checksum of the parts' checksums: as it was stored, and of the parts so far.
    composite: Option<(ChecksumValue, Checksummer)>,
}

impl<'a> Checks<'a> {
    fn new(private: Option<&'a PrivateMap>, seal: Option<&'a Seal>) -> Self {
        let stored = Checksums::stored(private, seal);
        let (whole, composite): (Vec<_>, Vec<_>) = stored
            .iter()
            .flat_map(Checksums::values)
            .partition(|(_, _, kind)| *kind == plaintext_headers::FULL_OBJECT);
        let composite = composite
            .into_iter()
            .map(|(algorithm, value, _)| (algorithm, value))
            .next();
        let whole = whole.into_iter().map(|(algorithm, expected, _)| {
            let running = Checksummer::new(algorithm);
            (algorithm, expected, running)
        });
        Self {
            whole: whole.collect(),
            parts: seal.and_then(|seal| PartChecks::new(seal, composite)),
        }
    }

    fn update(&mut self, plaintext: &[u8]) -> Outcome<()> {
        for (_, _, running) in &mut self.whole {
            running.update(plaintext);
        }
        match &mut self.parts {
            Some(parts) => parts.update(plaintext),
            None => Ok(()),
        }
    }

    fn finish(self) -> Outcome<Vec<&'static str>> {
        let mut right = Vec::new();
        for (algorithm, expected, running) in self.whole {
            if running.finish() != expected {
                return Err(differs(algorithm, "of the object"));
            }
            right.push(algorithm.as_str());
        }
        if let Some(parts) = self.parts {
            let algorithm = parts.finish()?;
            if !right.contains(&algorithm.as_str()) {
                right.push(algorithm.as_str());
            }
        }
        Ok(right)
    }
}

impl<'a> PartChecks<'a> {
    /// `None` if neither the parts nor the object have a checksum that depends on the parts.
    fn new(seal: &'a Seal, composite: Option<(ChecksumAlgorithm, ChecksumValue)>) -> Option<Self> {
        let of_parts = seal.fields().part_checksum;
        let of_parts = of_parts.and_then(|known| ChecksumAlgorithm::from_name(known.name()));
        let algorithm = of_parts.or(composite.as_ref().map(|(algorithm, _)| *algorithm))?;
        let composite = composite.filter(|(of, _)| *of == algorithm);
        let first = seal.frames().next()?;
        Some(Self {
            seal,
            algorithm,
            index: 0,
            remaining: first.length().0,
            running: Checksummer::new(algorithm),
            composite: composite.map(|(_, expected)| (expected, Checksummer::new(algorithm))),
        })
    }

    fn update(&mut self, mut plaintext: &[u8]) -> Outcome<()> {
        while !plaintext.is_empty() {
            let here = usize::try_from(self.remaining).unwrap_or(usize::MAX);
            let (own, rest) = plaintext.split_at(here.min(plaintext.len()));
            self.running.update(own);
            self.remaining -= own.len() as u64;
            plaintext = rest;
            if self.remaining == 0 {
                self.next_part()?;
            }
        }
        Ok(())
    }

    fn next_part(&mut self) -> Outcome<()> {
        let fresh = Checksummer::new(self.algorithm);
        let value = std::mem::replace(&mut self.running, fresh).finish();
        // The part may have no stored checksum.
        let expected = part_checksum(self.seal, self.index);
        if expected.is_some_and(|(_, expected)| expected != value) {
            let number = self.index + 1;
            return Err(differs(self.algorithm, &format!("of part {number}")));
        }
        if let Some((_, running)) = &mut self.composite {
            running.update(value.as_bytes());
        }
        self.index += 1;
        let next = self.seal.frames().nth(self.index);
        // After the last part nothing follows: the reader delivers exactly the object's length.
        self.remaining = next.map_or(u64::MAX, |frame| frame.length().0);
        Ok(())
    }

    fn finish(mut self) -> Outcome<ChecksumAlgorithm> {
        // Empty parts have no plaintext, so `update` has not passed them.
        while self.remaining == 0 {
            self.next_part()?;
        }
        if let Some((expected, running)) = self.composite
            && running.finish() != expected
        {
            return Err(differs(self.algorithm, "of the parts' checksums"));
        }
        Ok(self.algorithm)
    }
}

fn differs(algorithm: ChecksumAlgorithm, what: &str) -> Failure {
    Failure::from(StoredFault::malformed(format!(
        "the {} {what} differs from the stored one",
        algorithm.as_str()
    )))
}
