"""Headers, metadata, tags and checksums of objects arrive and come back unchanged."""

import base64
import gzip
import hashlib
import http.client

import pytest

import raw
from clients import boto3_client
from deployment import make_bucket
from sealed import open_sealed

HEADERS = {
    "Content-Type": "text/x-e2e; charset=utf-8",
    "Cache-Control": "max-age=60, private",
    "Content-Disposition": "attachment; filename=\"a b.txt\"",
    "Content-Language": "de, en",
    "Expires": "Thu, 01 Dec 2033 16:00:00 GMT",
    "x-amz-meta-plain": "value with  two spaces",
    "x-amz-meta-empty": "",
    "x-amz-meta-unicode": "käse \u2603",
    "x-amz-storage-class": "STANDARD",
}
COMPARED = ["x-amz-storage-class", "Accept-Ranges", *HEADERS]


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture
def target(deployment):
    return deployment.target


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_headers_and_metadata_come_back_as_without_the_proxy(deployment, bucket, key, method):
    answers = []
    for target in (deployment.target, deployment.backend.target):
        direct_bucket = bucket if target is deployment.target else make_bucket(deployment)
        put = raw.ask(target, "PUT", direct_bucket, key, headers=HEADERS, body=b"content")
        assert put.status == 200
        answer = raw.ask(target, method, direct_bucket, key)
        answers.append({name: answer.headers[name] for name in COMPARED})
    assert answers[0] == answers[1]


# 250 entries, and white space on whose part in a signature servers disagree.
ODD_METADATA = {f"x-amz-meta-n{number}": "1" for number in range(250)} | {
    "x-amz-meta-tab": "a\tb",
    "x-amz-meta-space": "a\u3000b",
    "Content-Type": "text/plain;\tcharset=utf-8",
}
READ_BACK = ODD_METADATA | {
    "x-amz-meta-tab": "a b",
    "x-amz-meta-space": "=?UTF-8?B?YeOAgGI=?=",
    "Content-Type": "text/plain; charset=utf-8",
}


def test_many_entries_and_odd_white_space_come_back_as_s3_gives_them(monkeypatch, target, bucket, key):
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    stored = raw.ask(target, "PUT", bucket, key, headers=ODD_METADATA, body=b"content")
    assert stored.status == 200, stored.body
    head = raw.ask(target, "HEAD", bucket, key)
    assert head.status == 200
    assert {name: head.headers[name] for name in READ_BACK} == READ_BACK


def test_envelope_and_encryption_are_not_told_as_metadata(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", Metadata={"mine": "1"})
    assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {"mine": "1"}
    assert s3.get_object(Bucket=bucket, Key=key)["Metadata"] == {"mine": "1"}


def test_answers_announce_encryption_so_that_sdks_do_not_compare_md5s(s3, bucket, key):
    answer = s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert answer["ServerSideEncryption"] == "aws:kms"


def test_response_overrides_replace_headers_of_one_answer(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket,
        Key=key,
        ResponseContentType="application/json",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
    )
    assert got["ContentType"] == "application/json"
    assert got["ContentDisposition"] == "inline"
    assert got["CacheControl"] == "no-store"
    assert s3.get_object(Bucket=bucket, Key=key)["ContentType"] == "text/plain"


def test_tags_set_with_the_upload_are_the_objects_tags(s3, backend_s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="team=blue&stage=a%20b")
    expected = [("stage", "a b"), ("team", "blue")]
    for client in (s3, backend_s3):
        tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert sorted((tag["Key"], tag["Value"]) for tag in tags) == expected


def test_content_encoding_of_the_client_stays(s3, bucket, key):
    packed = gzip.compress(b"content" * 1000)
    s3.put_object(Bucket=bucket, Key=key, Body=packed, ContentEncoding="gzip")
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["ContentEncoding"], got["Body"].read()) == ("gzip", packed)


@pytest.mark.parametrize(("sent", "kept"), [("aws-chunked,gzip", "gzip"), ("aws-chunked", None)])
def test_aws_chunked_is_decoded_and_leaves_the_content_encoding(target, bucket, key, sent, kept):
    packed = gzip.compress(b"content" * 100000, mtime=0)
    built = raw.request(target, "PUT", bucket, key, headers={"Content-Encoding": sent}, body=packed)
    assert raw.send(raw.sign_chunked(built, target, chunk_bytes=8192), target).status == 200
    got = raw.ask(target, "GET", bucket, key)
    assert (got.headers["Content-Encoding"], got.body) == (kept, packed)


@pytest.mark.parametrize("size", [0, 1, 65536, 200000])
def test_chunk_signed_upload_is_stored_without_its_framing(deployment, bucket, key, size):
    content = b"\xa5" * size
    built = raw.request(deployment.target, "PUT", bucket, key, body=content)
    assert raw.send(raw.sign_chunked(built, deployment.target), deployment.target).status == 200
    assert raw.ask(deployment.target, "GET", bucket, key).body == content
    stored = deployment.stored(bucket, key)
    assert open_sealed(stored, deployment.proxy.key, bucket, key, size) == content


def test_unsigned_payload_is_accepted(target, bucket, key):
    built = raw.request(target, "PUT", bucket, key, body=b"content")
    assert raw.send(raw.sign(built, target, payload=raw.UNSIGNED), target).status == 200
    assert raw.ask(target, "GET", bucket, key).body == b"content"


def test_checksum_comes_back_when_asked_for_and_never_reaches_the_backend(
    s3, backend_s3, bucket, key
):
    content = b"content" * 1000
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
    put = s3.put_object(Bucket=bucket, Key=key, Body=content, ChecksumSHA256=checksum)
    assert put["ChecksumSHA256"] == checksum
    asked = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert asked["ChecksumSHA256"] == checksum
    behind = backend_s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert behind.get("ChecksumSHA256") != checksum
    assert checksum not in str(behind["Metadata"])


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Content-MD5", base64.b64encode(bytes(16)).decode(), "BadDigest"),
        ("x-amz-checksum-crc32", base64.b64encode(bytes(4)).decode(), "BadDigest"),
        ("x-amz-checksum-sha256", base64.b64encode(bytes(32)).decode(), "BadDigest"),
    ],
)
def test_upload_with_a_wrong_checksum_is_refused_and_not_stored(
    target, bucket, key, header, value, code
):
    answer = raw.ask(target, "PUT", bucket, key, headers={header: value}, body=b"content")
    assert (answer.status, answer.code) == (400, code)
    assert raw.ask(target, "HEAD", bucket, key).status == 404


def test_object_is_bound_to_its_key(deployment, bucket, prefix):
    """An object that a backend serves under another key is refused."""
    s3, behind = boto3_client(deployment.target), boto3_client(deployment.backend.target)
    s3.put_object(Bucket=bucket, Key=prefix + "a", Body=b"content of a")
    stored = deployment.stored(bucket, prefix + "a")
    behind.put_object(Bucket=bucket, Key=prefix + "b", Body=stored.body, Metadata=stored.metadata)
    answer = raw.ask(deployment.target, "GET", bucket, prefix + "b")
    assert (answer.status, answer.code) == (500, "InternalError")
