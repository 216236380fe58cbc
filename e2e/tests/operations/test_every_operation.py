"""Every operation that the proxy knows, by name: served, forwarded or refused, as S3.md lists it.

The names come from the program's own table, so an operation cannot be added without a case here.
Reads without object data are compared with the backend's own responses; changes are in another
module (test_operation_list.py); operations that cannot work on sealed data are refused; every other
operation has a function with its name below. Most have deeper tests in other modules.
"""

import http.client
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from deployment import make_bucket
from operation_table import ROWS, TABLE, by_name
from sealed import leaks

CONTENT = b"plaintext of every operation " * 2000
MIB = 1024 * 1024

FORWARDED = [row for row in ROWS.values() if row.kind in ("Forward", "ForwardXml", "RestoreObject")]
READS = [row for row in FORWARDED if row.method in ("GET", "HEAD") or row.name == "CreateBucket"]
UNSUPPORTED = [row for row in ROWS.values() if row.kind == "Unsupported"]
OWN = [row for row in ROWS.values() if row not in FORWARDED and row not in UNSUPPORTED]


def test_table_was_read_whole():
    text = TABLE.read_text().split("operations! {", 1)[1]
    lines = [line for line in text.splitlines() if line.endswith(";")]
    assert len(ROWS) == len(lines) > 100


@pytest.fixture(scope="module")
def twins(deployment):
    """Two buckets with the same object: one is used through the proxy, the other directly."""
    buckets = make_bucket(deployment), make_bucket(deployment)
    for name in buckets:
        assert raw.ask(deployment.target, "PUT", name, "object", body=CONTENT).status == 200
    return dict(zip((deployment.target, deployment.backend.target), buckets, strict=True))


@by_name(READS)
def test_operation_without_object_data_ends_as_without_the_proxy(row, twins):
    outcomes = []
    for target, bucket in twins.items():
        key = "object" if row.level == "Object" else ""
        if row.name == "CreateBucket":
            bucket = f"e2e-{secrets.token_hex(4)}"
        answer = raw.ask(target, row.method, bucket, key, query=row.query)
        outcomes.append((answer.status, answer.code))
        is_listing = b"<ListBucketResult" in answer.body
    # A server that does not know the sub-resource lists the bucket.
    assert outcomes[0] == ((501, "NotImplemented") if is_listing else outcomes[1])


@by_name(UNSUPPORTED)
def test_operation_that_cannot_work_on_sealed_data_is_refused(deployment, bucket, row):
    key = "object" if row.level == "Object" else ""
    header = re.search(r'Header\("([^"]+)"\)', row.selector)
    headers = {header[1]: "x"} if header else {}
    bucket = "" if row.level == "Service" else bucket
    answer = raw.ask(deployment.target, row.method, bucket, key, query=row.query, headers=headers)
    assert (answer.status, answer.code) == (501, "NotImplemented")


@by_name(OWN)
def test_operation(row, s3, backend_s3, deployment, bucket, key):
    globals()[f"check_{row.name}"](Scene(s3, backend_s3, deployment, bucket, key))


@dataclass(frozen=True)
class Scene:
    s3: object
    backend_s3: object
    deployment: object
    bucket: str
    key: str

    @property
    def place(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.key}

    def put(self, content: bytes = CONTENT) -> bytes:
        self.s3.put_object(**self.place, Body=content)
        return content

    def get(self, **options) -> bytes:
        return self.s3.get_object(**(self.place | options))["Body"].read()

    def upload(self, *parts: bytes) -> str:
        """Creates an upload and uploads its parts, numbered from 1."""
        identity = self.s3.create_multipart_upload(**self.place)["UploadId"]
        for number, part in enumerate(parts, 1):
            self.s3.upload_part(**self.place, UploadId=identity, PartNumber=number, Body=part)
        return identity

    def complete(self, identity: str) -> None:
        listed = self.s3.list_parts(**self.place, UploadId=identity)["Parts"]
        parts = [{name: part[name] for name in ("PartNumber", "ETag")} for part in listed]
        self.s3.complete_multipart_upload(
            **self.place, UploadId=identity, MultipartUpload={"Parts": parts}
        )

    def assert_sealed(self, content: bytes) -> None:
        stored = self.deployment.stored(self.bucket, self.key)
        assert not leaks(stored.body, content)


def check_ListBuckets(scene):
    names = [entry["Name"] for entry in scene.s3.list_buckets()["Buckets"]]
    assert scene.bucket in names


def check_DeleteBucket(scene):
    bucket = make_bucket(scene.deployment)
    # An abandoned upload leaves state behind, which is not an object of the client.
    scene.s3.create_multipart_upload(Bucket=bucket, Key="unfinished")
    identity = scene.s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"]
    boto3_client(scene.deployment.backend.target).abort_multipart_upload(
        Bucket=bucket, Key="unfinished", UploadId=identity
    )
    scene.s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError):
        scene.backend_s3.head_bucket(Bucket=bucket)


def _check_listing(scene, operation, member):
    scene.put()
    page = getattr(scene.s3, operation)(Bucket=scene.bucket, Prefix=scene.key)
    assert [(entry["Key"], entry["Size"]) for entry in page[member]] == [(scene.key, len(CONTENT))]
    assert page[member][0]["ETag"] == scene.s3.head_object(**scene.place)["ETag"]


def check_ListObjects(scene):
    _check_listing(scene, "list_objects", "Contents")


def check_ListObjectsV2(scene):
    _check_listing(scene, "list_objects_v2", "Contents")


def check_ListObjectVersions(scene):
    _check_listing(scene, "list_object_versions", "Versions")


def check_PutObject(scene):
    scene.assert_sealed(scene.put())


def check_PostObject(scene):
    form = scene.s3.generate_presigned_post(scene.bucket, scene.key)
    boundary = "edge" + secrets.token_hex(8)
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = fields.encode() + file.encode() + CONTENT + f"\r\n--{boundary}--\r\n".encode()
    where = urlsplit(form["url"])
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    connection.request("POST", where.path, body, headers)
    assert connection.getresponse().status == 204
    assert scene.get() == CONTENT
    scene.assert_sealed(CONTENT)


def check_GetObject(scene):
    content = scene.put()
    assert scene.get() == content
    assert scene.get(Range="bytes=20000-40000") == content[20000:40001]


def check_HeadObject(scene):
    content = scene.put()
    assert scene.s3.head_object(**scene.place)["ContentLength"] == len(content)


def check_CopyObject(scene):
    content = scene.put()
    target = scene.place | {"Key": scene.key + "-copy"}
    scene.s3.copy_object(**target, CopySource=scene.place)
    assert scene.get(**target) == content


def check_DeleteObject(scene):
    scene.put()
    scene.s3.delete_object(**scene.place)
    with pytest.raises(ClientError, match="404"):
        scene.s3.head_object(**scene.place)


def check_DeleteObjects(scene):
    scene.put()
    answer = scene.s3.delete_objects(
        Bucket=scene.bucket, Delete={"Objects": [{"Key": scene.key}, {"Key": ".s3proxy/x"}]}
    )
    assert [entry["Key"] for entry in answer["Deleted"]] == [scene.key]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [
        (".s3proxy/x", "AccessDenied")
    ]


def check_GetObjectAttributes(scene):
    content = scene.put()
    wanted = ["ETag", "ObjectSize", "StorageClass"]
    answer = scene.s3.get_object_attributes(**scene.place, ObjectAttributes=wanted)
    etag = scene.s3.head_object(**scene.place)["ETag"].strip('"')
    assert (answer["ObjectSize"], answer["ETag"]) == (len(content), etag)


def check_CreateMultipartUpload(scene):
    identity = scene.upload()
    uploads = scene.backend_s3.list_multipart_uploads(Bucket=scene.bucket, Prefix=scene.key)
    assert [one["UploadId"] for one in uploads["Uploads"]] == [identity]


def check_UploadPart(scene):
    part = secrets.token_bytes(5 * MIB)
    identity = scene.upload(part)
    parts = scene.backend_s3.list_parts(**scene.place, UploadId=identity)["Parts"]
    assert [entry["Size"] for entry in parts] == [72 + len(part) + 16 * (len(part) // 16384)]


def check_UploadPartCopy(scene):
    source = scene.place | {"Key": scene.key + "-source"}
    content = secrets.token_bytes(6 * MIB)
    scene.s3.put_object(**source, Body=content)
    identity = scene.upload()
    scene.s3.upload_part_copy(
        **scene.place, UploadId=identity, PartNumber=1, CopySource=source,
        CopySourceRange=f"bytes=1-{len(content) - 1}",
    )
    scene.complete(identity)
    assert scene.get() == content[1:]
    scene.assert_sealed(content)


def check_CompleteMultipartUpload(scene):
    parts = [secrets.token_bytes(5 * MIB), b"the last one"]
    scene.complete(scene.upload(*parts))
    assert scene.get() == b"".join(parts)
    scene.assert_sealed(b"".join(parts))


def check_AbortMultipartUpload(scene):
    identity = scene.upload(b"short")
    scene.s3.abort_multipart_upload(**scene.place, UploadId=identity)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        scene.s3.list_parts(**scene.place, UploadId=identity)


def check_ListParts(scene):
    sizes = [5 * MIB + 1, 17]
    identity = scene.upload(*(secrets.token_bytes(size) for size in sizes))
    listed = scene.s3.list_parts(**scene.place, UploadId=identity)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, sizes[0]), (2, sizes[1])]
    assert all(part["ETag"].endswith('-0"') for part in listed)


def check_ListMultipartUploads(scene):
    identity = scene.upload()
    uploads = scene.s3.list_multipart_uploads(Bucket=scene.bucket, Prefix=scene.key)["Uploads"]
    assert [(one["Key"], one["UploadId"]) for one in uploads] == [(scene.key, identity)]


def _check_preflight(scene, key):
    asked = {"Origin": "https://e2e.test", "Access-Control-Request-Method": "GET"}
    answers = []
    for target in (scene.deployment.target, scene.deployment.backend.target):
        built = raw.request(target, "OPTIONS", scene.bucket, key, headers=asked)
        answers.append(raw.send(built, target).status)
    assert answers[0] == answers[1]


def check_OptionsBucket(scene):
    _check_preflight(scene, "")


def check_OptionsObject(scene):
    _check_preflight(scene, scene.key)
