"""Multipart uploads with other settings, and with a customer-provided key.

`forward-plaintext` exists for tests: it stores plaintext, and every start logs a warning.
"""

import base64
import secrets

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from uploads import FIVE_MIB, Upload, body_of, piece, states

PARTS = {1: FIVE_MIB, 2: 70_000}


@pytest.fixture(scope="module")
def plaintext(deployments):
    server = deployments.server("seaweedfs")
    environment = {"S3PROXY_POLICY_MULTIPART": "forward-plaintext"}
    return deployments.proxy(server, "proxy-uploads-plaintext", environment=environment)


def uploaded(s3, bucket, key, **options) -> Upload:
    upload = Upload(s3, bucket, key, **options)
    for number, size in PARTS.items():
        upload.part(number, piece(size, str(number)), **options)
    return upload


def test_blocked_uploads_are_refused_and_nothing_is_started(deployments, backend_s3, bucket, key):
    server = deployments.server("seaweedfs")
    proxy = deployments.proxy(
        server, "proxy-uploads-blocked", environment={"S3PROXY_POLICY_MULTIPART": "block"}
    )
    with pytest.raises(ClientError) as refusal:
        Upload(boto3_client(proxy.target), bucket, key)
    assert refusal.value.response["Error"]["Code"] == "NotImplemented"
    assert not backend_s3.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads")


def test_forwarded_uploads_are_stored_as_they_are_and_warned_of(plaintext, backend_s3, bucket, key):
    s3 = boto3_client(plaintext.target)
    upload = uploaded(s3, bucket, key)
    listed = s3.list_parts(**upload.named)["Parts"]
    assert [part["Size"] for part in listed] == list(PARTS.values())
    upload.complete()
    assert body_of(backend_s3, bucket, key) == upload.plaintext
    assert body_of(s3, bucket, key) == upload.plaintext
    assert states(backend_s3, bucket) == []
    assert "UNENCRYPTED" in plaintext.proxy.log_text()


def test_forwarded_parts_that_do_not_match_their_headers_are_not_stored(plaintext, bucket, key):
    s3 = boto3_client(plaintext.target)
    upload = Upload(s3, bucket, key)
    wrong = base64.b64encode(b"none").decode()
    with pytest.raises(ClientError) as refusal:
        upload.part(1, piece(FIVE_MIB, "1"), ChecksumCRC32=wrong)
    assert refusal.value.response["Error"]["Code"] == "BadDigest"
    assert not s3.list_parts(**upload.named).get("Parts")
    upload.abort()


def test_forwarded_uploads_are_not_copied_into(plaintext, bucket, key):
    s3 = boto3_client(plaintext.target)
    s3.put_object(Bucket=bucket, Key=key, Body=b"sealed")
    upload = Upload(s3, bucket, key + "-copy")
    query = f"partNumber=1&uploadId={raw.quote(upload.id, safe='-._~')}"
    source = {"x-amz-copy-source": f"/{bucket}/{key}"}
    answer = raw.ask(
        plaintext.target, "PUT", bucket, key + "-copy", query=query, headers=source
    )
    assert (answer.status, answer.code) == (501, "NotImplemented")
    upload.abort()


def customer_key() -> dict:
    """A customer-provided key (SSE-C); boto3 adds its digest."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": secrets.token_hex(16)}


@pytest.mark.parametrize("parts", [PARTS, {1: 70_000}], ids=["long", "short"])
def test_an_upload_under_a_customers_key_is_read_with_it_only(s3, backend_s3, bucket, key, parts):
    sse = customer_key()
    upload = Upload(s3, bucket, key, **sse)
    for number, size in parts.items():
        upload.part(number, piece(size, str(number)), **sse)
    upload.complete()
    answer = s3.get_object(Bucket=bucket, Key=key, **sse)
    assert answer["Body"].read() == upload.plaintext
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key=key)
    assert states(backend_s3, bucket) == []


@pytest.mark.parametrize("size", [FIVE_MIB, 100], ids=["long", "short"])
def test_a_part_without_its_uploads_key_is_refused(s3, bucket, key, size):
    upload = Upload(s3, bucket, key, **customer_key())
    for wrong in ({}, customer_key()):
        with pytest.raises(ClientError) as refusal:
            upload.part(1, piece(size, "1"), **wrong)
        assert refusal.value.response["Error"]["Code"] == "InvalidRequest"
    upload.abort()
