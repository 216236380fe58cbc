"""`s3proxy rewrap` changes the key of objects, preserves everything else, and reports the keys
still needed.

SeaweedFS evaluates conditions on copies; Ceph's gateway does not, so the command needs --offline
there.
"""

import pytest

from clients import boto3_client
from commands import command
from content import LARGE, SMALL, content
from deployment import make_bucket
from proxy import new_key
from sealed import key_name, raw_key
from uploads import FIVE_MIB, STATE_PREFIX, Upload, body_of, piece, states

OLD, NEW = new_key(), new_key()
OLD_NAME, NEW_NAME = key_name(raw_key(OLD)), key_name(raw_key(NEW))


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def server(request, deployments):
    return deployments.server(request.param)


@pytest.fixture(scope="module")
def old(deployments, server):
    """A proxy that seals with the old key."""
    return deployments.proxy(
        server, f"rewrap-old-{server.name}", environment={"S3PROXY_ENCRYPT_KEY": OLD}
    )


@pytest.fixture(scope="module")
def both(deployments, server):
    """A proxy that seals with the new key and opens with both."""
    environment = {"S3PROXY_ENCRYPT_KEY": NEW, "S3PROXY_KEYS_DECRYPT_KEYS": OLD}
    return deployments.proxy(server, f"rewrap-both-{server.name}", environment=environment)


@pytest.fixture(scope="module")
def new(deployments, server):
    """A proxy that knows only the new key."""
    return deployments.proxy(
        server, f"rewrap-new-{server.name}", environment={"S3PROXY_ENCRYPT_KEY": NEW}
    )


@pytest.fixture
def bucket(old):
    return make_bucket(old)


@pytest.fixture
def rewrap(server, both):
    """Runs the command, by default in the mode that the server allows."""

    def run(*arguments, offline=server.name != "seaweedfs"):
        return command(both.proxy, "rewrap", *(["--offline"] if offline else []), *arguments)

    return run


def test_everything_but_the_key_stays(old, new, rewrap, bucket):
    s3, after = boto3_client(old.target), boto3_client(new.target)
    for size in (0, SMALL, LARGE):
        s3.put_object(
            **{"Bucket": bucket, "Key": f"single {size}", "Body": content(size)},
            **{"ContentType": "text/x-test", "CacheControl": "no-store", "ContentLanguage": "de"},
            **{"Metadata": {"colour": "blue"}, "Tagging": "a=1&b=two", "ChecksumAlgorithm": "SHA256"},
        )
    upload = Upload(s3, bucket, "multipart", ContentType="text/x-parts", Metadata={"m": "1"})
    upload.part(1, piece(FIVE_MIB, "one"))
    upload.part(2, piece(SMALL, "two"))
    upload.complete()
    keys = [*(f"single {size}" for size in (0, SMALL, LARGE)), "multipart"]
    before = {key: described(s3, bucket, key) for key in keys}

    shown = rewrap("--dry-run", bucket)
    assert shown.summary["would"]["rewrapped"]["objects"] == 4
    assert {key: described(s3, bucket, key) for key in keys} == before
    ran = rewrap(bucket)
    assert (ran.status, ran.summary["done"]["rewrapped"]["objects"]) == (0, 4), ran
    assert ran.summary["still_needed"] == []
    lines = ran.by_key()
    assert {lines[key]["encryption_key"] for key in keys} == {OLD_NAME}
    assert {lines[key]["new_encryption_key"] for key in keys} == {NEW_NAME}
    assert [lines[key]["not_kept"] for key in keys] == [[]] * 4
    assert {key: described(after, bucket, key) for key in keys} == before

    again = rewrap(bucket)
    assert (again.status, again.summary["done"]) == (0, {})
    assert again.summary["skipped"]["right-already"]["objects"] == 4
    assert states(boto3_client(old.backend.target), bucket) == []


def described(s3, bucket, key):
    """Body, metadata and tags. Not the ETag: the backend computes that of a multipart upload."""
    answer = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    names = ["ContentType", "CacheControl", "ContentLanguage", "Metadata", "ChecksumSHA256"]
    tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    tags = sorted((tag["Key"], tag["Value"]) for tag in tags)
    return answer["Body"].read(), tags, {name: answer.get(name) for name in names}


def test_plaintext_is_skipped(old, rewrap, bucket):
    boto3_client(old.backend.target).put_object(Bucket=bucket, Key="plain", Body=b"plain")
    ran = rewrap(bucket)
    assert (ran.status, ran.summary["skipped"]["plaintext"]["objects"]) == (0, 1)


def test_old_versions_stay_and_are_counted_or_are_deleted(old, new, rewrap, bucket):
    backend = boto3_client(old.backend.target)
    enabled = {"Status": "Enabled"}
    backend.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    s3, after = boto3_client(old.target), boto3_client(new.target)
    for key in ("stays", "goes"):
        s3.put_object(Bucket=bucket, Key=key, Body=content(SMALL, key))
    ran = rewrap("--key", f"{bucket}/stays", offline=True)
    need = {"encryption_key": OLD_NAME, "current_objects": 0, "old_versions": 1, "open_uploads": 0}
    assert ran.summary["still_needed"] == [need]
    ran = rewrap("--delete-old-versions", "--key", f"{bucket}/goes", offline=True)
    assert (ran.status, ran.summary["still_needed"]) == (0, [])
    for key in ("stays", "goes"):
        assert body_of(after, bucket, key) == content(SMALL, key)
    listed = backend.list_object_versions(Bucket=bucket)["Versions"]
    listed = [entry for entry in listed if not entry["Key"].startswith(STATE_PREFIX)]
    assert sorted(entry["Key"] for entry in listed) == ["goes", "stays", "stays"]
    counted = rewrap("--versions", "--check", bucket, offline=True)
    assert (counted.status, counted.summary["still_needed"]) == (4, [need])


def test_a_key_that_an_upload_needs_is_named(old, both, new, rewrap, bucket):
    upload = Upload(boto3_client(old.target), bucket, "slow")
    upload.part(1, piece(SMALL, "one"))
    ran = rewrap("--check", bucket)
    need = {"encryption_key": OLD_NAME, "current_objects": 0, "old_versions": 0, "open_uploads": 1}
    assert (ran.status, ran.summary["still_needed"]) == (4, [need])
    upload.through(boto3_client(both.target)).complete()
    ran = rewrap("--check", bucket)
    assert (ran.status, ran.summary["still_needed"]) == (0, [])
    assert ran.summary["done"]["rewrapped"]["objects"] == 1
    assert body_of(boto3_client(new.target), bucket, "slow") == piece(SMALL, "one")


def test_a_backend_that_ignores_conditions_is_refused(server, both, bucket):
    done = both.proxy.finish("rewrap", bucket)
    if server.name == "seaweedfs":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "--offline" in done.stderr
    assert states(boto3_client(both.backend.target), bucket) == []


def test_sealed_metadata_and_checksums_move_with_the_binding(deployments, server, old, bucket):
    # During the rewrap, objects that are bound to the key alone still open.
    sealing = """
policy = { metadata = "sealed", key_binding = "bucket-and-key" }
[[rules]]
opens_key_binding = "key"
"""
    environment = {"S3PROXY_ENCRYPT_KEY": NEW, "S3PROXY_KEYS_DECRYPT_KEYS": OLD}
    name = f"rewrap-bound-{server.name}"
    bound = deployments.proxy(server, name, settings=sealing, environment=environment)
    sealed = deployments.proxy(
        server,
        f"rewrap-sealed-{server.name}",
        settings='policy = { metadata = "sealed" }\n',
        environment={"S3PROXY_ENCRYPT_KEY": OLD},
    )
    boto3_client(sealed.target).put_object(
        Bucket=bucket, Key="k", Body=content(SMALL), Metadata={"a": "1"}, ChecksumAlgorithm="SHA1"
    )
    extra = [] if server.name == "seaweedfs" else ["--offline"]
    ran = command(bound.proxy, "rewrap", *extra, bucket)
    assert ran.summary["done"]["rewrapped"]["objects"] == 1
    seen = command(bound.proxy, "inspect", bucket).by_key()["k"]
    assert (seen["bound_to"], seen["private_map"]) == (["bucket", "key"], True)
    read = boto3_client(bound.target).get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert read["Metadata"] == {"a": "1"} and "ChecksumSHA1" in read
    assert list(old.stored(bucket, "k").metadata) == ["isec"]
