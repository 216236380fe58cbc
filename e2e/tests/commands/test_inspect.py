"""`s3proxy inspect` describes stored objects and needs no key."""

import json

import pytest

from clients import boto3_client
from commands import command
from content import LARGE, SMALL, content
from deployment import make_bucket
from sealed import key_name, raw_key, stored_length
from uploads import FIVE_MIB, Upload, piece


@pytest.fixture(scope="module")
def kinds(deployment, bucket):
    """One object of each kind, beside the state of an upload."""
    s3, backend = boto3_client(deployment.target), boto3_client(deployment.backend.target)
    s3.put_object(Bucket=bucket, Key="kinds/single", Body=content(LARGE))
    upload = Upload(s3, bucket, "kinds/multipart")
    upload.part(1, piece(FIVE_MIB, "one"))
    upload.part(2, piece(SMALL, "two"))
    upload.complete()
    Upload(s3, bucket, "kinds/open").part(1, piece(SMALL, "short"))
    backend.put_object(Bucket=bucket, Key="kinds/plain", Body=b"plain")
    backend.put_object(
        Bucket=bucket, Key="kinds/damaged", Body=b"x" * 100, Metadata={"isec": "s3p1.AAAA"}
    )
    return bucket


def test_every_kind_is_described(deployment, kinds):
    ran = command(deployment.proxy, "inspect", f"{kinds}/kinds/")
    lines = ran.by_key()
    name = key_name(raw_key(deployment.proxy.key))
    assert set(lines) == {f"kinds/{kind}" for kind in ("single", "multipart", "plain", "damaged")}
    single = lines["kinds/single"]
    assert (single["format"], single["encryption_key"]) == ("v1-single", name)
    assert (single["plaintext_bytes"], single["stored_bytes"]) == (LARGE, stored_length(LARGE))
    assert single["bound_to"] == ["key"]
    assert lines["kinds/multipart"]["format"] == "v1-multipart"
    assert lines["kinds/multipart"]["plaintext_bytes"] == FIVE_MIB + SMALL
    assert (lines["kinds/plain"]["format"], lines["kinds/plain"]["stored_bytes"]) == ("plaintext", 5)
    assert lines["kinds/damaged"]["status"] == "failed"
    # An operator should look at an envelope that cannot be read.
    assert (ran.status, ran.summary["failed"]) == (3, 1)


def test_no_key_is_needed(deployment, deployments, kinds):
    keyless = deployments.proxy(deployment.backend, "inspect-keyless")
    keyless.proxy._variables.pop("S3PROXY_ENCRYPT_KEY")
    ran = command(keyless.proxy, "inspect", "--key", f"{kinds}/kinds/single")
    assert ran.status == 0
    assert [line["format"] for line in ran.objects] == ["v1-single"]


def test_a_named_object_that_is_missing_is_a_failure(deployment, kinds):
    ran = command(deployment.proxy, "inspect", "--key", f"{kinds}/kinds/nothing")
    assert ran.status == 3
    assert "404" in ran.objects[0]["reason"]


def test_a_missing_bucket_is_a_failure(deployment):
    done = deployment.proxy.finish("inspect", "--json", "no-such-bucket-anywhere")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, lines[0]["type"], lines[0]["status"]) == (3, "target", "failed")
    assert "NoSuchBucket" in lines[0]["reason"]


def test_people_get_a_line_for_each_object_and_a_summary(deployment, kinds):
    text = deployment.proxy.finish("inspect", f"{kinds}/kinds/").stdout
    assert f"v1 single {kinds}/kinds/single: key local:" in text
    assert f"FAILED {kinds}/kinds/damaged: " in text
    assert "inspect: 4 objects in " in text
    assert "By format and key:" in text
    summary = deployment.proxy.finish("inspect", "--summary", f"{kinds}/kinds/").stdout
    assert "kinds/single" not in summary and "inspect: 4 objects in " in summary


def test_a_walk_starts_after_the_named_key(deployment, kinds):
    ran = command(deployment.proxy, "inspect", "--start-after", "kinds/multipart", f"{kinds}/kinds/")
    assert sorted(ran.by_key()) == ["kinds/plain", "kinds/single"]


def test_versions_are_distinguished(deployment, s3, backend_s3, kinds):
    bucket = make_bucket(deployment)
    enabled = {"Status": "Enabled"}
    backend_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    for body in (b"one", b"second"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    s3.put_object(Bucket=bucket, Key="gone", Body=b"gone")
    s3.delete_object(Bucket=bucket, Key="gone")
    current = command(deployment.proxy, "inspect", bucket)
    assert [line["key"] for line in current.objects] == ["k"]
    every = command(deployment.proxy, "inspect", "--versions", bucket)
    told = sorted((line["key"], line["current"], line["plaintext_bytes"]) for line in every.objects)
    assert told == [("gone", False, 4), ("k", False, 3), ("k", True, 6)]
