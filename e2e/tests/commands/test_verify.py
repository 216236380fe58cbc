"""`s3proxy verify` opens every object, and gives the reason for each that does not open."""

import pytest

from clients import boto3_client
from commands import command
from content import LARGE, SMALL, content
from proxy import new_key
from uploads import FIVE_MIB, Upload, piece


@pytest.fixture(scope="module")
def filled(deployment, bucket):
    s3 = boto3_client(deployment.target)
    for size in (0, SMALL, LARGE):
        s3.put_object(
            Bucket=bucket, Key=f"v/{size}", Body=content(size), ChecksumAlgorithm="SHA256"
        )
    upload = Upload(s3, bucket, "v/multipart", ChecksumAlgorithm="CRC32")
    upload.part(1, piece(FIVE_MIB + 17, "one"), ChecksumAlgorithm="CRC32")
    upload.part(2, piece(LARGE, "two"), ChecksumAlgorithm="CRC32")
    upload.complete()
    return bucket


def test_intact_objects_are_verified_with_their_checksums(deployment, filled):
    ran = command(deployment.proxy, "verify", f"{filled}/v/")
    assert (ran.status, ran.summary["failed"]) == (0, 0)
    assert ran.summary["done"]["verified"]["objects"] == 4
    lines = ran.by_key()
    assert lines[f"v/{LARGE}"]["checksums"] == ["SHA256"]
    assert lines["v/multipart"]["checksums"] == ["CRC32"]


def test_flipped_bytes_are_found_but_not_by_heads_alone(
    deployment, s3, backend_s3, bucket, prefix
):
    key = prefix + "flipped"
    s3.put_object(Bucket=bucket, Key=key, Body=content(LARGE))
    s3.put_object(Bucket=bucket, Key=prefix + "whole", Body=content(LARGE))
    answer = backend_s3.get_object(Bucket=bucket, Key=key)
    body = bytearray(answer["Body"].read())
    body[len(body) // 2] ^= 1
    backend_s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), Metadata=answer["Metadata"])
    ran = command(deployment.proxy, "verify", f"{bucket}/{prefix}")
    assert ran.status == 3
    assert {name: line["status"] for name, line in ran.by_key().items()} == {
        key: "failed",
        prefix + "whole": "done",
    }
    assert ran.by_key()[key]["reason"].startswith("stored data: ")
    heads = command(deployment.proxy, "verify", "--heads", f"{bucket}/{prefix}")
    assert (heads.status, heads.summary["done"]["opened"]["objects"]) == (0, 2)


def test_a_key_that_is_missing_is_named(deployment, deployments, s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=prefix + "a", Body=b"a")
    other = deployments.proxy(
        deployment.backend, "verify-other-key", environment={"S3PROXY_ENCRYPT_KEY": new_key()}
    )
    for arguments in ([], ["--heads"]):
        ran = command(other.proxy, "verify", *arguments, f"{bucket}/{prefix}")
        assert ran.status == 3
        assert "which is not configured here" in ran.objects[0]["reason"]


def test_plaintext_is_counted_and_not_read(deployment, backend_s3, bucket, prefix):
    backend_s3.put_object(Bucket=bucket, Key=prefix + "plain", Body=b"plain")
    ran = command(deployment.proxy, "verify", f"{bucket}/{prefix}")
    assert (ran.status, ran.summary["skipped"]) == (0, {"plaintext": {"objects": 1, "bytes": 5}})
