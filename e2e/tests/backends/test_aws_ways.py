"""Behaviour of AWS that no server here has: clients must see correct S3 responses nevertheless.

The backend is a stub that stores objects and responds as AWS would, or as a test's rule demands.
"""

import pytest

import raw
from aws_stub import HOST_ID, AwsStub, Reply, always, error, once
from chunks import checksum
from content import LARGE, SMALL, content
from refusal import assert_refused

BUCKET = "bucket"
QUICK = """
[backend]
retry_base_delay = "10ms"
retry_max_delay = "50ms"

[listen]
drain_delay = "0s"
"""
XML_LISTS = {"v2": "list-type=2", "v1": "max-keys=5", "versions": "versions"}


@pytest.fixture(scope="module")
def stub():
    stub = AwsStub()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def elsewhere():
    """Another server, the target of redirects: it must never get a request."""
    stub = AwsStub()
    yield stub
    assert stub.seen == []
    stub.stop()


@pytest.fixture(scope="module")
def proxy(deployments, stub):
    environment = {"S3PROXY_LOG_LEVEL": "debug"}
    return deployments.proxy(stub, "proxy-before-stub", settings=QUICK, environment=environment)


@pytest.fixture
def ask(proxy, key):
    """Sends one request about the test's own key, or about its bucket with `key=""`."""

    def ask(method, key=key, **parts):
        return raw.ask(proxy.target, method, BUCKET, key, **parts)

    return ask


@pytest.fixture
def present(ask, key):
    """A sealed object under the test's key; the value is its path."""
    assert ask("PUT", body=content(LARGE)).status == 200
    return f"/{BUCKET}/{key}"


def delete_batch(ask, key):
    text = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    return ask("POST", key="", query="delete", body=text)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("region", [None, "eu-west-1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_redirect_to_another_host_is_neither_followed_nor_relayed(
    stub, elsewhere, ask, key, status, region, method
):
    path = f"/{BUCKET}/{key}"
    headers = {"Location": f"{elsewhere.target.url}{path}"}
    if region:
        headers["x-amz-bucket-region"] = region
    code = "PermanentRedirect" if status == 301 else "TemporaryRedirect"
    reply = error(status, code, Endpoint=elsewhere.target.authority, Bucket=BUCKET)
    reply = Reply(status, reply.headers | headers, reply.body)
    with stub.answering(always(reply, path)):
        answer = ask(method, body=content(SMALL) if method == "PUT" else b"")
    assert answer.status == 500
    assert method == "HEAD" or answer.code == "InternalError"
    nothing_of_the_backend(answer, elsewhere.target.authority)
    assert answer.headers["Location"] is None


@pytest.mark.parametrize("status", [301, 307])
def test_redirect_of_a_stream_is_not_relayed(stub, elsewhere, ask, key, status):
    path = f"/{BUCKET}/{key}"
    reply = Reply(status, {"Location": f"{elsewhere.target.url}{path}"})
    with stub.answering(always(reply, path)):
        answer = ask("PUT", body=content(LARGE))
    assert_refused(answer, 500, "InternalError")
    assert answer.headers["Location"] is None


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("with_location", [True, False])
def test_redirect_to_another_region_of_the_backend_is_followed(
    stub, ask, key, status, with_location
):
    path = f"/{BUCKET}/{key}"
    headers = {"x-amz-bucket-region": "eu-west-1"}
    if with_location:
        headers["Location"] = f"{stub.target.url}{path}"

    def until_signed_for_region(seen):
        if seen.path != path or seen.region == "eu-west-1":
            return None
        return Reply(status, headers)

    with stub.answering(until_signed_for_region):
        assert ask("PUT", body=content(SMALL)).status == 200
        assert ask("GET").body == content(SMALL)
        assert ask("HEAD").headers["Content-Length"] == str(SMALL)
    assert stub.about(path)[-1].region == "eu-west-1"


def test_second_redirect_in_a_row_is_not_followed(stub, ask, present):
    turn = iter(["us-west-1", "us-west-2", "us-west-3", "us-west-4"])

    def onwards(seen):
        return Reply(307, {"x-amz-bucket-region": next(turn)}) if seen.names(present) else None

    before = len(stub.about(present))
    with stub.answering(onwards):
        assert_refused(ask("GET"), 500, "InternalError")
    assert len(stub.about(present)) == before + 2


# 200 with an error inside


def error_with_200():
    reply = error(500, "InternalError", "We encountered an internal error. Please try again.")
    return Reply(200, reply.headers, reply.body)


@pytest.mark.parametrize("query", XML_LISTS.values(), ids=XML_LISTS)
def test_listing_with_an_error_inside_is_an_error(stub, ask, query):
    with stub.answering(lambda seen: error_with_200() if seen.query else None):
        answer = ask("GET", key="", query=query)
    assert answer.status >= 500
    assert answer.code
    assert HOST_ID.encode() not in answer.body


def test_batch_with_an_error_inside_is_an_error(stub, ask, key):
    with stub.answering(lambda seen: error_with_200() if "delete" in seen.query else None):
        answer = delete_batch(ask, key)
    assert answer.status >= 500
    assert answer.code


def test_list_of_buckets_with_an_error_inside_is_an_error(stub, proxy):
    with stub.answering(lambda seen: error_with_200() if seen.method == "GET" else None):
        answer = raw.ask(proxy.target, "GET")
    assert answer.status >= 500
    assert answer.code


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])
def test_write_without_its_result_is_an_error(stub, ask, key, size):
    with stub.answering(once(error_with_200(), times=5, method="PUT", path=key)):
        answer = ask("PUT", body=content(size))
    assert answer.status >= 500
    assert answer.code


# Checksums of stored bytes


def test_checksums_of_stored_bytes_reach_no_client(stub, ask, present):
    mode = {"x-amz-checksum-mode": "ENABLED"}
    answers = {
        "PUT": ask("PUT", body=content(LARGE)),
        "GET": ask("GET"),
        "GET, checksum": ask("GET", headers=mode),
        "range, checksum": ask("GET", headers=mode | {"Range": "bytes=0-9"}),
        "HEAD, checksum": ask("HEAD", headers=mode),
        "list": ask("GET", key="", query="list-type=2"),
    }
    assert "x-amz-checksum-crc64nvme" in stub.objects[present].headers()
    for name, answer in answers.items():
        assert answer.status in (200, 206), name
        assert [h for h in answer.headers if h.lower().startswith("x-amz-checksum")] == [], name
    assert b"Checksum" not in answers["list"].body
    assert str(LARGE) in answers["list"].elements("Size")


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32"])
def test_checksum_of_the_plaintext_comes_back(ask, algorithm):
    name, value = f"x-amz-checksum-{algorithm}", checksum(algorithm, content(SMALL))
    assert ask("PUT", body=content(SMALL), headers={name: value}).headers[name] == value
    mode = {"x-amz-checksum-mode": "ENABLED"}
    for method in ("GET", "HEAD"):
        answer = ask(method, headers=mode)
        assert answer.headers[name] == value
        sent = [h for h in answer.headers if h.lower().startswith("x-amz-checksum-crc")]
        assert [h.lower() for h in sent] == [name]


def test_clients_checksum_does_not_go_to_the_backend_with_other_bytes(stub, ask, key):
    headers = {"x-amz-checksum-crc32": checksum("crc32", content(SMALL))}
    assert ask("PUT", body=content(SMALL), headers=headers).status == 200
    sent = stub.about(key)[-1].headers
    assert headers["x-amz-checksum-crc32"] not in sent.values()


# Throttling and transient errors


REPEATABLE = {
    "GET": lambda ask: ask("GET"),
    "HEAD": lambda ask: ask("HEAD"),
    "PUT": lambda ask: ask("PUT", body=content(SMALL)),
    "DELETE": lambda ask: ask("DELETE"),
}
TROUBLE = {
    "slow-down": error(503, "SlowDown", "Please reduce your request rate."),
    "unavailable": error(503, "ServiceUnavailable"),
    "internal": error(500, "InternalError"),
    "bad-gateway": Reply(502, {"Content-Type": "text/html"}, b"<html>no XML</html>"),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
@pytest.mark.parametrize("request_once", REPEATABLE.values(), ids=REPEATABLE)
def test_transient_error_is_not_seen_by_the_client(stub, ask, present, trouble, request_once):
    before = len(stub.about(present))
    with stub.answering(once(trouble, times=2, path=present)):
        assert request_once(ask).status in (200, 204)
    assert len(stub.about(present)) == before + 3


def test_listing_is_repeated_too(stub, ask, present):
    with stub.answering(once(TROUBLE["slow-down"], times=2, path=f"/{BUCKET}")):
        assert ask("GET", key="", query="list-type=2").status == 200


@pytest.mark.parametrize("request_once", REPEATABLE.values(), ids=REPEATABLE)
def test_lasting_slow_down_is_passed_on(stub, ask, present, request_once):
    before = len(stub.about(present))
    with stub.answering(always(TROUBLE["slow-down"], present)):
        answer = request_once(ask)
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert not answer.body or answer.code == "SlowDown"
    assert len(stub.about(present)) == before + 3


def test_slow_down_of_a_stream_is_passed_on_and_not_repeated(stub, ask, key):
    path = f"/{BUCKET}/{key}"
    with stub.answering(once(TROUBLE["slow-down"], path=path)):
        answer = ask("PUT", body=content(LARGE))
    assert_refused(answer, 503, "SlowDown")
    assert answer.headers["Retry-After"]
    assert len(stub.about(path)) == 1
    assert path not in stub.objects


def test_conditional_write_that_may_have_worked_is_not_repeated(stub, ask, key):
    path = f"/{BUCKET}/{key}"
    with stub.answering(once(TROUBLE["internal"], path=path)):
        answer = ask("PUT", body=content(SMALL), headers={"If-None-Match": "*"})
    assert_refused(answer, 500, "InternalError")
    assert len(stub.about(path)) == 1


# Errors about the proxy's own credential, clock and signature


OWN_FAULTS = {
    "SignatureDoesNotMatch": (
        403,
        {
            "AWSAccessKeyId": "AKIAOFTHEPROXY",
            "StringToSign": "AWS4-HMAC-SHA256 20261121",
            "SignatureProvided": "0123456789abcdef" * 4,
            "StringToSignBytes": "41 57 53",
            "CanonicalRequest": "PUT /bucket/key",
        },
    ),
    "InvalidAccessKeyId": (403, {"AWSAccessKeyId": "AKIAOFTHEPROXY"}),
    "ExpiredToken": (400, {"Token-0": "session-token-of-the-proxy"}),
    "InvalidToken": (400, {"Token-0": "session-token-of-the-proxy"}),
    "RequestTimeTooSkewed": (403, {"RequestTime": "t", "ServerTime": "t", "MaxAllowed": "900000"}),
    "AuthorizationHeaderMalformed": (400, {"Region": "eu-central-1"}),
    "XAmzContentSHA256Mismatch": (400, {"ClientComputedContentSHA256": "0123456789abcdef" * 4}),
    "BadDigest": (400, {"ExpectedDigest": "digest-of-stored-bytes", "CalculatedDigest": "x"}),
}


@pytest.mark.parametrize("code", OWN_FAULTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "stream", "DELETE"])
def test_fault_of_the_proxy_is_an_internal_error(stub, ask, key, code, method):
    status, details = OWN_FAULTS[code]
    sizes = {"PUT": SMALL, "stream": LARGE}
    message = f"The request signed by {details.get('AWSAccessKeyId', 'nobody')} is not right"
    with stub.answering(always(error(status, code, message, **details), key)):
        answer = ask("PUT" if method == "stream" else method, body=content(sizes.get(method, 0)))
    assert_refused(answer, 500, "InternalError")
    nothing_of_the_backend(answer, code, message, *details, *details.values())


def nothing_of_the_backend(answer, *texts):
    for text in (HOST_ID, "said by the stub", "Endpoint", *texts):
        if len(text) > 3:
            assert text.encode() not in answer.body


def test_backends_own_errors_pass_without_its_internals(stub, ask, key):
    reply = error(403, "AccessDenied", "not you", Endpoint="s3-internal", Region="eu-west-9")
    with stub.answering(always(reply, key)):
        answer = ask("PUT", body=content(SMALL))
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert answer.element("Message") == "not you"
    assert b"s3-internal" not in answer.body and HOST_ID.encode() not in answer.body
    assert answer.headers["x-s3proxy-backend-request-id"] == "STUBREQUESTID0001"
    assert answer.headers["x-amz-request-id"] == answer.element("RequestId")


# Ranges


def test_200_to_a_range_is_handled(stub, ask, present):
    def whole(seen):
        if seen.path != present or "range" not in seen.headers:
            return None
        kept = stub.objects[present]
        return Reply(200, kept.headers(), kept.body)

    with stub.answering(whole):
        for first, last in ((0, 9), (20_000, 50_000), (LARGE - 5, LARGE - 1)):
            answer = ask("GET", headers={"Range": f"bytes={first}-{last}"})
            assert (answer.status, answer.body) == (206, content(LARGE)[first : last + 1])
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{LARGE}"


@pytest.mark.parametrize("first", [SMALL, SMALL + 50, 10**9])
def test_range_beyond_the_plaintext_is_refused_in_plaintext_terms(ask, first):
    assert ask("PUT", body=content(SMALL)).status == 200
    answer = ask("GET", headers={"Range": f"bytes={first}-"})
    assert_refused(answer, 416, "InvalidRange")
    assert answer.headers["Content-Range"] == f"bytes */{SMALL}"
    assert answer.element("ActualObjectSize") == str(SMALL)


def test_another_range_than_was_asked_for_is_refused(stub, ask, present):
    def other(seen):
        if seen.path != present or "range" not in seen.headers:
            return None
        kept = stub.objects[present]
        headers = kept.headers() | {"Content-Range": f"bytes 0-99/{len(kept.body)}"}
        return Reply(206, headers, kept.body[:100])

    with stub.answering(other):
        answer = ask("GET", headers={"Range": "bytes=50000-50009"})
    assert_refused(answer, 500, "InternalError")


# Integrity under object lock


def demands_integrity(seen):
    """A rule of AWS: uploads under object lock carry Content-MD5 or a checksum."""
    shown = [name for name in seen.headers if name.startswith("x-amz-checksum-")]
    if seen.method != "PUT" or shown or {"content-md5", "x-amz-trailer"} & set(seen.headers):
        return None
    return error(
        400,
        "InvalidRequest",
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
        "Object Lock parameters",
    )


@pytest.mark.parametrize(
    "size", [pytest.param(SMALL, id="held"), pytest.param(LARGE, id="streamed")]
)
def test_integrity_demanded_under_object_lock_is_given(stub, ask, key, size):
    lock = {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z",
    }
    with stub.answering(demands_integrity):
        answer = ask("PUT", body=content(size), headers=lock)
    assert answer.status == 200, answer.body
    assert stub.about(key)[-1].headers["x-amz-object-lock-mode"] == "GOVERNANCE"
    assert ask("GET").body == content(size)
