"""The first request about a version: a new proxy does not know the behaviour of its backend yet."""

import pytest

from clients import boto3_client


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture
def new_proxy(deployments, deployment, request):
    """A client of a proxy that was started for this test."""
    name = f"proxy-{request.node.name}-{deployment.backend.name}"
    return boto3_client(deployments.proxy(deployment.backend, name).target)


@pytest.fixture
def marked(s3, bucket, key):
    """A key with a delete marker as its current version: the version below it, and the marker."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key=key, Body=b"content")["VersionId"]
    return version, s3.delete_object(Bucket=bucket, Key=key)["VersionId"]


def test_a_current_delete_marker_is_deleted(new_proxy, s3, bucket, key, marked):
    new_proxy.delete_object(Bucket=bucket, Key=key, VersionId=marked[1])
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"content"


def test_a_version_below_a_delete_marker_is_deleted(new_proxy, s3, bucket, key, marked):
    new_proxy.delete_object(Bucket=bucket, Key=key, VersionId=marked[0])
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    assert not listed.get("Versions")
    assert [entry["VersionId"] for entry in listed["DeleteMarkers"]] == [marked[1]]
