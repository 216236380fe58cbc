"""Ranges in plaintext terms: all forms, across chunks, beyond the end, of empty objects."""

import random

import pytest

import raw
from deployment import make_bucket

SIZE = 40000
CONTENT = random.Random(SIZE).randbytes(SIZE)

SATISFIABLE = {
    "first-byte": ("bytes=0-0", 0, 0),
    "last-byte-by-position": ("bytes=39999-39999", 39999, 39999),
    "last-byte-by-suffix": ("bytes=-1", 39999, 39999),
    "suffix": ("bytes=-100", 39900, 39999),
    "suffix-of-everything": ("bytes=-40000", 0, 39999),
    "suffix-longer-than-the-object": ("bytes=-50000", 0, 39999),
    "open": ("bytes=100-", 100, 39999),
    "open-from-the-start": ("bytes=0-", 0, 39999),
    "whole-chunk": ("bytes=16384-32767", 16384, 32767),
    "across-a-chunk-border": ("bytes=16383-16384", 16383, 16384),
    "across-two-chunk-borders": ("bytes=10-39990", 10, 39990),
    "end-beyond-the-object": ("bytes=39990-50000", 39990, 39999),
    "last-chunk": ("bytes=32768-", 32768, 39999),
}
IGNORED = {
    "several": "bytes=0-1,5-6",
    "last-before-first": "bytes=5-2",
    "no-number": "bytes=abc",
    "other-unit": "items=0-1",
}
BEYOND = {
    "at-the-end": "bytes=40000-",
    "past-the-end": "bytes=40000-50000",
    "where-only-stored-bytes-are": "bytes=40050-40060",
    "suffix-of-nothing": "bytes=-0",
}


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw", "embedded"])
def objects(request, deployments):
    """A function that requests an object of SIZE bytes, or an empty one."""
    deployment = deployments.get(request.param, "http")
    bucket = make_bucket(deployment)
    for key, content in [("object", CONTENT), ("empty", b"")]:
        assert raw.ask(deployment.target, "PUT", bucket, key, body=content).status == 200

    def ask(method, key, header, **more):
        headers = {"Range": header, **more}
        return raw.ask(deployment.target, method, bucket, key, headers=headers)

    return ask


@pytest.mark.parametrize(("header", "first", "last"), SATISFIABLE.values(), ids=SATISFIABLE)
def test_range_returns_exactly_its_bytes(objects, header, first, last):
    answer = objects("GET", "object", header)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.body == CONTENT[first : last + 1]


@pytest.mark.parametrize(("header", "first", "last"), SATISFIABLE.values(), ids=SATISFIABLE)
def test_head_describes_the_range_that_get_would_return(objects, header, first, last):
    answer = objects("HEAD", "object", header)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("header", IGNORED.values(), ids=IGNORED)
def test_range_that_s3_ignores_returns_the_whole_object(objects, header):
    answer = objects("GET", "object", header)
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.body == CONTENT


@pytest.mark.parametrize("header", BEYOND.values(), ids=BEYOND)
def test_range_beyond_the_end_is_refused_with_the_plaintext_size(objects, header):
    answer = objects("GET", "object", header)
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert answer.element("ActualObjectSize") == str(SIZE)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_empty_object_satisfies_no_range(objects, header):
    answer = objects("GET", "empty", header)
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == "bytes */0"


def test_if_range_with_the_current_etag_keeps_the_range(objects):
    etag = objects("HEAD", "object", "bytes=0-0").headers["ETag"]
    answer = objects("GET", "object", "bytes=1-2", **{"If-Range": etag})
    assert (answer.status, answer.body) == (206, CONTENT[1:3])


def test_if_range_with_another_etag_returns_the_whole_object(objects):
    answer = objects("GET", "object", "bytes=1-2", **{"If-Range": '"d41d8cd98f00b204e9800998ecf8427e-0"'})
    assert (answer.status, answer.body) == (200, CONTENT)


def test_if_range_with_the_last_modified_date_keeps_the_range(objects):
    date = objects("HEAD", "object", "bytes=0-0").headers["Last-Modified"]
    answer = objects("GET", "object", "bytes=1-2", **{"If-Range": date})
    assert (answer.status, answer.body) == (206, CONTENT[1:3])


def test_if_range_with_an_older_date_returns_the_whole_object(objects):
    older = "Wed, 01 Jan 2020 00:00:00 GMT"
    answer = objects("GET", "object", "bytes=1-2", **{"If-Range": older})
    assert (answer.status, answer.body) == (200, CONTENT)
