//! Objects with a checksum of any algorithm: the SDK computes it where it can, or it is given.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};

use crate::Failure;

/// The value that stands for a checksum that the SDK has to compute.
const COMPUTED: &str = "-";

/// Uploads a file, and prints the checksum that the object has.
pub(crate) async fn put(
    client: &Client,
    (bucket, key): (&str, &str),
    file: &Path,
    algorithm: &str,
    value: &str,
) -> Result<(), Failure> {
    let body = ByteStream::from_path(file).await?;
    let put = client.put_object().bucket(bucket).key(key).body(body);
    let put = match (value, algorithm) {
        (COMPUTED, algorithm) => put.checksum_algorithm(ChecksumAlgorithm::from(algorithm)),
        (value, "MD5") => put.checksum_md5(value),
        (value, "SHA512") => put.checksum_sha512(value),
        (value, "XXHASH64") => put.checksum_xxhash64(value),
        (value, "XXHASH3") => put.checksum_xxhash3(value),
        (value, "XXHASH128") => put.checksum_xxhash128(value),
        (_, algorithm) => return Err(format!("the SDK computes {algorithm} itself").into()),
    };
    put.send().await?;
    let head = client.head_object().bucket(bucket).key(key);
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await?;
    let kept = match algorithm {
        "CRC32" => head.checksum_crc32(),
        "CRC32C" => head.checksum_crc32_c(),
        "CRC64NVME" => head.checksum_crc64_nvme(),
        "MD5" => head.checksum_md5(),
        "SHA1" => head.checksum_sha1(),
        "SHA256" => head.checksum_sha256(),
        "SHA512" => head.checksum_sha512(),
        "XXHASH64" => head.checksum_xxhash64(),
        "XXHASH3" => head.checksum_xxhash3(),
        "XXHASH128" => head.checksum_xxhash128(),
        _ => return Err(format!("{algorithm} is no checksum algorithm of S3's").into()),
    };
    println!("{}", kept.ok_or("the object has no such checksum")?);
    Ok(())
}
