"""Sizes and ETags are the same in every response, and conditions accept them."""

import random
import re

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from deployment import make_bucket

SEALED_ETAG = re.compile(r'^"[0-9a-f]{32}-0"$')
OTHER_ETAG = '"00000000000000000000000000000000-0"'
SIZES = [0, 1, 16384, 70000, 1024 * 1024 + 1]


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def versioned_bucket(deployment, bucket):
    """The module's bucket with versioning, enabled through the proxy."""
    boto3_client(deployment.target).put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return bucket


@pytest.fixture
def modern(deployment):
    """For conditions that the server has to support: the proxy only translates them."""
    if deployment.backend.name == "radosgw":
        pytest.skip("Ceph 16: no If-Match *, no ETag with 304, no conditional PUT of a version")


@pytest.fixture
def stored(s3, bucket, key):
    """One sealed object, and the ETag in the response to its PUT."""
    return key, s3.put_object(Bucket=bucket, Key=key, Body=b"content")["ETag"]


@pytest.mark.parametrize("size", SIZES)
def test_size_and_etag_agree_in_every_answer(s3, versioned_bucket, prefix, size):
    bucket, key = versioned_bucket, prefix + "object"
    put = s3.put_object(Bucket=bucket, Key=key, Body=random.Random(size).randbytes(size))
    head = s3.head_object(Bucket=bucket, Key=key)
    got = s3.get_object(Bucket=bucket, Key=key)
    seen = {
        "HeadObject": (head["ContentLength"], head["ETag"]),
        "GetObject": (got["ContentLength"], got["ETag"]),
    }
    for name, listed in {
        "ListObjects": s3.list_objects(Bucket=bucket, Prefix=prefix)["Contents"],
        "ListObjectsV2": s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"],
        "ListObjectVersions": s3.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"],
    }.items():
        assert len(listed) == 1
        seen[name] = (listed[0]["Size"], listed[0]["ETag"])
    assert seen == dict.fromkeys(seen, (size, put["ETag"]))
    assert len(got["Body"].read()) == size


def test_etag_of_a_sealed_object_cannot_be_taken_for_an_md5(s3, backend_s3, bucket, stored):
    key, etag = stored
    assert SEALED_ETAG.match(etag)
    behind = backend_s3.head_object(Bucket=bucket, Key=key)["ETag"]
    assert etag == f'"{behind.strip(chr(34))}-0"'


def test_plain_object_keeps_size_and_etag_of_the_backend(s3, backend_s3, bucket, prefix):
    key = prefix + "plain"
    put = backend_s3.put_object(Bucket=bucket, Key=key, Body=b"was here before the proxy")
    head = s3.head_object(Bucket=bucket, Key=key)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"][0]
    assert (head["ETag"], head["ContentLength"]) == (put["ETag"], 25)
    assert (listed["ETag"], listed["Size"]) == (put["ETag"], 25)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"was here before the proxy"


def test_listing_of_sealed_and_plain_objects_gives_each_its_own_size(
    s3, backend_s3, bucket, prefix
):
    sizes = {prefix + f"{number:02}": number * 1000 for number in range(20)}
    for key, size in sizes.items():
        client = s3 if size % 2000 else backend_s3
        client.put_object(Bucket=bucket, Key=key, Body=bytes(size))
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 7}
    )
    found = {entry["Key"]: entry["Size"] for page in pages for entry in page["Contents"]}
    assert found == sizes


def test_if_match_accepts_the_etag_that_the_proxy_gave(s3, bucket, stored):
    key, etag = stored
    assert s3.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"].read() == b"content"
    assert s3.head_object(Bucket=bucket, Key=key, IfMatch=etag)["ETag"] == etag


def test_if_match_star_accepts_any_object(modern, s3, bucket, stored):
    key, _ = stored
    assert s3.get_object(Bucket=bucket, Key=key, IfMatch="*")["Body"].read() == b"content"


def test_if_match_refuses_another_etag(s3, bucket, stored):
    key, _ = stored
    assert status(s3.get_object, Bucket=bucket, Key=key, IfMatch=OTHER_ETAG) == 412
    assert status(s3.head_object, Bucket=bucket, Key=key, IfMatch=OTHER_ETAG) == 412


def test_if_none_match_knows_the_etag_that_the_proxy_gave(s3, bucket, stored):
    key, etag = stored
    assert status(s3.get_object, Bucket=bucket, Key=key, IfNoneMatch=etag) == 304
    assert status(s3.head_object, Bucket=bucket, Key=key, IfNoneMatch=etag) == 304
    assert s3.get_object(Bucket=bucket, Key=key, IfNoneMatch=OTHER_ETAG)["ETag"] == etag


def test_not_modified_answer_carries_the_etag_that_the_proxy_gave(
    modern, deployment, bucket, stored
):
    key, etag = stored
    answer = raw.ask(deployment.target, "GET", bucket, key, headers={"If-None-Match": etag})
    assert (answer.status, answer.headers["ETag"]) == (304, etag)


def test_put_if_none_match_star_protects_an_object(modern, s3, bucket, stored):
    key, _ = stored
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"other", IfNoneMatch="*") == 412
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"content"
    s3.put_object(Bucket=bucket, Key=key + "-new", Body=b"new", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key=key + "-new")["Body"].read() == b"new"


def test_put_if_match_replaces_only_the_named_object(modern, s3, bucket, stored):
    key, etag = stored
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"no", IfMatch=OTHER_ETAG) == 412
    s3.put_object(Bucket=bucket, Key=key, Body=b"replaced", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"replaced"


def test_put_if_match_holds_in_a_bucket_without_versions(deployment, s3):
    """Ceph 16 compares the condition as text: the proxy sends it without quotes there."""
    bucket = make_bucket(deployment)
    etag = s3.put_object(Bucket=bucket, Key="key", Body=b"content")["ETag"]
    assert status(s3.put_object, Bucket=bucket, Key="key", Body=b"no", IfMatch=OTHER_ETAG) == 412
    s3.put_object(Bucket=bucket, Key="key", Body=b"replaced", IfMatch=etag)
    assert status(s3.put_object, Bucket=bucket, Key="key", Body=b"late", IfMatch=etag) == 412
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"replaced"


def test_versions_are_read_and_deleted_one_by_one(s3, versioned_bucket, prefix):
    bucket, key = versioned_bucket, prefix + "object"
    contents = [b"first", b"second version"]
    versions = [s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"] for body in contents]
    for version, content in zip(versions, contents, strict=True):
        got = s3.get_object(Bucket=bucket, Key=key, VersionId=version)
        assert (got["VersionId"], got["Body"].read()) == (version, content)
        head = s3.head_object(Bucket=bucket, Key=key, VersionId=version)
        assert head["ContentLength"] == len(content)

    assert s3.delete_object(Bucket=bucket, Key=key)["DeleteMarker"]
    assert status(s3.get_object, Bucket=bucket, Key=key) == 404
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    assert {entry["VersionId"]: entry["Size"] for entry in listed["Versions"]} == {
        version: len(content) for version, content in zip(versions, contents, strict=True)
    }
    assert len(listed["DeleteMarkers"]) == 1

    s3.delete_object(Bucket=bucket, Key=key, VersionId=versions[0])
    assert status(s3.get_object, Bucket=bucket, Key=key, VersionId=versions[0]) == 404
    got = s3.get_object(Bucket=bucket, Key=key, VersionId=versions[1])
    assert got["Body"].read() == b"second version"


def test_batch_delete_reports_every_key(s3, bucket, prefix):
    keys = [prefix + str(number) for number in range(3)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    batch = [{"Key": key} for key in [*keys, prefix + "never-there", ".s3proxy/own"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == sorted(
        [*keys, prefix + "never-there"]
    )
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [
        (".s3proxy/own", "AccessDenied")
    ]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)


def status(call, **parameters):
    """The HTTP status of a call that must be refused."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["ResponseMetadata"]["HTTPStatusCode"]
