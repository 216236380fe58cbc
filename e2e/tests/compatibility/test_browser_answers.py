"""Answers to pages, at real servers: those that the proxy makes itself or puts together carry the CORS headers
that the server gives with its own.
"""

import pytest

import raw
from clients import boto3_client
from deployment import make_bucket
from forms import Form, encode, policy_of, request, signed
from servers import Moto
from trees import MIB

PAGE, ANOTHER = {"Origin": "https://page.test"}, {"Origin": "https://another.test"}
NAMES = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw", "moto"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def bucket(deployment):
    bucket = make_bucket(deployment)
    rule = {
        "AllowedOrigins": [PAGE["Origin"]],
        "AllowedMethods": ["GET", "PUT", "POST"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "x-amz-version-id"],
    }
    boto3_client(deployment.target).put_bucket_cors(
        Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}
    )
    return bucket


def told(answer):
    assert len(answer.headers.get_all("Vary") or []) <= 1
    return [answer.headers.get_all(name) for name in NAMES]


def answers(target, bucket, key, page):
    """Answers that do not come from the server as they are, each with the status that it should have."""

    def ask(method, key, query="", body=b"", **headers):
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return raw.ask(target, method, bucket, key, query=query, body=body, headers=page | more)

    s3 = boto3_client(target)
    s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key + "-parts")["UploadId"]
    part = f"partNumber=%d&uploadId={upload}"
    source = f"/{bucket}/{key}"
    yield "part", 200, ask("PUT", key + "-parts", part % 1, b"x" * (5 * MIB))
    yield "staged part", 200, ask("PUT", key + "-parts", part % 2, b"the last")
    yield "copied part", 200, ask("PUT", key + "-parts", part % 3, x_amz_copy_source=source)
    yield "copy", 200, ask("PUT", key + "-copy", x_amz_copy_source=source)
    yield "range", 206, ask("GET", key, Range="bytes=1-2")
    yield "range beyond the end", 416, ask("GET", key, Range="bytes=100-")
    yield "torrent", 501, ask("GET", key, "torrent")
    yield "wrong digest", 400, ask("PUT", key, body=b"x", Content_MD5="AAAAAAAAAAAAAAAAAAAAAA==")
    yield "unsigned", 403, raw.send(raw.request(target, "GET", bucket, key, headers=page), target)
    form = Form(key + "-form", b"content")
    body = encode(signed(form, target, policy_of(form, bucket)))
    yield "form", 204, raw.send(request(target, bucket, body, **page), target)
    yield "refused form", 403, raw.send(request(target, bucket, encode(Form(key)), **page), target)


def test_page_that_the_rules_name_is_told_so_with_every_answer(deployment, bucket, key):
    for what, status, answer in answers(deployment.target, bucket, key, PAGE):
        assert answer.status == status, (what, answer.body)
        origin, exposed = told(answer)
        assert origin == [PAGE["Origin"]], what
        assert [name.strip() for name in exposed[0].split(",")] == ["ETag", "x-amz-version-id"], what


def test_another_page_is_told_nothing(deployment, bucket, key):
    if isinstance(deployment.backend, Moto):
        pytest.skip("it lets any page read its answers, whatever the rules say")
    for what, status, answer in answers(deployment.target, bucket, key, ANOTHER):
        assert answer.status == status, (what, answer.body)
        assert told(answer) == [None, None], what
