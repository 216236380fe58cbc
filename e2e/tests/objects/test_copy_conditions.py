"""Conditions of copies: on the source in every combination, and on the target if the server has
any.

The proxy evaluates conditions on the source itself, so all servers give the same results.
"""

import itertools

import pytest

import raw
from content import SMALL, content
from deployment import make_bucket
from refusal import assert_nothing_stored, assert_refused

OLDER = "Wed, 01 Jan 2020 00:00:00 GMT"
LATER = "Thu, 01 Dec 2033 16:00:00 GMT"
OTHER = '"00000000000000000000000000000000-0"'

MATCH = [None, "{etag}", "{bare}", f"{OTHER}, {{etag}}", "*", OTHER]
UNMODIFIED = [None, "{modified}", LATER, OLDER]
NONE_MATCH = [None, OTHER, "{etag}", "*"]
MODIFIED = [None, OLDER, "{modified}"]


def holds(match, unmodified, none_match, modified) -> bool:
    """S3's rules: an ETag takes precedence over the date in its pair; both pairs have to hold."""
    first = match != OTHER if match else unmodified != OLDER
    second = none_match == OTHER if none_match else modified != "{modified}"
    return first and second


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def bucket(deployment):
    bucket = make_bucket(deployment)
    assert raw.ask(deployment.target, "PUT", bucket, "source", body=content(SMALL)).status == 200
    assert raw.ask(deployment.backend.target, "PUT", bucket, "plain", body=content(SMALL)).status == 200
    return bucket


@pytest.fixture(scope="module", params=["source", "plain"])
def source(request, deployment, bucket):
    """An object, sealed or plain, with its attributes as clients see them."""
    head = raw.ask(deployment.target, "HEAD", bucket, request.param)
    etag = head.headers["ETag"]
    known = {"etag": etag, "bare": etag.strip('"'), "modified": head.headers["Last-Modified"]}
    return f"/{bucket}/{request.param}", known


CONDITIONS = list(itertools.product(MATCH, UNMODIFIED, NONE_MATCH, MODIFIED))


def test_conditions_on_the_source_decide(deployment, bucket, source, prefix):
    path, known = source
    names = ("match", "unmodified-since", "none-match", "modified-since")
    for number, conditions in enumerate(CONDITIONS):
        key = f"{prefix}{number}"
        headers = {"x-amz-copy-source": path} | {
            f"x-amz-copy-source-if-{name}": value.format(**known)
            for name, value in zip(names, conditions)
            if value is not None
        }
        answer = raw.ask(deployment.target, "PUT", bucket, key, headers=headers)
        if holds(*conditions):
            assert answer.status == 200, (conditions, answer.body)
        else:
            assert_refused(answer, 412, "PreconditionFailed")
            assert_nothing_stored(deployment, bucket, key)


@pytest.mark.parametrize("condition", [{"If-None-Match": "*"}, {"If-Match": OTHER}])
def test_conditions_on_the_target_decide(deployment, bucket, source, key, condition):
    path, _ = source
    if deployment.backend.name == "radosgw":
        pytest.skip("radosgw 16 knows no conditions on writes")
    assert raw.ask(deployment.target, "PUT", bucket, key, body=b"before").status == 200
    headers = {"x-amz-copy-source": path} | condition
    answer = raw.ask(deployment.target, "PUT", bucket, key, headers=headers)
    assert_refused(answer, 412, "PreconditionFailed")
    assert raw.ask(deployment.target, "GET", bucket, key).body == b"before"


def test_target_with_the_etag_that_the_client_knows_is_replaced(deployment, bucket, source, key):
    path, _ = source
    before = raw.ask(deployment.target, "PUT", bucket, key, body=b"before")
    headers = {"x-amz-copy-source": path, "If-Match": before.headers["ETag"]}
    answer = raw.ask(deployment.target, "PUT", bucket, key, headers=headers)
    assert answer.status == 200, answer.body
    assert raw.ask(deployment.target, "GET", bucket, key).body == content(SMALL)
