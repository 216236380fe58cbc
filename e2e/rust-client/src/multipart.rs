//! Multipart uploads and copies on the server.
//!
//! Parts are sent in parallel and completed in order, each with the checksum that the SDK computed.
//! They are read from the file while they are sent, so the SDK sends their checksums as trailers. A
//! failed upload is aborted, so that none is left over.

use std::ops::Range;
use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use tokio::task::JoinSet;

use crate::Failure;

/// The target of an upload, and its id.
#[derive(Clone)]
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    id: String,
}

/// The content of an upload's parts.
enum Source {
    File(PathBuf),
    Object(String),
}

/// Uploads a file in parts of `part_size` bytes, all in parallel.
pub(crate) async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    file: &Path,
    part_size: u64,
) -> Result<(), Failure> {
    let size = tokio::fs::metadata(file).await?.len();
    let source = Source::File(file.to_owned());
    transfer(client, bucket, key, &source, size, part_size).await
}

/// Copies an object in one request.
pub(crate) async fn copy(
    client: &Client,
    bucket: &str,
    source: &str,
    key: &str,
) -> Result<(), Failure> {
    client
        .copy_object()
        .copy_source(format!("{bucket}/{source}"))
        .bucket(bucket)
        .key(key)
        .send()
        .await?;
    Ok(())
}

/// Copies an object in parts of `part_size` bytes, all in parallel.
pub(crate) async fn copy_parts(
    client: &Client,
    bucket: &str,
    source: &str,
    key: &str,
    part_size: u64,
) -> Result<(), Failure> {
    let head = client
        .head_object()
        .bucket(bucket)
        .key(source)
        .send()
        .await?;
    let size = u64::try_from(head.content_length().ok_or("the object has no length")?)?;
    let source = Source::Object(format!("{bucket}/{source}"));
    transfer(client, bucket, key, &source, size, part_size).await
}

async fn transfer(
    client: &Client,
    bucket: &str,
    key: &str,
    source: &Source,
    size: u64,
    part_size: u64,
) -> Result<(), Failure> {
    let created = client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await?;
    let upload = Upload {
        client: client.clone(),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        id: created
            .upload_id()
            .ok_or("the upload has no id")?
            .to_owned(),
    };
    let sent = match upload.send_parts(source, size, part_size).await {
        Ok(parts) => upload.complete(parts).await,
        Err(failure) => Err(failure),
    };
    if sent.is_err() {
        upload.abort().await?;
    }
    sent
}

impl Upload {
    async fn send_parts(
        &self,
        source: &Source,
        size: u64,
        part_size: u64,
    ) -> Result<Vec<CompletedPart>, Failure> {
        let mut running = JoinSet::new();
        let starts = (0..size).step_by(usize::try_from(part_size)?);
        for (number, start) in (1..).zip(starts) {
            let range = start..size.min(start + part_size);
            let upload = self.clone();
            match source {
                Source::File(path) => {
                    let path = path.clone();
                    running.spawn(async move { upload.send_part(number, path, range).await });
                }
                Source::Object(name) => {
                    let name = name.clone();
                    running.spawn(async move { upload.copy_part(number, name, range).await });
                }
            }
        }
        let mut parts = Vec::new();
        while let Some(part) = running.join_next().await {
            parts.push(part??);
        }
        parts.sort_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn send_part(
        &self,
        number: i32,
        file: PathBuf,
        range: Range<u64>,
    ) -> Result<CompletedPart, Failure> {
        let body = ByteStream::read_from()
            .path(file)
            .offset(range.start)
            .length(Length::Exact(range.end - range.start))
            .build()
            .await?;
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(body)
            .send()
            .await?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }

    async fn copy_part(
        &self,
        number: i32,
        source: String,
        range: Range<u64>,
    ) -> Result<CompletedPart, Failure> {
        let sent = self
            .client
            .upload_part_copy()
            .copy_source(source)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .send()
            .await?;
        let result = sent.copy_part_result.ok_or("a copied part has no result")?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(result.e_tag)
            .set_checksum_crc32(result.checksum_crc32)
            .build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<(), Failure> {
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .send()
            .await?;
        Ok(())
    }

    async fn abort(&self) -> Result<(), Failure> {
        self.client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .send()
            .await?;
        Ok(())
    }
}
