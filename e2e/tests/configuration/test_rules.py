"""Rules by bucket and prefix: the key that seals, the binding, and objects left unsealed."""

import base64
import secrets
import subprocess

import pytest
from botocore.exceptions import ClientError

from clients import boto3_client
from proxy import VIRTUAL_HOSTS, new_key
from sealed import Stored, key_name, open_under, parse_envelope, raw_key
from uploads import FIVE_MIB, Upload, body_of, piece

ACTIVE, PHOTOS = new_key(), new_key()

SETTINGS = f"""{VIRTUAL_HOSTS}
[[keys.local]]
label = "photos"
key = "{PHOTOS}"

[[rules]]
prefixes = ["photos/"]
key = "photos"
key_binding = "bucket-and-key"

[[rules]]
prefixes = ["public/"]
encryption = "off"

[[rules]]
prefixes = ["secret/"]
encryption = "required"
"""


@pytest.fixture(scope="module")
def ruled(deployments):
    server = deployments.server("seaweedfs")
    environment = {"S3PROXY_ENCRYPT_KEY": ACTIVE}
    return deployments.proxy(server, "proxy-rules", settings=SETTINGS, environment=environment)


@pytest.fixture
def s3(ruled):
    return boto3_client(ruled.target)


def stored(backend_s3, bucket: str, key: str) -> Stored:
    answer = backend_s3.get_object(Bucket=bucket, Key=key)
    return Stored(answer["Body"].read(), answer["Metadata"])


@pytest.mark.parametrize(("prefix", "kek"), [("", ACTIVE), ("photos/", PHOTOS)])
def test_a_rule_chooses_the_key(s3, backend_s3, bucket, key, prefix, kek):
    key = prefix + key
    body = secrets.token_bytes(100_000)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    kek = raw_key(kek)
    at_backend = stored(backend_s3, bucket, key)
    assert open_under(at_backend, kek, key_name(kek), bucket, key, len(body)) == body
    assert body_of(s3, bucket, key) == body


def test_a_rule_chooses_the_binding(s3, backend_s3, bucket, key):
    bucket_bound = 4
    for prefix, expected in [("", 0), ("photos/", bucket_bound)]:
        s3.put_object(Bucket=bucket, Key=prefix + key, Body=b"content")
        envelope = parse_envelope(stored(backend_s3, bucket, prefix + key).metadata["isec"])
        assert envelope[5] & bucket_bound == expected


def test_a_copy_and_an_upload_in_parts_follow_the_rule_of_their_target(s3, backend_s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"content", Metadata={"colour": "blue"})
    s3.copy_object(Bucket=bucket, Key=f"photos/{key}", CopySource=f"{bucket}/{key}")
    upload = Upload(s3, bucket, f"photos/{key}-parts")
    upload.part(1, piece(70_000, "1"))
    upload.complete()
    for object_key in (f"photos/{key}", f"photos/{key}-parts"):
        envelope = parse_envelope(stored(backend_s3, bucket, object_key).metadata["isec"])
        assert envelope[2] == key_name(raw_key(PHOTOS))
    assert body_of(s3, bucket, f"photos/{key}") == b"content"
    assert body_of(s3, bucket, f"photos/{key}-parts") == upload.plaintext


@pytest.mark.parametrize("size", [0, 1000, 3 * FIVE_MIB])
def test_a_rule_leaves_objects_plain(s3, backend_s3, bucket, key, size):
    body = secrets.token_bytes(size)
    answer = s3.put_object(
        Bucket=bucket, Key=f"public/{key}", Body=body, Metadata={"colour": "blue"}
    )
    at_backend = stored(backend_s3, bucket, f"public/{key}")
    assert at_backend.body == body
    assert at_backend.metadata == {"colour": "blue"}
    read = s3.get_object(Bucket=bucket, Key=f"public/{key}")
    assert read["Body"].read() == body
    assert read["ETag"] == answer["ETag"]


def test_uploads_in_parts_are_left_plain_too(s3, backend_s3, bucket, key):
    upload = Upload(s3, bucket, f"public/{key}")
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.part(2, piece(70_000, "2"))
    upload.complete()
    assert body_of(backend_s3, bucket, f"public/{key}") == upload.plaintext


def test_a_body_that_does_not_match_its_headers_is_not_stored_plain_either(s3, backend_s3, bucket, key):
    wrong = base64.b64encode(b"none").decode()
    for size in (1000, 3 * FIVE_MIB):
        with pytest.raises(ClientError) as refusal:
            s3.put_object(
                Bucket=bucket, Key=f"public/{key}", Body=bytes(size), ChecksumCRC32=wrong
            )
        assert refusal.value.response["Error"]["Code"] in {"BadDigest", "InvalidRequest"}
    assert backend_s3.list_objects_v2(Bucket=bucket, Prefix=f"public/{key}")["KeyCount"] == 0


@pytest.mark.parametrize("size", [1000, 3 * FIVE_MIB])
def test_a_copy_into_the_open_is_opened_and_one_out_of_it_sealed(s3, backend_s3, bucket, key, size):
    body = secrets.token_bytes(size)
    s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"colour": "blue"})
    s3.copy_object(Bucket=bucket, Key=f"public/{key}", CopySource=f"{bucket}/{key}")
    opened = stored(backend_s3, bucket, f"public/{key}")
    assert opened.body == body
    assert opened.metadata == {"colour": "blue"}
    s3.copy_object(Bucket=bucket, Key=f"{key}-back", CopySource=f"{bucket}/public/{key}")
    sealed = stored(backend_s3, bucket, f"{key}-back")
    assert set(sealed.metadata) == {"colour", "isec"}
    assert body not in sealed.body
    assert body_of(s3, bucket, f"{key}-back") == body


def test_a_rule_that_demands_encryption_serves_nothing_else(s3, backend_s3, bucket, key):
    for prefix in ("secret/", "other/"):
        backend_s3.put_object(Bucket=bucket, Key=prefix + key, Body=b"slipped in")
    assert body_of(s3, bucket, f"other/{key}") == b"slipped in"
    for ask in (s3.get_object, s3.head_object):
        with pytest.raises(ClientError) as refusal:
            ask(Bucket=bucket, Key=f"secret/{key}")
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(ClientError) as refusal:
        s3.copy_object(Bucket=bucket, Key=f"{key}-copy", CopySource=f"{bucket}/secret/{key}")
    assert refusal.value.response["Error"]["Code"] == "AccessDenied"
    s3.put_object(Bucket=bucket, Key=f"secret/{key}", Body=b"sealed")
    assert body_of(s3, bucket, f"secret/{key}") == b"sealed"


def test_a_rule_for_a_missing_key_is_refused_at_start(deployments, tmp_path):
    server = deployments.server("seaweedfs")
    settings = f'{VIRTUAL_HOSTS}\n[[rules]]\nkey = "absent"\n'
    with pytest.raises((AssertionError, RuntimeError, subprocess.SubprocessError)) as failure:
        # The proxy never serves, so the error is on its output and in no log.
        deployments.proxy(server, "refused-rules", settings=settings)
    assert "rules[0].key" in str(failure.value)
