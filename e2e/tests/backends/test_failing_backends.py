"""A backend with a wrong clock, one that is out of reach, and one that never responds."""

import http.client
import threading
import time

import pytest

import raw
import wire
from aws_stub import AwsStub, Reply, error
from content import LARGE, SMALL, content
from refusal import assert_refused
from tampering import Vault, assert_detected

BUCKET = "bucket"
IMPATIENT = """
[backend]
retry_attempts = 2
retry_base_delay = "10ms"
connect_timeout = "1s"
response_timeout = "1s"
body_timeout = "1s"

[listen]
drain_delay = "0s"
"""
DEBUG = {"S3PROXY_LOG_LEVEL": "debug"}


@pytest.fixture
def stub():
    stub = AwsStub()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def silent():
    """A stub that stays silent as long as a rule demands it; released at the end."""
    stub, released = AwsStub(), threading.Event()
    yield stub, released
    released.set()
    stub.stop()


@pytest.fixture(scope="module")
def impatient(deployments, silent):
    stub, _ = silent
    return deployments.proxy(stub, "proxy-impatient", settings=IMPATIENT, environment=DEBUG)


def refuses_skewed(stub):
    """A rule of AWS: the time in a signature may be 15 minutes away from the server's clock."""

    def rule(seen):
        signed = time.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        server = time.time() + stub.clock_offset
        offset = server - (time.mktime(signed) - time.timezone)
        if abs(offset) < 900:
            return None
        return error(403, "RequestTimeTooSkewed", ServerTime="t", RequestTime="t")

    return rule


@pytest.mark.parametrize("hours", [-1, 1, 23])
def test_backends_clock_is_learned_and_the_client_sees_success(deployments, stub, key, hours):
    stub.clock_offset = hours * 3600
    with stub.answering(refuses_skewed(stub)):
        proxy = deployments.proxy(stub, f"proxy-skewed-{hours}", settings=IMPATIENT)
        put = raw.ask(proxy.target, "PUT", BUCKET, key, body=content(SMALL))
        assert put.status == 200, put.body
        assert raw.ask(proxy.target, "PUT", BUCKET, key, body=content(LARGE)).status == 200
        assert raw.ask(proxy.target, "GET", BUCKET, key).body == content(LARGE)


def test_backends_clock_more_than_a_day_away_is_not_believed(deployments, stub, key):
    with stub.answering(refuses_skewed(stub)):
        proxy = deployments.proxy(stub, "proxy-skewed-26", settings=IMPATIENT)
        stub.clock_offset = 26 * 3600
        answer = raw.ask(proxy.target, "PUT", BUCKET, key, body=content(SMALL))
        assert_refused(answer, 500, "InternalError")
        stub.clock_offset = 0
        assert raw.ask(proxy.target, "PUT", BUCKET, key, body=content(SMALL)).status == 200


def test_clock_that_jumps_is_learned_again(deployments, stub, key):
    with stub.answering(refuses_skewed(stub)):
        proxy = deployments.proxy(stub, "proxy-jumping-clock", settings=IMPATIENT)
        for hours in (0, 3, -3):
            stub.clock_offset = hours * 3600
            assert raw.ask(proxy.target, "PUT", BUCKET, key, body=content(SMALL)).status == 200
            assert raw.ask(proxy.target, "HEAD", BUCKET, key).status == 200
            assert raw.ask(proxy.target, "GET", BUCKET, key).body == content(SMALL)


def test_clock_that_jumps_before_a_stream_is_an_internal_error_once(deployments, stub, key):
    with stub.answering(refuses_skewed(stub)):
        proxy = deployments.proxy(stub, "proxy-jumping-stream", settings=IMPATIENT)
        stub.clock_offset = 3 * 3600
        answer = raw.ask(proxy.target, "PUT", BUCKET, key, body=content(LARGE))
        assert_refused(answer, 500, "InternalError")
        assert raw.ask(proxy.target, "PUT", BUCKET, key, body=content(LARGE)).status == 200


def silent_about(key, released):
    return lambda seen: Reply(200, waits_for=released) if seen.names(key) else None


@pytest.mark.parametrize(("method", "size"), [("GET", 0), ("PUT", SMALL), ("PUT", LARGE)])
def test_silent_backend_is_a_timeout_error(impatient, silent, key, method, size):
    stub, released = silent
    with stub.answering(silent_about(key, released)):
        answer = raw.ask(impatient.target, method, BUCKET, key, body=content(size))
    assert_refused(answer, 503, "ServiceUnavailable")
    assert answer.headers["Retry-After"]


def test_backend_that_falls_silent_inside_a_body_breaks_the_response_off(impatient, silent, key):
    stub, released = silent
    plaintext = content(LARGE)
    assert raw.ask(impatient.target, "PUT", BUCKET, key, body=plaintext).status == 200
    kept = stub.objects[f"/{BUCKET}/{key}"]

    def falls_silent(seen):
        if not seen.names(key):
            return None
        return Reply(200, kept.headers(), kept.body, breaks_after=500_000, waits_for=released)

    with stub.answering(falls_silent):
        assert_detected(Vault(impatient, BUCKET).read(key), plaintext)


def ready(proxy) -> int:
    try:
        return raw.send(raw.request(proxy.target, "GET", key="readyz"), proxy.target).status
    except (OSError, http.client.HTTPException):
        return 0


def wait_until_ready_says(proxy, status):
    deadline = time.monotonic() + 20
    while ready(proxy) != status:
        assert time.monotonic() < deadline, f"/readyz does not say {status}"
        time.sleep(0.1)


def test_backend_out_of_reach_is_an_error_until_it_is_back(deployments):
    stub = AwsStub()
    proxy = deployments.proxy(stub, "proxy-out-of-reach", settings=IMPATIENT, environment=DEBUG)
    target, port = proxy.target, stub.target.port
    assert raw.ask(target, "PUT", BUCKET, "key", body=content(SMALL)).status == 200
    stub.stop()

    for method, body in (("GET", b""), ("PUT", content(SMALL)), ("DELETE", b"")):
        answer = raw.ask(target, method, BUCKET, "key", body=body)
        assert_refused(answer, 503, "ServiceUnavailable")
        assert str(port).encode() not in answer.body
    built = raw.sign(raw.request(target, "PUT", BUCKET, "key", body=content(LARGE)), target)
    assert wire.exchange(target, wire.message(built)).status == 503
    wait_until_ready_says(proxy, 503)
    alive = raw.send(raw.request(target, "GET", key="healthz"), target)
    assert alive.status == 200

    stub = AwsStub(port)
    try:
        wait_until_ready_says(proxy, 200)
        assert raw.ask(target, "PUT", BUCKET, "key", body=content(LARGE)).status == 200
        assert raw.ask(target, "GET", BUCKET, "key").body == content(LARGE)
    finally:
        stub.stop()
