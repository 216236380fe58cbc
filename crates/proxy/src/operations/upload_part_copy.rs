//! UploadPartCopy: a stored object, or a range of it, as a part.
//!
//! In any form the source is read and sealed again, since a part is sealed under its upload's key
//! and its own frame. It is stored like any other part ([`super::part`]). Reads are pinned to the
//! state that the HEAD showed; if the source was replaced in between, the copy starts again.

use http::header;
use s3proxy_envelope::layout::{MAX_PART, PlaintextLength, PlaintextRange};
use s3proxy_envelope::multipart::PartNumber;
use s3proxy_protocol::checksum::Checksummer;
use s3proxy_protocol::copy_source::CopyRange;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::xml::copy::copy_part_document;
use time::OffsetDateTime;

use super::part::{StoredPart, upload_part_held, upload_part_sealed};
use super::state::{self, OpenUpload};
use super::{part_number, upload_id};
use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::execute::copy::origin;
use crate::execute::copy::times;
use crate::execute::new_object::announce_encryption;
use crate::execute::patience::Finished;
use crate::execute::source::{self, Found, PlaintextBody};
use crate::execute::{Job, Outcome, OwnedJob};

/// Handles UploadPartCopy.
pub(super) async fn upload_part_copy(owned: OwnedJob) -> Outcome<Finished> {
    let job = &owned.job();
    let number = part_number(job)?;
    let range = CopyRange::from_headers(&job.request.headers)?;
    let upload = state::load(job, upload_id(job)?).await?;
    upload.refuse_other_customer_key(&job.request.headers)?;
    let (found, stored) = origin::unless_replaced(|| attempt(job, &upload, number, range)).await?;

    let mut headers = stored.headers;
    // To the backend a staged part is an object, with a version; to the client it is a part.
    for name in ["x-amz-version-id", header::ETAG.as_str()] {
        headers.remove(name);
    }
    origin::insert_version(&mut headers, &found);
    announce_encryption(&mut headers, job.parts.policy.announce_encryption);
    let checksum = stored
        .checksum
        .map(|(algorithm, value)| (algorithm, value.to_base64()));
    let document = copy_part_document(
        &stored.etag.encode(),
        &times::in_documents(OffsetDateTime::now_utc()),
        checksum
            .as_ref()
            .map(|(algorithm, value)| (*algorithm, value.as_str())),
    );
    Ok(Finished { headers, document })
}

async fn attempt(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    range: Option<CopyRange>,
) -> Outcome<(Found, StoredPart)> {
    let source = origin::source(job);
    let found = origin::find(job, &source).await?;
    let (range, length) = stretch(&found, range)?;
    let content = source::open(job, &source, &found, range).await?;
    let content = Replay::new(content, length.0);
    let stored = if length.0 <= job.parts.held_body_bytes {
        store_held(job, upload, number, content, length).await?
    } else {
        upload_part_sealed(job, upload, number, length, content).await?
    };
    Ok((found, stored))
}

/// Range to read (`None` for the whole object), and its length.
fn stretch(
    found: &Found,
    range: Option<CopyRange>,
) -> Result<(Option<PlaintextRange>, PlaintextLength), S3Error> {
    let (range, length) = match range {
        None => (None, found.length),
        Some(range) => {
            range.refuse_outside(found.length.0)?;
            let length = PlaintextLength(range.last - range.first + 1);
            (PlaintextRange::new(range.first, range.last), length)
        }
    };
    if length > MAX_PART {
        return Err(S3Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: {} bytes in one part through this proxy; copy it in ranges.",
                MAX_PART.0
            ),
        ));
    }
    Ok((range, length))
}

async fn store_held(
    job: &Job<'_>,
    upload: &OpenUpload,
    number: PartNumber,
    mut content: Replay<PlaintextBody>,
    length: PlaintextLength,
) -> Outcome<StoredPart> {
    let length = usize::try_from(length.0).expect("a held body fits memory");
    // Plaintext and stored form are both in memory while the part is sealed.
    let _share = job.share(2 * length + PIECE_BYTES).await?;
    let mut plaintext = Vec::with_capacity(length);
    content.read_to_end(&mut plaintext).await?;
    let checksum = upload.checksum.map(|checksum| {
        let mut checksummer = Checksummer::new(checksum.algorithm);
        checksummer.update(&plaintext);
        (checksum.algorithm, checksummer.finish())
    });
    upload_part_held(job, upload, number, plaintext, checksum).await
}
