"""The list of operations is closed towards the backend as well.

Every row of the program's table is sent through the proxy, with no body, with bodies that are no
document, and with the document of its operation. A server that does not know a sub-resource would
store the body in place of the object, or delete the bucket. All bucket names, and all objects of
two buckets, are compared before and after each row: nothing is created, changed or deleted.
Operations that change objects and buckets have other tests (test_every_operation.py). The embedded
store is compared after each request by the program's own tests (requests/operation_list.rs).
"""

import re

import pytest
from botocore.session import get_session

import raw
from clients import boto3_client
from deployment import make_bucket
from operation_table import ROWS, by_name

CHANGES = {
    *("CopyObject", "CreateBucket", "CreateMultipartUpload", "DeleteBucket", "DeleteObject"),
    *("DeleteObjects", "PostObject", "PutObject"),
}
SECRET = "PAN=4111111111111111"
CONTENT = b"content that lies sealed at the backend " * 100
MODEL = get_session().get_service_model("s3")


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw", "moto"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def buckets(deployment):
    """Two buckets with objects that the proxy sealed."""
    names = make_bucket(deployment), make_bucket(deployment)
    for name in names:
        for key in ("object", "folder/object"):
            assert raw.ask(deployment.target, "PUT", name, key, body=CONTENT).status == 200
    return names


@pytest.fixture(scope="module")
def stored(deployment):
    """A client of the backend, shared because creating one takes longer than all its calls."""
    return boto3_client(deployment.backend.target)


@pytest.fixture(scope="module")
def before(stored, buckets):
    return snapshot(stored, buckets)


@by_name([row for row in ROWS.values() if row.name not in CHANGES])
def test_nothing_is_created_changed_or_deleted(row, deployment, buckets, stored, before, request):
    if row.name == "PutBucketPolicy" and "moto" in request.node.name:
        pytest.skip("moto obeys the policy that this sets, and then refuses the look at what is stored")
    sealed = before[1][buckets[0], "object"][0]
    sent = []
    for headers, body in requests(row):
        key = "object" if row.level == "Object" else ""
        bucket = "" if row.level == "Service" else buckets[0]
        query = row.query.replace("uploadId", "uploadId=unknown")
        query += "&partNumber=1" if row.name in ("UploadPart", "UploadPartCopy") else ""
        query = query.replace("list-type=1", "list-type=2").replace("list-type", "list-type=2", 1) \
            if row.name == "ListObjectsV2" else query
        headers = headers | copy_source(row, buckets[1])
        answer = raw.ask(
            deployment.target, row.method, bucket, key, query=query, headers=headers, body=body
        )
        if row.name != "GetObject":
            assert CONTENT[:40] not in answer.body and sealed[:40] not in answer.body
        sent.append((headers, body, answer))
    # Once for all requests: they have the same method and target, so none undoes another's change.
    assert snapshot(stored, buckets) == before, (row.name, sent)


def requests(row):
    """The headers and bodies with which a row is sent."""
    yield {}, b""
    if row.method == "HEAD":
        return
    yield {}, SECRET.encode()
    yield {}, f"<Unexpected><Secret>{SECRET}</Secret></Unexpected>".encode()
    root = document_root(row.name)
    if root:
        yield {}, f"<?xml version='1.0'?><!--{SECRET}--><{root} a='{SECRET}'></{root}>".encode()
        yield {"x-amz-acl": "private"}, b""
    if row.name == "PutBucketPolicy":
        yield {}, b'{"Statement": "%s"}' % SECRET.encode()


def document_root(name: str) -> str | None:
    """The root element of the operation's request in AWS's service model."""
    if name not in MODEL.operation_names:
        return None
    shape = MODEL.operation_model(name).input_shape
    payload = shape and shape.serialization.get("payload")
    return payload and shape.members[payload].serialization.get("name")


def copy_source(row, bucket) -> dict[str, str]:
    header = re.search(r'Header\("([^"]+)"\)', row.selector)
    if row.selector == "COPY":
        return {"x-amz-copy-source": f"/{bucket}/object"}
    return {header[1]: "x"} if header else {}


def snapshot(s3, buckets):
    """The names of all buckets, and the objects of some: bytes, metadata, ETags."""
    names = sorted(entry["Name"] for entry in s3.list_buckets()["Buckets"])
    objects = {}
    for bucket in buckets:
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            found = answer["Body"].read(), answer["Metadata"], answer["ETag"]
            objects[bucket, entry["Key"]] = found
    return names, objects
