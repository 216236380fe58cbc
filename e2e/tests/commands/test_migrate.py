"""`s3proxy migrate` seals plaintext and objects of older proxies, and preserves everything else.

SeaweedFS evaluates conditions on writes; Ceph's gateway does so in buckets without versions only, so
the command needs --offline there.
"""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from clients import boto3_client
from commands import command
from content import LARGE, SMALL, content
from deployment import make_bucket
from legacy import CONSTELLATION, INTRINSEC, ZERO_KEK, Older
from proxy import new_key
from uploads import STATE_PREFIX, body_of, states

PASSPHRASE = "the passphrase of the older proxy"
ENVIRONMENT = {
    "S3PROXY_ENCRYPT_KEY": new_key(),
    "S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE,
    "S3PROXY_DECRYPTION_FALLBACK": "1",
}
OLDER = {
    "intrinsec": Older.of_text(PASSPHRASE, "0"),
    "version-1": Older.of_text(PASSPHRASE, "1"),
    "constellation": Older.of_text(PASSPHRASE, "0", CONSTELLATION),
    "zero": Older(INTRINSEC, ZERO_KEK),
}
HEADERS = {
    "ContentType": "text/x-test",
    "CacheControl": "no-store",
    "ContentLanguage": "de",
    "Metadata": {"colour": "blue"},
    "Tagging": "a=1&b=two",
}


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def server(request, deployments):
    return deployments.server(request.param)


@pytest.fixture(scope="module")
def proxy(deployments, server):
    return deployments.proxy(server, f"migrate-{server.name}", environment=ENVIRONMENT)


@pytest.fixture
def bucket(proxy):
    return make_bucket(proxy)


@pytest.fixture
def migrate(server, proxy):
    """Runs the command, by default in the mode that the server allows."""

    def run(*arguments, offline=server.name != "seaweedfs"):
        return command(proxy.proxy, "migrate", *(["--offline"] if offline else []), *arguments)

    return run


def fill(proxy, bucket, sizes=(0, SMALL, LARGE)):
    """Objects of every kind, and their contents."""
    backend, contents = boto3_client(proxy.backend.target), {}
    for size in sizes:
        for kind, older in OLDER.items():
            key = f"{kind} {size}"
            contents[key] = content(size, key)
            older.put(backend, bucket, key, contents[key], **HEADERS)
        key = f"plain {size}"
        contents[key] = content(size, key)
        backend.put_object(Bucket=bucket, Key=key, Body=contents[key], **HEADERS)
    return contents


def described(s3, bucket, key):
    answer = s3.get_object(Bucket=bucket, Key=key)
    names = ["ContentType", "CacheControl", "ContentLanguage", "Metadata"]
    tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    tags = sorted((tag["Key"], tag["Value"]) for tag in tags)
    return answer["Body"].read(), tags, {name: answer.get(name) for name in names}


def test_every_kind_becomes_v1_and_keeps_its_attributes(proxy, migrate, bucket):
    s3 = boto3_client(proxy.target)
    contents = fill(proxy, bucket)
    s3.put_object(Bucket=bucket, Key="sealed", Body=b"sealed")
    before = {key: described(s3, bucket, key) for key in contents}
    assert {key: body for key, (body, _, _) in before.items()} == contents

    shown = migrate("--dry-run", bucket)
    assert shown.summary["would"]["migrated"]["objects"] == len(contents)
    assert shown.summary["all_zero_key_left"] == 3
    ran = migrate(bucket)
    assert (ran.status, ran.summary["done"]["migrated"]["objects"]) == (0, len(contents)), ran
    assert ran.summary["skipped"]["v1-already"]["objects"] == 1
    assert (ran.summary["all_zero_key_migrated"], ran.summary["all_zero_key_left"]) == (3, 0)
    lines = ran.by_key()
    assert lines["zero 0"]["all_zero_key"] and lines["zero 0"]["format"] == "intrinsec"
    assert lines["constellation 100"]["format"] == "constellation"
    assert {key: lines[key]["not_kept"] for key in contents} == {key: [] for key in contents}
    assert {key: described(s3, bucket, key) for key in contents} == before
    backend = boto3_client(proxy.backend.target)
    for key in contents:
        stored = backend.head_object(Bucket=bucket, Key=key)["Metadata"]
        assert set(stored) == {"isec", "colour"}, key

    seen = command(proxy.proxy, "inspect", bucket)
    assert {line["format"] for line in seen.objects} == {"v1-single"}
    assert seen.summary["all_zero_key_objects"] == 0
    again = migrate(bucket)
    assert (again.status, again.summary["done"]) == (0, {})
    assert states(boto3_client(proxy.backend.target), bucket) == []


def test_only_the_requested_kinds_are_migrated(proxy, migrate, bucket):
    fill(proxy, bucket, sizes=(SMALL,))
    for only, keys in [
        ("zero-key", {"zero 100"}),
        ("older", {"intrinsec 100", "version-1 100", "constellation 100"}),
        ("plaintext", {"plain 100"}),
    ]:
        ran = migrate("--only", only, bucket)
        done = {line["key"] for line in ran.objects if line["status"] == "done"}
        assert (ran.status, done) == (0, keys), only


def test_old_versions_stay_and_are_reported_or_are_deleted(proxy, migrate, bucket):
    backend, s3 = boto3_client(proxy.backend.target), boto3_client(proxy.target)
    enabled = {"Status": "Enabled"}
    backend.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    for key in ("stays", "goes"):
        OLDER["zero"].put(backend, bucket, key, content(SMALL, key))
    ran = migrate("--key", f"{bucket}/stays", offline=True)
    assert ran.summary["old_versions_left"] == {"intrinsec": 1}
    assert ran.summary["old_versions_under_all_zero_key"] == 1
    ran = migrate("--delete-old-versions", "--key", f"{bucket}/goes", offline=True)
    assert (ran.status, ran.summary["old_versions_left"]) == (0, {})
    for key in ("stays", "goes"):
        assert body_of(s3, bucket, key) == content(SMALL, key)
    listed = backend.list_object_versions(Bucket=bucket)["Versions"]
    listed = [entry["Key"] for entry in listed if not entry["Key"].startswith(STATE_PREFIX)]
    assert sorted(listed) == ["goes", "stays", "stays"]
    counted = migrate("--versions", bucket, offline=True)
    assert counted.summary["old_versions_under_all_zero_key"] == 1


def test_objects_that_clients_may_not_read_are_migrated(server, deployments, bucket, proxy):
    denied = {"S3PROXY_POLICY_LEGACY_READS": "deny", "S3PROXY_POLICY_PLAINTEXT_READS": "deny"}
    strict = deployments.proxy(
        server, f"migrate-strict-{server.name}", environment=ENVIRONMENT | denied
    )
    contents = fill(proxy, bucket, sizes=(SMALL,))
    ran = command(strict.proxy, "migrate", "--offline", bucket)
    assert (ran.status, ran.summary["done"]["migrated"]["objects"]) == (0, len(contents))
    s3 = boto3_client(strict.target)
    assert {key: body_of(s3, bucket, key) for key in contents} == contents


def test_the_all_zero_key_is_named_where_it_may_not_be_used(server, deployments, bucket, proxy):
    environment = ENVIRONMENT | {"S3PROXY_DECRYPTION_FALLBACK": None}
    careful = deployments.proxy(
        server, f"migrate-careful-{server.name}", environment=environment
    )
    fill(proxy, bucket, sizes=(SMALL,))
    ran = command(careful.proxy, "migrate", "--offline", bucket)
    failed = [line for line in ran.objects if line["status"] == "failed"]
    assert (ran.status, [line["key"] for line in failed]) == (3, ["zero 100"])
    assert "decryption_fallback" in failed[0]["reason"]
    assert ran.summary["all_zero_key_left"] == 1


def test_a_backend_that_honours_conditions_needs_no_pause(proxy, bucket):
    done = proxy.proxy.finish("migrate", bucket)
    assert done.returncode == 0, done.stderr
    assert states(boto3_client(proxy.backend.target), bucket) == []


def test_a_backend_that_does_not_honour_conditions_is_refused(server, proxy, bucket):
    backend = boto3_client(proxy.backend.target)
    enabled = {"Status": "Enabled"}
    backend.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    done = proxy.proxy.finish("migrate", bucket)
    # In buckets with versions, radosgw 16 refuses every If-Match. SeaweedFS 4.48 honours it, but
    # checks and writes in two steps: one of eight writes at the same time was overwritten.
    assert (done.returncode, "--offline" in done.stderr) == (1, True)
    if server.name == "seaweedfs":
        assert "SeaweedFS checks a condition and writes in two steps" in done.stderr
    assert states(backend, bucket) == []


def test_people_get_a_readable_summary(proxy, bucket):
    fill(proxy, bucket, sizes=(SMALL,))
    shown = proxy.proxy.finish("migrate", "--dry-run", bucket).stdout
    assert f"would be migrated {bucket}/zero 100: intrinsec under the ALL-ZERO KEY" in shown
    assert "1 object STILL under the ALL-ZERO KEY" in shown
    done = proxy.proxy.finish("migrate", "--offline", bucket).stdout
    assert "migrate: 5 objects in " in done
    assert "1 object had been under the ALL-ZERO KEY and got new data keys." in done


def test_grants_are_preserved(proxy, migrate, bucket):
    backend = boto3_client(proxy.backend.target)
    backend.put_object(Bucket=bucket, Key="shared", Body=b"shared", ACL="public-read")
    before = backend.get_object_acl(Bucket=bucket, Key="shared")["Grants"]
    ran = migrate(bucket)
    assert (ran.status, ran.by_key()["shared"]["not_kept"]) == (0, [])
    assert backend.get_object_acl(Bucket=bucket, Key="shared")["Grants"] == before


def test_retention_and_legal_hold_are_preserved(proxy, migrate):
    backend = boto3_client(proxy.backend.target)
    bucket = f"locked-{secrets.token_hex(4)}"
    backend.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    backend.put_object(
        Bucket=bucket, Key="kept", Body=b"kept", ObjectLockLegalHoldStatus="ON", **lock
    )
    ran = migrate(bucket, offline=True)
    line = ran.by_key()["kept"]
    assert (ran.status, line["status"], line["not_kept"]) == (0, "done", [])
    head = backend.head_object(Bucket=bucket, Key="kept")
    assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
    assert head["ObjectLockRetainUntilDate"] == until
    assert body_of(boto3_client(proxy.target), bucket, "kept") == b"kept"


def test_more_objects_at_once_than_memory_holds_all_get_through(server, deployments, migrate):
    environment = ENVIRONMENT | {"S3PROXY_LIMITS_BODY_MEMORY": "4MiB"}
    narrow = deployments.proxy(
        server, f"migrate-narrow-{server.name}", environment=environment
    )
    bucket = make_bucket(narrow)
    contents = fill(narrow, bucket, sizes=(1024 * 1024, LARGE, 3 * LARGE))
    ran = command(narrow.proxy, "migrate", "--offline", "--concurrency", "64", bucket)
    assert (ran.status, ran.summary["done"]["migrated"]["objects"]) == (0, len(contents)), ran
    s3 = boto3_client(narrow.target)
    assert all(body_of(s3, bucket, key) == body for key, body in contents.items())
