"""Replaced or altered state and staged parts of an upload are refused.

States are exchanged before a replica that has not read them; staged parts are exchanged between two
uploads, and with an earlier attempt at the same part.
"""

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from uploads import FIVE_MIB, Upload, body_of, piece, states


@pytest.fixture
def fresh_s3(deployments, deployment, key):
    """A replica that has no upload in its cache."""
    name = f"proxy-fresh-{key.partition('/')[0]}"
    environment = {"S3PROXY_ENCRYPT_KEY": deployment.proxy.key}
    return boto3_client(deployments.proxy(deployment.backend, name, environment=environment).target)


@pytest.fixture
def two_uploads(s3, backend_s3, bucket, key):
    """Two uploads with one staged part each, and the folders of their state."""
    uploads, folders = [], []
    for name in ("one", "two"):
        before = set(states(backend_s3, bucket))
        upload = Upload(s3, bucket, f"{key}-{name}")
        upload.part(1, piece(3000, name))
        new = set(states(backend_s3, bucket)) - before
        folders.append(next(iter(new)).rpartition("/")[0])
        uploads.append(upload)
    yield list(zip(uploads, folders))
    for upload in uploads:
        try:
            upload.through(s3).abort()
        except ClientError:
            pass


def refusal_of(action) -> str:
    with pytest.raises(ClientError) as refusal:
        action()
    return refusal.value.response["Error"]["Code"]


def exchanged(backend_s3, bucket, source: str, target: str) -> str:
    """Replaces one object by another, and returns the new ETag."""
    body = body_of(backend_s3, bucket, source)
    return backend_s3.put_object(Bucket=bucket, Key=target, Body=body)["ETag"].strip('"')


def test_the_state_of_another_upload_is_no_state(fresh_s3, backend_s3, bucket, two_uploads):
    (one, folder), (_, other) = two_uploads
    exchanged(backend_s3, bucket, f"{other}/state", f"{folder}/state")
    one.through(fresh_s3)
    assert refusal_of(lambda: one.part(2, piece(10, "x"))) == "NoSuchUpload"
    assert refusal_of(one.complete) == "NoSuchUpload"


# The bytes after these positions are the upload's name, which the folder's name authenticates (ADR
# 0013).
@pytest.mark.parametrize("position", [10, 150])
def test_an_altered_state_is_no_state(fresh_s3, backend_s3, bucket, two_uploads, position):
    (one, folder), _ = two_uploads
    body = bytearray(body_of(backend_s3, bucket, f"{folder}/state"))
    body[position] ^= 1
    backend_s3.put_object(Bucket=bucket, Key=f"{folder}/state", Body=bytes(body))
    assert refusal_of(one.through(fresh_s3).complete) == "NoSuchUpload"


def test_a_staged_part_of_another_upload_makes_no_object(s3, backend_s3, bucket, two_uploads):
    (one, folder), (_, other) = two_uploads
    etag = exchanged(backend_s3, bucket, f"{other}/part-1", f"{folder}/part-1")
    assert refusal_of(one.complete) == "InvalidPart"
    listed = [{"PartNumber": 1, "ETag": f'"{etag}-0"'}]
    assert refusal_of(lambda: one.complete(listed)) == "InternalError"
    assert refusal_of(lambda: s3.head_object(Bucket=bucket, Key=one.key)) == "404"


def test_a_foreign_staged_part_after_a_long_one_is_never_read(
    deployment, backend_s3, bucket, two_uploads
):
    (one, folder), (_, other) = two_uploads
    one.part(2, one.plaintexts[1])
    one.part(1, piece(FIVE_MIB, "long"))
    etag = exchanged(backend_s3, bucket, f"{other}/part-1", f"{folder}/part-2")
    # The ETag as listings show it lacks the part's mark; the part is still opened and verified on
    # its way.
    listed = [one.parts[1], {"PartNumber": 2, "ETag": f'"{etag}-0"'}]
    assert refusal_of(lambda: one.complete(listed)) == "InternalError"
    assert raw.ask(deployment.target, "GET", bucket, one.key).status == 404


def test_an_earlier_attempt_is_refused_if_the_client_kept_the_etag(
    s3, backend_s3, bucket, two_uploads
):
    (one, folder), _ = two_uploads
    earlier = body_of(backend_s3, bucket, f"{folder}/part-1")
    one.part(1, piece(3000, "later"))
    backend_s3.put_object(Bucket=bucket, Key=f"{folder}/part-1", Body=earlier)
    assert refusal_of(one.complete) == "InvalidPart"
