//! UploadPartCopy: a stored object, or a range of it, as a part.
//!
//! In any form the source is read and sealed again, since a part is sealed under its upload's key
//! and its own frame. It is stored like any other part ([`crate::upload_state::part`]). Reads are pinned to the
//! state that the HEAD showed; if the source was replaced in between, the copy starts again.

use http::header;
use s3proxy_envelope::layout::{MAX_PART, PlaintextLength, PlaintextRange};
use s3proxy_protocol::checksum::Checksummer;
use s3proxy_protocol::copy_source::CopyRange;
use s3proxy_protocol::error::{ErrorCode, S3Error};
use s3proxy_protocol::headers::VERSION_ID;
use s3proxy_protocol::xml::copy::copy_part_document;
use time::OffsetDateTime;

use crate::body::buffers::PIECE_BYTES;
use crate::body::replaying::Replay;
use crate::failure::Outcome;
use crate::objects::document_times;
use crate::objects::new_object::announce_encryption;
use crate::objects::read::{self, Found, PlaintextBody};
use crate::objects::replaced::retry_replaced;
use crate::objects::write::insert_source_version;
use crate::operations::long_running::Finished;
use crate::operations::upload_part::new_part;
use crate::operations::{Job, OwnedJob, copy_source};
use crate::s3_request::UploadPartCopy;
use crate::upload_state::part::{NewPart, StoredPart, upload_part_held, upload_part_sealed};
use crate::upload_state::state::{self, OpenUpload};

/// Handles UploadPartCopy.
pub(crate) async fn upload_part_copy(owned: OwnedJob, copy: UploadPartCopy) -> Outcome<Finished> {
    let job = &owned.job();
    let id = copy.upload_id.as_str();
    let upload = state::load_for_writing(&job.uploads(), job.object(), id).await?;
    upload.refuse_other_customer_key(&job.request.headers)?;
    let (found, stored) = retry_replaced(|| attempt(job, &upload, &copy)).await?;

    let mut headers = stored.headers;
    // To the backend a staged part is an object, with a version; to the client it is a part.
    for name in [VERSION_ID, header::ETAG] {
        headers.remove(name);
    }
    insert_source_version(&mut headers, &found);
    announce_encryption(&mut headers, job.call.store.policy.announce_encryption);
    let checksum = stored
        .checksum
        .map(|(algorithm, value)| (algorithm, value.to_base64()));
    let document = copy_part_document(
        &stored.etag.encode(),
        &document_times::in_documents(OffsetDateTime::now_utc()),
        checksum
            .as_ref()
            .map(|(algorithm, value)| (*algorithm, value.as_str())),
    );
    Ok(Finished { headers, document })
}

async fn attempt(
    job: &Job<'_>,
    upload: &OpenUpload,
    copy: &UploadPartCopy,
) -> Outcome<(Found, StoredPart)> {
    let source = copy_source::source(job, &copy.source);
    let found = copy_source::find(job, &source).await?;
    let (range, length) = stretch(&found, copy.range)?;
    let content = read::open(&job.call, &source, &found, range).await?;
    let content = Replay::new(content, length.0);
    let part = new_part(job, upload, copy.number);
    let stored = if length.0 <= job.call.store.held_body_bytes {
        store_held(job, part, content, length).await?
    } else {
        upload_part_sealed(&job.uploads(), part, length, content).await?
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
    part: NewPart<'_>,
    mut content: Replay<PlaintextBody>,
    length: PlaintextLength,
) -> Outcome<StoredPart> {
    let length = usize::try_from(length.0).expect("a held body fits memory");
    // Plaintext and stored form are both in memory while the part is sealed.
    let _share = job.call.share(2 * length + PIECE_BYTES).await?;
    let mut plaintext = Vec::with_capacity(length);
    content.read_to_end(&mut plaintext).await?;
    let checksum = part.upload.checksum.map(|checksum| {
        let mut checksummer = Checksummer::new(checksum.algorithm);
        checksummer.update(&plaintext);
        (checksum.algorithm, checksummer.finish())
    });
    upload_part_held(&job.uploads(), part, plaintext, checksum).await
}
