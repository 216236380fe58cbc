//! Verifies that a stored object opens: the whole object, or its envelope alone.
//!
//! The body is opened by GetObject's readers and discarded. Stored checksums are compared with the
//! plaintext: those of the object, and those of the parts of an upload. Objects that are not sealed
//! are only read: nothing authenticates them.

use http_body_util::BodyExt;
use s3proxy_envelope::header::{Envelope, PrivateMap};
use s3proxy_envelope::multipart::Seal;
use s3proxy_protocol::checksum::{ChecksumAlgorithm, ChecksumValue, Checksummer};

use super::plaintext_headers::{self, part_checksum};
use super::source::{self, Found, Sealed, Source};
use super::stored::Form;
use super::{Job, Outcome};
use crate::respond::Failure;
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
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    depth: Depth,
) -> Outcome<Verified> {
    match &found.form {
        Form::Sealed(envelope) => sealed(job, source, found, envelope, depth).await,
        Form::Legacy(_) | Form::Plain => {
            let body = source::open(job, source, found, None).await?;
            let opened = drain(body, &mut Checks::default()).await?;
            Ok(Verified {
                opened,
                checksums: Vec::new(),
            })
        }
    }
}

async fn sealed(
    job: &Job<'_>,
    source: &Source<'_>,
    found: &Found,
    envelope: &Envelope,
    depth: Depth,
) -> Outcome<Verified> {
    let dek = source::unwrap(job, source, envelope).await?;
    let private = plaintext_headers::private_map(source, envelope, &dek)?;
    let sealed = Sealed::new(job, source, found, envelope, dek).await?;
    match depth {
        // `Sealed::new` has verified the seal.
        Depth::Heads => Ok(Verified::default()),
        Depth::Bodies => {
            let mut checks = Checks::of(private.as_ref(), sealed.seal());
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
}

impl<'a> Checks<'a> {
    fn of(private: Option<&'a PrivateMap>, seal: Option<&'a Seal>) -> Self {
        let (raw, kind) = match (seal, private) {
            (Some(seal), _) => {
                let fields = seal.fields();
                (Some(&fields.checksums), fields.checksum_type.as_deref())
            }
            (None, Some(private)) => (Some(&private.checksums), private.checksum_type.as_deref()),
            (None, None) => (None, None),
        };
        // A composite checksum is made from the parts' checksums, which are compared themselves.
        let is_whole = kind.is_none_or(|kind| kind == plaintext_headers::FULL_OBJECT);
        let whole = raw.into_iter().flatten().filter(|_| is_whole);
        let whole = whole.filter_map(|(name, raw)| {
            let algorithm = ChecksumAlgorithm::from_name(name)?;
            let expected = ChecksumValue::from_bytes(algorithm, raw)?;
            Some((algorithm, expected, Checksummer::new(algorithm)))
        });
        Self {
            whole: whole.collect(),
            parts: seal.and_then(PartChecks::of),
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
        if let Some(parts) = self.parts
            && !right.contains(&parts.algorithm.as_str())
        {
            right.push(parts.algorithm.as_str());
        }
        Ok(right)
    }
}

impl<'a> PartChecks<'a> {
    fn of(seal: &'a Seal) -> Option<Self> {
        let algorithm = ChecksumAlgorithm::from_name(seal.fields().part_checksum?.name())?;
        let first = seal.frames().next()?;
        Some(Self {
            seal,
            algorithm,
            index: 0,
            remaining: first.length().0,
            running: Checksummer::new(algorithm),
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
        self.index += 1;
        let next = self.seal.frames().nth(self.index);
        // After the last part nothing follows: the reader delivers exactly the object's length.
        self.remaining = next.map_or(u64::MAX, |frame| frame.length().0);
        Ok(())
    }
}

fn differs(algorithm: ChecksumAlgorithm, what: &str) -> Failure {
    Failure::from(StoredFault::malformed(format!(
        "the {} {what} is another than the stored one",
        algorithm.as_str()
    )))
}
