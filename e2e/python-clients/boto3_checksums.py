"""boto3 with the AWS Common Runtime, which computes every checksum but MD5: objects, batches of
deletions and, with --parts, uploads in parts with each.
"""

import base64
import hashlib
import os
import sys

import boto3
from botocore.config import Config

ALGORITHMS = [
    "CRC32",
    "CRC32C",
    "CRC64NVME",
    "MD5",
    "SHA1",
    "SHA256",
    "SHA512",
    "XXHASH64",
    "XXHASH3",
    "XXHASH128",
]
PARTS = [b"1" * (5 * 1024 * 1024), b"the last part"]
SMALL = bytes(range(256)) * 50
STREAMED = bytes(1024 * 1024 + 1)


def main(with_parts: bool) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
    bucket = os.environ["S3_BUCKET"]
    for algorithm in ALGORITHMS:
        check_object(s3, bucket, algorithm)
        if with_parts:
            check_parts(s3, bucket, algorithm)
        check_deletion(s3, bucket, algorithm)


def checksum(algorithm: str, content: bytes) -> dict[str, str]:
    """What a request says of its checksum: the algorithm, or a value that botocore does not compute."""
    if algorithm == "MD5":
        return {"ChecksumMD5": base64.b64encode(hashlib.md5(content).digest()).decode()}
    return {"ChecksumAlgorithm": algorithm}


def check_object(s3, bucket: str, algorithm: str) -> None:
    named, value_name = {"Bucket": bucket, "Key": f"object-{algorithm}"}, f"Checksum{algorithm}"
    stored = s3.put_object(**named, Body=SMALL, **checksum(algorithm, SMALL))
    head = s3.head_object(**named, ChecksumMode="ENABLED")
    assert (head[value_name], head["ChecksumType"]) == (stored[value_name], "FULL_OBJECT")
    # botocore compares what it reads with the checksum.
    got = s3.get_object(**named, ChecksumMode="ENABLED")
    assert (got["Body"].read(), got[value_name]) == (SMALL, stored[value_name])
    # Over TLS the checksum comes behind the body.
    streamed = s3.put_object(**named, Body=STREAMED, **checksum(algorithm, STREAMED))
    assert streamed[value_name] != stored[value_name]
    assert s3.get_object(**named, ChecksumMode="ENABLED")["Body"].read() == STREAMED


def check_parts(s3, bucket: str, algorithm: str) -> None:
    named, value_name = {"Bucket": bucket, "Key": f"parts-{algorithm}"}, f"Checksum{algorithm}"
    created = s3.create_multipart_upload(**named, ChecksumAlgorithm=algorithm)
    upload = named | {"UploadId": created["UploadId"]}
    parts = []
    for number, body in enumerate(PARTS, 1):
        part = s3.upload_part(**upload, PartNumber=number, Body=body, **checksum(algorithm, body))
        parts.append({"PartNumber": number} | {n: part[n] for n in ("ETag", value_name)})
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    head = s3.head_object(**named, ChecksumMode="ENABLED")
    assert head[value_name] == done[value_name]
    assert head["ChecksumType"] == created["ChecksumType"]
    assert done[value_name].endswith("-2") == (head["ChecksumType"] == "COMPOSITE")
    asked = s3.get_object_attributes(**named, ObjectAttributes=["Checksum"])
    assert asked["Checksum"][value_name] == done[value_name].removesuffix("-2")
    assert s3.get_object(**named, ChecksumMode="ENABLED")["Body"].read() == b"".join(PARTS)


def check_deletion(s3, bucket: str, algorithm: str) -> None:
    """botocore has no way to send an MD5 that it was given of a batch."""
    keys = [f"object-{algorithm}", f"parts-{algorithm}"]
    options = {} if algorithm == "MD5" else {"ChecksumAlgorithm": algorithm}
    deleted = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]}, **options
    )
    assert sorted(entry["Key"] for entry in deleted["Deleted"]) == keys


if __name__ == "__main__":
    main(with_parts="--parts" in sys.argv[1:])
