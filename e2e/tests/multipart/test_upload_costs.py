"""Backend requests and leftovers of multipart uploads, counted by a relay before SeaweedFS.

Also properties of the stored bytes: no salt is used twice, parts are as long as the backend
demands, and a failed completion leaves nothing that could be taken for a part.
"""

import pytest
from botocore.exceptions import ClientError

from clients import boto3_client
from deployment import make_bucket
from recorder import Relay
from uploads import FIVE_MIB, Upload, body_of, piece, states


@pytest.fixture(scope="module")
def relay(deployments):
    relay = Relay(deployments.server("seaweedfs").target)
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def relayed(deployments, relay):
    return deployments.proxy(relay, "proxy-uploads-before-relay")


@pytest.fixture(scope="module")
def second(deployments, relay, relayed):
    environment = {"S3PROXY_ENCRYPT_KEY": relayed.proxy.key}
    return deployments.proxy(relay, "proxy-uploads-second", environment=environment)


@pytest.fixture(scope="module")
def equal(deployments, relay):
    """A proxy for a backend that demands equal part sizes."""
    environment = {"S3PROXY_POLICY_PART_SIZES": "equal"}
    return deployments.proxy(relay, "proxy-uploads-equal", environment=environment)


@pytest.fixture(scope="module")
def bucket(relayed):
    return make_bucket(relayed)


@pytest.fixture
def s3(relayed):
    return boto3_client(relayed.target)


@pytest.fixture
def backend_s3(deployments):
    return boto3_client(deployments.server("seaweedfs").target)


def asked(relay, bucket) -> list[str]:
    """Method and path of the backend requests about a bucket."""
    return [f"{one.method} {one.line.partition('?')[0]}" for one in relay.naming(bucket)]


@pytest.mark.parametrize("size", [100, 2 * 1024 * 1024, FIVE_MIB + 1], ids=str)
def test_a_part_is_one_request_at_a_replica_that_knows_the_upload(relay, s3, bucket, key, size):
    upload = Upload(s3, bucket, key)
    for number in (1, 2):
        relay.forget()
        upload.part(number, piece(size, "a"))
        assert len(relay.naming(bucket)) == 1
    upload.abort()


def test_the_first_part_at_another_replica_costs_one_more(relay, s3, second, bucket, key):
    upload = Upload(s3, bucket, key).through(boto3_client(second.target))
    for number, cost in {1: 2, 2: 1}.items():
        relay.forget()
        upload.part(number, piece(FIVE_MIB, "a"))
        assert len(relay.naming(bucket)) == cost
    upload.abort()


def test_a_long_part_deletes_the_staged_one_that_its_replica_knows_of(
    relay, s3, backend_s3, bucket, key
):
    upload = Upload(s3, bucket, key)
    upload.part(1, piece(100, "a"))
    assert len(states(backend_s3, bucket)) == 2
    upload.part(1, piece(FIVE_MIB, "b"))
    assert len(states(backend_s3, bucket)) == 1
    upload.complete()
    assert body_of(s3, bucket, key) == upload.plaintext


def test_no_two_attempts_at_a_part_share_a_salt(relay, s3, bucket, key):
    upload = Upload(s3, bucket, key)
    relay.forget()
    for _ in range(3):
        for number, size in {1: FIVE_MIB, 2: 1000}.items():
            upload.part(number, piece(size, "the same"))
    upload.complete()
    stored = [one.body for one in relay.naming(bucket) if one.method == "PUT"]
    heads = [body[:24] for body in stored if len(body) > 100]
    assert len(heads) >= 6
    # The tail repeats the bytes of the last staged part, and so its salt.
    assert len(set(heads)) >= 6


def test_parts_are_equal_where_the_backend_demands_it(relay, equal, bucket, key):
    s3 = boto3_client(equal.target)
    upload = Upload(s3, bucket, key)
    order = {3: FIVE_MIB, 1: FIVE_MIB, 2: FIVE_MIB, 5: FIVE_MIB + 70_000, 4: FIVE_MIB}
    for number, size in order.items():
        upload.part(number, piece(size, str(number)))
    upload.complete()
    assert body_of(s3, bucket, key) == upload.plaintext
    sizes = _sizes_of_parts(relay, bucket, key)
    assert len(sizes) == 6
    *others, last = sizes
    assert len(set(others)) == 1 and last <= others[0]


def test_short_last_part_and_tail_fit_after_equal_parts(relay, equal, bucket, key):
    s3 = boto3_client(equal.target)
    upload = Upload(s3, bucket, key)
    for number, size in {1: FIVE_MIB, 2: FIVE_MIB, 3: 77}.items():
        upload.part(number, piece(size, str(number)))
    upload.complete()
    assert body_of(s3, bucket, key) == upload.plaintext


def test_a_completion_that_fails_half_way_leaves_nothing_to_be_taken_for_a_part(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"before")
    upload = Upload(s3, bucket, key)
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.part(2, piece(100, "2"))
    with pytest.raises(ClientError) as refusal:
        upload.complete(IfNoneMatch="*")
    assert refusal.value.response["Error"]["Code"] == "PreconditionFailed"
    assert body_of(s3, bucket, key) == b"before"
    listed = s3.list_parts(**upload.named)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, FIVE_MIB), (2, 100)]
    upload.complete([{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed])
    assert body_of(s3, bucket, key) == upload.plaintext


def test_conditions_of_a_completion_are_judged(s3, bucket, key):
    upload = Upload(s3, bucket, key)
    upload.part(1, piece(100, "1"))
    etag = upload.complete(IfNoneMatch="*")["ETag"]
    again = Upload(s3, bucket, key)
    again.part(1, piece(FIVE_MIB, "2"))
    with pytest.raises(ClientError) as refusal:
        again.complete(IfMatch='"0123456789abcdef0123456789abcdef-0"')
    assert refusal.value.response["Error"]["Code"] == "PreconditionFailed"
    again.complete(IfMatch=etag)
    assert body_of(s3, bucket, key) == again.plaintext


def test_a_versioned_bucket_keeps_no_version_of_the_state(s3, backend_s3, bucket, key, relayed):
    versioned = make_bucket(relayed)
    backend_s3.put_bucket_versioning(
        Bucket=versioned, VersioningConfiguration={"Status": "Enabled"}
    )
    upload = Upload(s3, versioned, key)
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.part(2, piece(100, "2"))
    answer = upload.complete()
    assert answer["VersionId"]
    aborted = Upload(s3, versioned, key)
    aborted.part(1, piece(100, "1"))
    aborted.abort()
    listed = backend_s3.list_object_versions(Bucket=versioned, Prefix=".s3proxy/")
    assert not listed.get("Versions") and not listed.get("DeleteMarkers")
    assert body_of(s3, versioned, key) == upload.plaintext


def test_the_state_may_be_in_a_separate_bucket(deployments, relay, relayed, backend_s3, key):
    own, data = make_bucket(relayed), make_bucket(relayed)
    environment = {"S3PROXY_POLICY_STATE_BUCKET": own}
    proxy = deployments.proxy(relay, "proxy-uploads-state-bucket", environment=environment)
    s3 = boto3_client(proxy.target)
    upload = Upload(s3, data, key)
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.part(2, piece(100, "2"))
    assert (len(states(backend_s3, own)), states(backend_s3, data)) == (2, [])
    upload.complete()
    assert states(backend_s3, own) == []
    assert body_of(s3, data, key) == upload.plaintext


def test_user_metadata_of_an_upload_can_be_sealed(deployments, relay, backend_s3, bucket, key):
    proxy = deployments.proxy(
        relay, "proxy-uploads-sealed-metadata", environment={"S3PROXY_POLICY_METADATA": "sealed"}
    )
    s3 = boto3_client(proxy.target)
    upload = Upload(s3, bucket, key, Metadata={"colour": "a-secret-blue"})
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.complete()
    assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {"colour": "a-secret-blue"}
    seen = backend_s3.head_object(Bucket=bucket, Key=key)["Metadata"]
    assert list(seen) == ["isec"] and "a-secret-blue" not in str(seen)


def _sizes_of_parts(relay, bucket, key) -> list[int]:
    """Stored sizes of the parts with which the backend's upload was completed, in order."""
    sizes = {}
    lengths = {}
    for one in relay.naming(bucket):
        path, _, query = one.line.partition("?")
        parameters = dict(pair.partition("=")[::2] for pair in query.split("&"))
        if one.method != "PUT":
            continue
        source = one.headers["x-amz-copy-source"]
        number = parameters.get("partNumber")
        if number is None:
            lengths[path] = len(one.body)
        elif source:
            sizes[int(number)] = lengths[source]
        elif f"/{key}" in path:
            sizes[int(number)] = len(one.body)
    return [sizes[number] for number in sorted(sizes)]
