"""Connections: reused, limited, and told to continue; and their end after SIGTERM."""

import http.client
import json
import os
import signal
import socket
import time
from contextlib import suppress

import pytest

import raw
import wire
from content import LARGE, SMALL, content
from refusal import assert_nothing_stored, assert_refused, put, stored_keys

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
TIGHT = """
[listen]
max_header_bytes = "8 KiB"
header_timeout = "1s"
idle_timeout = "2s"
body_timeout = "1s"
drain_delay = "0s"
"""


@pytest.fixture(scope="module")
def tight(deployments):
    """A proxy with short timeouts and small limits."""
    return deployments.proxy(deployments.server("seaweedfs"), "proxy-tight", settings=TIGHT)


def seconds_until_closed(connection) -> float:
    started = time.monotonic()
    wire.receive(connection)
    return time.monotonic() - started


# Keep-alive


def test_connection_is_used_again_after_every_kind_of_answer(debugging, touched, key):
    target = debugging.target
    expected = [
        (put(target, touched, key, content(LARGE)), 200),
        (raw.request(target, "GET", touched, key), 200),
        (raw.request(target, "GET", touched, key, headers={"Range": "bytes=5-9"}), 206),
        (raw.request(target, "GET", touched, key + "-missing"), 404),
        (raw.request(target, "GET", touched, query="list-type=2"), 200),
        (put(target, touched, key, b""), 200),
        (raw.request(target, "DELETE", touched, key), 204),
    ]
    with wire.connect(target) as connection:
        for built, status in expected:
            connection.sendall(wire.message(raw.sign(built, target)))
            answer = wire.answer_to(connection)
            assert (answer.status, answer.complete, answer.rest) == (status, True, b"")
            if answer.headers.get("Connection") == "close":
                assert status == 404, "only errors may end a connection"
                connection.close()
                connection = wire.connect(target)
        connection.sendall(PROBE)
        assert wire.answer_to(connection).status == 200


def test_requests_sent_at_once_are_answered_in_order(debugging, touched, key):
    target = debugging.target
    together = [put(target, touched, key, content(SMALL)), raw.request(target, "GET", touched, key)]
    with wire.connect(target) as connection:
        connection.sendall(b"".join(wire.message(raw.sign(built, target)) for built in together))
        first = wire.answer_to(connection)
        assert first.status == 200
        second = wire.parse(first.rest, connection)
        assert (second.status, second.body) == (200, content(SMALL))


def test_client_of_http_1_0_is_answered_and_closed(debugging, touched, key):
    target = debugging.target
    raw.ask(target, "PUT", touched, key, body=content(SMALL))
    built = raw.sign(raw.request(target, "GET", touched, key), target)
    with wire.connect(target) as connection:
        connection.sendall(wire.message(built, "HTTP/1.0"))
        answer = wire.answer_to(connection)
        assert (answer.status, answer.body) == (200, content(SMALL))
        assert wire.is_closed(connection)


def test_idle_connection_is_closed_after_its_time(tight):
    with wire.connect(tight.target) as connection:
        connection.sendall(PROBE)
        assert wire.answer_to(connection).status == 200
        waited = seconds_until_closed(connection)
    assert 1.5 < waited < 8


# Request heads


def test_slow_head_is_cut_off_before_the_idle_time(tight):
    with wire.connect(tight.target) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        connection.settimeout(0.2)
        closed = False
        while not closed and time.monotonic() - started < 8:
            # One more header before every pause: sending bytes must not extend the timeout.
            with suppress(OSError):
                connection.sendall(b"x-slow: 1\r\n")
            with suppress(socket.timeout):
                wire.receive(connection)
                closed = True
        waited = time.monotonic() - started
    assert closed and 0.5 < waited < 6


def test_head_above_the_limit_is_refused(tight, touched, key):
    target = tight.target
    built = put(target, touched, key, content(SMALL), {"x-amz-meta-long": "m" * 9000})
    answer = wire.exchange(target, wire.message(raw.sign(built, target)))
    assert answer.status in (400, 431)
    assert_nothing_stored(tight, touched, key)


def test_head_below_the_limit_is_read(tight, touched, key):
    target = tight.target
    built = raw.request(target, "GET", touched, key, headers={"x-long": "m" * 5000})
    raw.sign(built, target)
    assert wire.exchange(target, wire.message(built)).status == 404


def test_body_that_stops_arriving_is_abandoned(tight, touched, key):
    target = tight.target
    for size in (SMALL, LARGE):
        built = raw.sign(put(target, touched, key, content(size)), target)
        with wire.connect(target) as connection:
            connection.sendall(wire.head(built) + built.body[: size // 2])
            answer = wire.answer_to(connection)
            assert_refused(answer, 400, "RequestTimeout")
            assert wire.is_closed(connection)
        assert_nothing_stored(tight, touched, key)


# Expect: 100-continue


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])
def test_body_is_asked_for_when_the_request_is_right(debugging, touched, key, size):
    target = debugging.target
    built = put(target, touched, key, content(size), {"Expect": "100-continue"})
    raw.sign(built, target, unsigned_headers=("content-length", "expect"))
    with wire.connect(target) as connection:
        connection.sendall(wire.head(built))
        assert wire.answer_to(connection).status == 100
        connection.sendall(built.body)
        assert wire.answer_to(connection).status == 200
    assert raw.ask(target, "GET", touched, key).body == content(size)


WRONG = {
    "signature": lambda built: built.set_header("x-amz-meta-a", "altered"),
    "unsigned-header": lambda built: built.set_header("x-amz-meta-b", "added"),
    "date": lambda built: built.set_header("x-amz-date", "20200101T000000Z"),
    "authorization": lambda built: built.drop_header("Authorization"),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("size", [SMALL, LARGE, 5 * 1024**3], ids=["held", "streamed", "5-GiB"])
def test_body_of_a_refused_request_is_never_asked_for(debugging, untouched, key, spoil, size):
    target = debugging.target
    built = put(target, untouched, key, b"", {"Expect": "100-continue", "x-amz-meta-a": "signed"})
    built.set_header("Content-Length", str(size))
    unsigned = ("content-length", "expect")
    raw.sign(built, target, payload=raw.UNSIGNED, unsigned_headers=unsigned)
    spoil(built)
    with wire.connect(target) as connection:
        connection.sendall(wire.head(built))
        answer = wire.answer_to(connection)
        assert answer.status in (400, 403), "no 100 before the signature is verified"
        assert wire.is_closed(connection), "a body that was not sent cannot be passed over"
    assert_nothing_stored(debugging, untouched, key)


# The drain


SLOW_DRAIN = """
[listen]
drain_delay = "2s"
drain_timeout = "15s"
"""
SHORT_DRAIN = """
[listen]
drain_delay = "0s"
drain_timeout = "1s"
"""


def begin_upload(connection, target, bucket, key, body, first):
    """Sends the head, waits until the proxy asks for the body, and sends the body's first bytes."""
    built = put(target, bucket, key, body, {"Expect": "100-continue"})
    raw.sign(built, target, unsigned_headers=("content-length", "expect"))
    connection.sendall(wire.head(built))
    assert wire.answer_to(connection).status == 100
    connection.sendall(body[:first])


def begin_drain(proxy):
    os.kill(proxy.process_id, signal.SIGTERM)
    proxy.wait_for_log('"draining"')


def test_drain_finishes_requests_in_flight(deployments, touched, key):
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-drained", settings=SLOW_DRAIN)
    proxy, target = deployment.proxy, deployment.target
    body = content(LARGE)
    with wire.connect(target) as upload, wire.connect(target) as idle:
        begin_upload(upload, target, touched, key, body, first=200_000)
        idle.sendall(PROBE)
        assert wire.answer_to(idle).status == 200
        begin_drain(proxy)

        ready = raw.send(raw.request(target, "GET", key="readyz"), target)
        assert ready.status == 503
        assert raw.send(raw.request(target, "GET", key="healthz"), target).status == 200
        late = raw.ask(target, "GET", touched, key + "-missing")
        assert (late.status, late.headers["Connection"]) == (404, "close")

        # The listener closes after the delay; the upload is still in flight.
        assert wire.is_closed(idle)
        with pytest.raises(ConnectionRefusedError):
            wire.connect(target)
        upload.sendall(body[200_000:])
        answer = wire.answer_to(upload)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert proxy.stop() == 0
    assert "drained; all requests finished" in proxy.log_text()
    assert stored_keys(deployment, touched, key) == [key]


def test_drain_waits_no_longer_than_its_timeout(deployments, untouched, key):
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-cut-off", settings=SHORT_DRAIN)
    proxy, target = deployment.proxy, deployment.target
    with wire.connect(target) as upload:
        begin_upload(upload, target, untouched, key, content(LARGE), first=200_000)
        begin_drain(proxy)
        started = time.monotonic()
        assert proxy.stop() == 0
        assert time.monotonic() - started < 10
        assert wire.answer_to(upload).status in (0, 400, 500, 503)
    assert "drain timeout: connections were aborted" in proxy.log_text()
    assert_nothing_stored(deployment, untouched, key)


def test_download_in_flight_is_finished_in_a_drain(deployments, touched, key):
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-drained-get", settings=SLOW_DRAIN)
    proxy, target = deployment.proxy, deployment.target
    # More than the socket buffers hold, so that the response is still in flight.
    body = content(20 * 1024 * 1024)
    assert raw.ask(target, "PUT", touched, key, body=body).status == 200
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    built = raw.sign(raw.request(target, "GET", touched, key), target)
    connection.request("GET", built.line, headers=dict(built.headers))
    answer = connection.getresponse()
    begun = answer.read(1000)
    begin_drain(proxy)
    assert begun + answer.read() == body
    connection.close()
    assert proxy.stop() == 0


def test_connection_in_use_in_a_drain_takes_one_more_request(deployments, touched, key):
    """The client cannot know better: the response in flight began before the drain."""
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-drained-kept", settings=SLOW_DRAIN)
    proxy, target = deployment.proxy, deployment.target
    body = content(20 * 1024 * 1024)
    assert raw.ask(target, "PUT", touched, key, body=body).status == 200
    with wire.connect(target) as connection:
        asked = wire.message(raw.sign(raw.request(target, "GET", touched, key), target))
        connection.sendall(asked)
        begun = connection.recv(1000)
        begin_drain(proxy)
        wait_until_refused(target)
        first = wire.parse(begun, connection)
        assert (first.status, first.headers["Connection"], first.body == body) == (200, None, True)
        connection.sendall(asked)
        second = wire.answer_to(connection)
        assert (second.status, second.headers["Connection"]) == (200, "close")
        assert second.body == body
        assert wire.is_closed(connection)
    assert proxy.stop() == 0
    assert "drained; all requests finished" in proxy.log_text()


def wait_until_refused(target):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            wire.connect(target).close()
        except ConnectionError:
            return
    raise AssertionError("the drain's delay does not end")


def test_log_lines_of_a_drain_are_json(deployments):
    server = deployments.server("seaweedfs")
    proxy = deployments.proxy(server, "proxy-short-life", settings=SHORT_DRAIN).proxy
    assert proxy.stop() == 0
    messages = [json.loads(line)["message"] for line in proxy.log_text().splitlines()]
    assert "serving" in messages and "draining" in messages
