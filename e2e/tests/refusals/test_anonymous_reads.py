"""Unsigned requests read objects of the buckets that are listed for it, and nothing else."""

import pytest

import raw
from deployment import make_bucket

SETTINGS = """
[listen]
drain_delay = "0s"

[clients]
anonymous_read_buckets = ["{public}"]
"""
CONTENT = b"for everyone to read" * 1000


@pytest.fixture(scope="module")
def buckets(seaweedfs):
    """A public bucket and a private one; both contain the same object."""
    return make_bucket(seaweedfs), make_bucket(seaweedfs)


@pytest.fixture(scope="module")
def deployment(deployments, buckets):
    settings = SETTINGS.format(public=buckets[0])
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "proxy-anonymous", settings=settings
    )
    for bucket in buckets:
        assert raw.ask(deployment.target, "PUT", bucket, "object", body=CONTENT).status == 200
    return deployment


@pytest.fixture
def unsigned(deployment):
    """Sends a request without any signature."""

    def send(method, bucket, key="", **parts):
        return raw.send(raw.request(deployment.target, method, bucket, key, **parts), deployment.target)

    return send


def test_object_of_a_named_bucket_is_read_without_a_signature(unsigned, buckets):
    answer = unsigned("GET", buckets[0], "object")
    assert (answer.status, answer.body) == (200, CONTENT)
    answer = unsigned("HEAD", buckets[0], "object")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
    answer = unsigned("GET", buckets[0], "object", headers={"Range": "bytes=1-9"})
    assert (answer.status, answer.body) == (206, CONTENT[1:10])


def test_missing_object_of_a_named_bucket_looks_like_a_forbidden_one(unsigned, buckets):
    answer = unsigned("GET", buckets[0], "missing")
    assert (answer.status, answer.code) == (403, "AccessDenied")


REFUSED = {
    "GetObject-elsewhere": ("GET", 1, "object", ""),
    "HeadObject-elsewhere": ("HEAD", 1, "object", ""),
    "PutObject": ("PUT", 0, "object", ""),
    "DeleteObject": ("DELETE", 0, "object", ""),
    "DeleteObjects": ("POST", 0, "", "delete"),
    "ListObjects": ("GET", 0, "", ""),
    "ListObjectsV2": ("GET", 0, "", "list-type=2"),
    "ListObjectVersions": ("GET", 0, "", "versions"),
    "GetObjectTagging": ("GET", 0, "object", "tagging"),
    "GetObjectAcl": ("GET", 0, "object", "acl"),
    "GetBucketPolicy": ("GET", 0, "", "policy"),
    "HeadBucket": ("HEAD", 0, "", ""),
    "CreateBucket": ("PUT", 0, "", ""),
    "DeleteBucket": ("DELETE", 0, "", ""),
    "state-prefix": ("GET", 0, ".s3proxy/uploads/x/state", ""),
}


@pytest.mark.parametrize(("method", "which", "key", "query"), REFUSED.values(), ids=REFUSED)
def test_everything_else_needs_a_signature(deployment, unsigned, buckets, method, which, key, query):
    bucket = buckets[which]
    answer = unsigned(method, bucket, key, query=query, body=b"x" if method == "PUT" else b"")
    assert answer.status == 403
    if method != "HEAD":
        assert answer.code == "AccessDenied"
    assert raw.ask(deployment.target, "GET", bucket, "object").body == CONTENT


def test_list_of_buckets_needs_a_signature(unsigned):
    answer = unsigned("GET", "")
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_unsigned_request_may_not_choose_headers_of_its_answer(unsigned, buckets):
    """S3 refuses this, so that no link turns an object into a web page."""
    answer = unsigned("GET", buckets[0], "object", query="response-content-type=text%2Fhtml")
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_wrong_signature_is_not_treated_as_none(deployment, buckets):
    built = raw.sign(raw.request(deployment.target, "GET", buckets[0], "object"), deployment.target)
    wrong = built.header("Authorization")[:-4] + "0000"
    built.set_header("Authorization", wrong)
    answer = raw.send(built, deployment.target)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
