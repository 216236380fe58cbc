"""Requests that two programs could read in two ways, or that are meant for another server.

Each gets 400 and causes no backend request. If the framing is in doubt, the connection closes after
the response, so that the bytes that follow are not taken for a request.
"""

import pytest

import raw
import wire
from content import LARGE, SMALL, content
from refusal import assert_nothing_stored, assert_refused, put

SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def target(debugging):
    return debugging.target


@pytest.fixture
def signed(debugging, untouched, key):
    """A correct PUT for a test to spoil."""
    return raw.sign(put(debugging.target, untouched, key, content(SMALL)), debugging.target)


def refused_and_closed(target, data, *statuses):
    """Sends bytes followed by a second request, which must get no response."""
    with wire.connect(target) as connection:
        connection.sendall(data + SMUGGLED)
        answer = wire.answer_to(connection)
        assert answer.status in (statuses or (400,)), answer.body
        assert answer.rest == b""
        assert wire.is_closed(connection)
    return answer


def repeat(name):
    return lambda built: built.headers.append((name, built.header(name)))


def add(name, value):
    return lambda built: built.headers.append((name, value))


DOUBLED = {
    "host": repeat("Host"),
    "other-host": add("Host", "localhost"),
    "authorization": repeat("Authorization"),
    "x-amz-date": repeat("x-amz-date"),
    "x-amz-content-sha256": repeat("x-amz-content-sha256"),
    "range": lambda built: built.headers.extend([("Range", "bytes=0-1"), ("Range", "bytes=0-2")]),
    "upgrade": add("Upgrade", "h2c"),
    "upgrade-by-connection": add("Connection", "upgrade"),
    "no-host": lambda built: built.drop_header("Host"),
}


@pytest.mark.parametrize("spoil", DOUBLED.values(), ids=DOUBLED)
def test_ambiguous_head_is_refused(debugging, target, untouched, key, signed, spoil):
    spoil(signed)
    assert_refused(refused_and_closed(target, wire.message(signed)), 400, "InvalidRequest")
    assert_nothing_stored(debugging, untouched, key)


TWO_FRAMINGS = {
    "transfer-encoding-last": [("Content-Length", "6"), ("Transfer-Encoding", "chunked")],
    "transfer-encoding-first": [("Transfer-Encoding", "chunked"), ("Content-Length", "6")],
    "two-lengths": [("Content-Length", "6"), ("Content-Length", "7")],
    "list-of-lengths": [("Content-Length", "6, 7")],
    "negative-length": [("Content-Length", "-6")],
    "signed-length": [("Content-Length", "+6")],
    "unknown-coding": [("Transfer-Encoding", "gzip")],
    "coding-behind-chunked": [("Transfer-Encoding", "chunked, gzip")],
    "disguised-chunked": [("Transfer-Encoding", "xchunked"), ("Content-Length", "6")],
}


@pytest.mark.parametrize("headers", TWO_FRAMINGS.values(), ids=TWO_FRAMINGS)
def test_connection_with_two_framings_is_closed(debugging, target, untouched, key, headers):
    built = put(target, untouched, key, b"")
    built.drop_header("Content-Length")
    raw.sign(built, target, payload=raw.UNSIGNED)
    built.headers.extend(headers)
    # The HTTP library responds with 411 to some Transfer-Encodings (RFC 9112, section 6.1), and
    # closes.
    refused_and_closed(target, wire.head(built) + b"0\r\n\r\nX", 400, 411)
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("order", [1, -1])
def test_connection_is_closed_also_where_a_body_of_two_framings_does_no_harm(
    target, untouched, key, order
):
    built = raw.sign(raw.request(target, "GET", untouched, key), target, payload=raw.UNSIGNED)
    built.headers.extend([("Transfer-Encoding", "chunked"), ("Content-Length", "6")][::order])
    refused_and_closed(target, wire.head(built) + b"0\r\n\r\nX", 400, 404)


def test_space_before_a_colon_is_refused(target, untouched, key, debugging, signed):
    data = wire.message(signed).replace(b"Content-Length:", b"Content-Length :")
    refused_and_closed(target, data)
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize(
    "name", ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires"]
)
def test_doubled_parameter_of_a_signature_is_refused(debugging, target, untouched, key, name):
    built = raw.presign(put(target, untouched, key, content(SMALL)), target)
    pairs = [pair for pair in built.query.split("&") if pair.startswith(name + "=")]
    built.query += "&" + pairs[0]
    assert_refused(raw.send(built, target), 400, "InvalidRequest")
    assert_nothing_stored(debugging, untouched, key)


def test_two_authentications_are_refused(debugging, target, untouched, key):
    built = raw.presign(put(target, untouched, key, content(SMALL)), target)
    raw.sign(built, target)
    assert_refused(raw.send(built, target), 400, "InvalidRequest")
    assert_nothing_stored(debugging, untouched, key)


def test_absolute_form_of_another_host_is_refused(debugging, target, untouched, key, signed):
    signed.path = f"http://other.example{signed.path}"
    assert_refused(refused_and_closed(target, wire.message(signed)), 400, "InvalidRequest")
    assert_nothing_stored(debugging, untouched, key)


def test_connect_is_refused(target):
    built = raw.Request("CONNECT", "example.com:443", headers=[("Host", "example.com:443")])
    refused_and_closed(target, wire.head(built))


@pytest.mark.parametrize(
    "host", ["bucket.s3-accelerate.amazonaws.com", "user@s3proxy", "a b", "127.0.0.1:80:80", ""]
)
def test_host_that_is_malformed_or_another_services_is_refused(debugging, target, untouched, key, host):
    built = put(target, untouched, key, content(SMALL))
    built.set_header("Host", host)
    raw.sign(built, target)
    answer = wire.exchange(target, wire.message(built))
    assert answer.status == 400, answer.body
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("path", ["/%zz", "/%", "/%ff%fe", "/%C0%AE"])
def test_path_that_is_no_text_is_refused(target, untouched, path):
    built = raw.request(target, "GET", untouched)
    built.path = f"/{untouched}{path}"
    raw.sign(built, target)
    assert_refused(wire.exchange(target, wire.message(built)), 400, "InvalidURI")


@pytest.mark.parametrize("size", [SMALL, 1024 * 1024], ids=["small", "one-mebibyte"])
def test_early_refusal_reads_the_body_and_keeps_the_connection(target, untouched, key, size):
    built = put(target, untouched, key, content(size))
    raw.sign(built, target)
    built.set_header("x-amz-meta-added", "unsigned")
    with wire.connect(target) as connection:
        connection.sendall(wire.message(built))
        assert_refused(wire.answer_to(connection), 403, "AccessDenied")
        connection.sendall(SMUGGLED)
        assert wire.answer_to(connection).status == 200


@pytest.mark.parametrize("header", ["x-amz-future-feature", "x-amz-object-ownership-2"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])
def test_unknown_amz_header_on_a_write_is_refused(debugging, target, untouched, key, header, size):
    built = put(target, untouched, key, content(size), {header: "on"})
    answer = wire.exchange(target, wire.message(raw.sign(built, target, payload=raw.UNSIGNED)))
    assert_refused(answer, 501, "NotImplemented")
    assert_nothing_stored(debugging, untouched, key)


UNKNOWN_PARAMETERS = ["futureFeature", "uploadsX", "ACL", "versionID=1"]


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize("query", UNKNOWN_PARAMETERS)
def test_unknown_parameter_is_refused(debugging, target, untouched, key, method, query):
    body = content(SMALL) if method in ("PUT", "POST") else b""
    answer = raw.ask(target, method, untouched, key, query=query, body=body)
    assert answer.status == (405 if method == "POST" else 501)
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", UNKNOWN_PARAMETERS)
def test_unknown_parameter_of_a_read_is_ignored(target, touched, key, method, query):
    """As S3 ignores it: applications put tags for access logs and cache busters there."""
    body = content(SMALL)
    assert raw.send(raw.sign(put(target, touched, key, body), target), target).status == 200
    answer = raw.ask(target, method, touched, key, query=query)
    assert (answer.status, answer.body) == (200, body if method == "GET" else b"")


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-meta-isec",
        "x-amz-meta-constellation-dek",
        "X-Amz-Meta-ISEC",
        "x-amz-meta-isec-kek-ver",
        "X-Amz-Meta-Constellation-Dek-Kek-Ver",
    ],
)
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])
@pytest.mark.parametrize("value", ["s3p1.AAAA", "00" * 40, "anything"])
def test_metadata_that_belongs_to_the_proxy_is_refused(
    debugging, target, untouched, key, name, value, size
):
    built = put(target, untouched, key, content(size), {name: value})
    answer = wire.exchange(target, wire.message(raw.sign(built, target, payload=raw.UNSIGNED)))
    assert_refused(answer, 400, "InvalidArgument")
    assert_nothing_stored(debugging, untouched, key)


def test_envelope_in_the_query_of_a_presigned_url_is_refused(debugging, target, untouched, key):
    built = raw.request(
        target, "PUT", untouched, key, query="x-amz-meta-isec=s3p1.AAAA", body=content(SMALL)
    )
    assert_refused(raw.send(raw.presign(built, target), target), 400, "InvalidArgument")
    assert_nothing_stored(debugging, untouched, key)
