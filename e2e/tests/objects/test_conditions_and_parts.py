"""Conditions on dates, and part numbers of objects without parts, as the S3 API documents them."""

import random

import pytest

import raw
from deployment import make_bucket

SIZE = 20000
CONTENT = random.Random(SIZE).randbytes(SIZE)
OLDER = "Wed, 01 Jan 2020 00:00:00 GMT"
LATER = "Thu, 01 Dec 2033 16:00:00 GMT"
OTHER_ETAG = '"00000000000000000000000000000000-0"'


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw", "embedded"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def bucket(deployment):
    bucket = make_bucket(deployment)
    for key, content in [("object", CONTENT), ("empty", b"")]:
        assert raw.ask(deployment.target, "PUT", bucket, key, body=content).status == 200
    return bucket


@pytest.fixture(scope="module")
def known(deployment, bucket):
    """ETag and date of the object, as a client learns them."""
    head = raw.ask(deployment.target, "HEAD", bucket, "object")
    return {"etag": head.headers["ETag"], "modified": head.headers["Last-Modified"]}


DATE_CONDITIONS = {
    "modified-since-an-older-date": ({"If-Modified-Since": OLDER}, 200),
    "not-modified-since-its-own-date": ({"If-Modified-Since": "{modified}"}, 304),
    "unmodified-since-its-own-date": ({"If-Unmodified-Since": "{modified}"}, 200),
    "unmodified-since-a-later-date": ({"If-Unmodified-Since": LATER}, 200),
    "modified-since-then": ({"If-Unmodified-Since": OLDER}, 412),
    # The entity tag takes precedence, as in RFC 9110, section 13.2.2.
    "etag-before-older-date": ({"If-Match": "{etag}", "If-Unmodified-Since": OLDER}, 200),
    "etag-before-newer-date": ({"If-None-Match": "{etag}", "If-Modified-Since": OLDER}, 304),
    "other-etag-before-its-date": (
        {"If-None-Match": OTHER_ETAG, "If-Modified-Since": "{modified}"},
        200,
    ),
    "older-date-with-a-range": ({"If-Modified-Since": OLDER, "Range": "bytes=0-9"}, 206),
    "newer-date-with-a-range": ({"If-Unmodified-Since": OLDER, "Range": "bytes=0-9"}, 412),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("conditions", "status"), DATE_CONDITIONS.values(), ids=DATE_CONDITIONS)
def test_date_condition_decides(deployment, bucket, known, method, conditions, status):
    if deployment.backend.name == "embedded":
        pytest.skip("the embedded store knows no conditions on dates")
    headers = {name: value.format(**known) for name, value in conditions.items()}
    answer = raw.ask(deployment.target, method, bucket, "object", headers=headers)
    assert answer.status == status
    # Ceph 16 shows none with a 304.
    if status == 304 and deployment.backend.name != "radosgw":
        assert answer.headers["ETag"] == known["etag"]
    if method == "GET" and status == 200:
        assert answer.body == CONTENT


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_first_part_of_a_single_upload_is_all_of_it(deployment, bucket, method):
    answer = raw.ask(deployment.target, method, bucket, "object", query="partNumber=1")
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes 0-{SIZE - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["x-amz-mp-parts-count"] is None
    if method == "GET":
        assert answer.body == CONTENT


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_second_part_of_a_single_upload_does_not_exist(deployment, bucket, method):
    answer = raw.ask(deployment.target, method, bucket, "object", query="partNumber=2")
    assert answer.status == 416
    if method == "GET":
        assert answer.code == "InvalidPartNumber"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_first_part_of_an_empty_object_is_empty(deployment, bucket, method):
    answer = raw.ask(deployment.target, method, bucket, "empty", query="partNumber=1")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "0", b"")


def test_part_and_range_together_are_refused(deployment, bucket):
    headers = {"Range": "bytes=0-1"}
    answer = raw.ask(
        deployment.target, "GET", bucket, "object", query="partNumber=1", headers=headers
    )
    assert (answer.status, answer.code) == (400, "InvalidRequest")


@pytest.mark.parametrize("number", ["0", "-1", "10001", "x", ""])
def test_impossible_part_number_is_refused(deployment, bucket, number):
    answer = raw.ask(deployment.target, "GET", bucket, "object", query=f"partNumber={number}")
    assert 400 <= answer.status < 500
