"""A body that does not match the request's promises is refused, and nothing is stored.

Small bodies are held in memory until they are verified. Large ones are sealed and sent while they
arrive: their last byte must not reach the backend before the whole body was verified.
"""

import base64
import hashlib

import pytest

import raw
import wire
from chunks import ALGORITHMS, MODES, Wrong, checksum, frame, wrong_content, wrong_signature
from content import LARGE, SMALL, content
from refusal import assert_nothing_stored, assert_refused, put

SIZES = {"held": SMALL, "streamed": LARGE}
SIGNED_MODES = ["signed", "signed-trailer"]
TRAILER_MODES = ["signed-trailer", "unsigned-trailer"]
FIRST, LAST = 0, -1
LARGEST_PUT = 5_363_307_328

by_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


@pytest.fixture
def target(debugging):
    return debugging.target


@pytest.fixture
def refused(debugging, untouched, key):
    """Sends a request that must be refused, and inspects the backend afterwards."""

    def send(built, status, code):
        assert_refused(wire.exchange(debugging.target, wire.message(built)), status, code)
        assert_nothing_stored(debugging, untouched, key)

    return send


def trailer_of(body, algorithm="crc32"):
    return f"x-amz-checksum-{algorithm}", checksum(algorithm, body)


def framed(target, bucket, key, body, mode, wrong=None):
    # Small bodies get small chunks, so that there is a middle one.
    options = {"wrong": wrong} if wrong else {}
    return frame(
        put(target, bucket, key, body),
        target,
        mode,
        trailer=None if mode == "signed" else trailer_of(body),
        chunk_bytes=65536 if len(body) > 65536 else 30,
        **options,
    )


def sign_again(built, target):
    built.drop_header("Authorization")
    raw.sign(built, target, payload=MODES["unsigned-trailer"])


def middle(size):
    return size // 65536 // 2 if size > 65536 else 1


@by_size
@pytest.mark.parametrize("mode", MODES)
def test_right_chunks_are_accepted(target, touched, key, mode, size):
    body = content(size)
    assert raw.send(framed(target, touched, key, body, mode), target).status == 200
    assert raw.ask(target, "GET", touched, key).body == body


@by_size
@pytest.mark.parametrize("mode", SIGNED_MODES)
@pytest.mark.parametrize("chunk", ["first", "middle", "last"])
def test_wrong_chunk_signature_is_refused(target, untouched, key, refused, mode, size, chunk):
    number = {"first": FIRST, "middle": middle(size), "last": LAST}[chunk]
    built = framed(target, untouched, key, content(size), mode, wrong_signature(number))
    refused(built, 403, "SignatureDoesNotMatch")


@by_size
@pytest.mark.parametrize("mode", SIGNED_MODES)
@pytest.mark.parametrize("chunk", ["first", "middle"])
def test_chunk_altered_after_signing_is_refused(
    target, untouched, key, refused, mode, size, chunk
):
    number = {"first": FIRST, "middle": middle(size)}[chunk]
    built = framed(target, untouched, key, content(size), mode, wrong_content(number))
    refused(built, 403, "SignatureDoesNotMatch")


@by_size
def test_wrong_signature_of_the_trailer_is_refused(target, untouched, key, refused, size):
    wrong = Wrong(trailer_signature=True)
    built = framed(target, untouched, key, content(size), "signed-trailer", wrong)
    refused(built, 403, "SignatureDoesNotMatch")


@by_size
def test_unsigned_chunk_altered_on_the_way_is_refused(target, untouched, key, refused, size):
    wrong = wrong_content(middle(size))
    built = framed(target, untouched, key, content(size), "unsigned-trailer", wrong)
    refused(built, 400, "BadDigest")


@by_size
def test_chunks_inside_http_chunks_are_accepted(target, touched, key, size):
    built = framed(target, touched, key, content(size), "unsigned-trailer")
    built.drop_header("Content-Length")
    built.headers.append(("Transfer-Encoding", "chunked"))
    built.body = f"{len(built.body):x}\r\n".encode() + built.body + b"\r\n0\r\n\r\n"
    assert wire.exchange(target, wire.message(built)).status == 200
    assert raw.ask(target, "GET", touched, key).body == content(size)


def test_chunks_shorter_than_announced_are_refused(target, untouched, key, refused):
    built = put(target, untouched, key, content(SMALL))
    framed = frame(built, target, "unsigned-trailer", trailer=trailer_of(content(SMALL)))
    framed.set_header("x-amz-decoded-content-length", str(SMALL + 1))
    sign_again(framed, target)
    refused(framed, 400, "IncompleteBody")


def test_announced_trailer_that_is_missing_is_refused(target, untouched, key, refused):
    built = put(target, untouched, key, content(SMALL))
    frame(built, target, "unsigned-trailer")
    built.set_header("x-amz-trailer", "x-amz-checksum-crc32")
    sign_again(built, target)
    refused(built, 400, "MalformedTrailerError")


def test_trailer_that_was_not_announced_is_refused(target, untouched, key, refused):
    built = put(target, untouched, key, content(SMALL))
    frame(built, target, "unsigned-trailer", trailer=trailer_of(content(SMALL)))
    built.drop_header("x-amz-trailer")
    sign_again(built, target)
    refused(built, 400, "MalformedTrailerError")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_right_checksums_are_accepted_and_given_back(target, touched, key, algorithm):
    body = content(SMALL)
    name, value = trailer_of(body, algorithm)
    by_header = put(target, touched, key, body, {name: value})
    by_trailer = frame(
        put(target, touched, key, body), target, "unsigned-trailer", trailer=(name, value)
    )
    for built in (raw.sign(by_header, target), by_trailer):
        assert raw.send(built, target).status == 200
        got = raw.ask(target, "GET", touched, key, headers={"x-amz-checksum-mode": "ENABLED"})
        assert (got.body, got.headers[name]) == (body, value)


@by_size
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_wrong_checksum_header_is_refused(target, untouched, key, refused, algorithm, size):
    name, value = trailer_of(b"other content", algorithm)
    built = put(target, untouched, key, content(size), {name: value})
    refused(raw.sign(built, target, payload=raw.UNSIGNED), 400, "BadDigest")


@by_size
@pytest.mark.parametrize("mode", TRAILER_MODES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_wrong_checksum_trailer_is_refused(
    target, untouched, key, refused, algorithm, mode, size
):
    trailer = trailer_of(b"other content", algorithm)
    built = put(target, untouched, key, content(size))
    refused(frame(built, target, mode, trailer=trailer), 400, "BadDigest")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-checksum-crc32": "AAAA"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "no base64"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-md4": "AAAAAA=="}, 501, "NotImplemented"),
        (
            {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="},
            400,
            "InvalidRequest",
        ),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, 400, "InvalidRequest"),
        ({"Content-MD5": "AAAA"}, 400, "InvalidDigest"),
    ],
)
def test_malformed_checksums_are_refused(target, untouched, key, refused, headers, status, code):
    built = put(target, untouched, key, content(SMALL), headers)
    refused(raw.sign(built, target), status, code)


@by_size
def test_wrong_content_md5_is_refused(target, untouched, key, refused, size):
    wrong = base64.b64encode(hashlib.md5(b"other content").digest()).decode()
    built = put(target, untouched, key, content(size), {"Content-MD5": wrong})
    refused(raw.sign(built, target, payload=raw.UNSIGNED), 400, "BadDigest")


@by_size
def test_right_content_md5_is_accepted(target, touched, key, size):
    right = base64.b64encode(hashlib.md5(content(size)).digest()).decode()
    built = put(target, touched, key, content(size), {"Content-MD5": right})
    assert raw.send(raw.sign(built, target, payload=raw.UNSIGNED), target).status == 200


@by_size
def test_refused_replacement_leaves_the_object_as_it_was(target, touched, key, size):
    assert raw.ask(target, "PUT", touched, key, body=b"first").status == 200
    built = raw.sign(put(target, touched, key, content(size)), target)
    built.body = built.body[:-1] + b"!"
    assert_refused(raw.send(built, target), 400, "XAmzContentSHA256Mismatch")
    assert raw.ask(target, "GET", touched, key).body == b"first"


@by_size
@pytest.mark.parametrize("framing", ["plain", *MODES])
@pytest.mark.parametrize("ending", ["half-closed", "closed"])
def test_body_cut_short_stores_nothing(debugging, untouched, key, size, framing, ending):
    target = debugging.target
    body = content(size)
    if framing == "plain":
        built = raw.sign(put(target, untouched, key, body), target)
    else:
        built = framed(target, untouched, key, body, framing)
    cut = wire.message(built)[: -len(built.body) // 3]
    line = f'"bucket":"{untouched}"'
    lines = debugging.proxy.log_text().count(line)
    if ending == "half-closed":
        answer = wire.exchange(target, cut, then_stop_sending=True)
        # Both are correct: the client has closed its half of the connection and may not get the
        # response.
        assert answer.status in (0, 400)
    else:
        with wire.connect(target) as connection:
            connection.sendall(cut)
    debugging.proxy.wait_for_log(line, count=lines + 1)
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("framing", ["plain", "unsigned-trailer"])
def test_body_that_is_too_large_is_refused_before_a_byte_is_sent(
    debugging, untouched, key, framing
):
    target = debugging.target
    built = put(target, untouched, key, b"")
    built.set_header("Content-Length", str(LARGEST_PUT + 1))
    built.set_header("Expect", "100-continue")
    payload = raw.UNSIGNED
    if framing != "plain":
        built.set_header("x-amz-decoded-content-length", str(LARGEST_PUT + 1))
        built.set_header("Content-Length", str(LARGEST_PUT + 1000))
        payload = MODES[framing]
    raw.sign(built, target, payload=payload)
    assert_refused(wire.exchange(target, wire.head(built)), 400, "EntityTooLarge")
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("framing", ["no-length", "transfer-encoding", "no-decoded-length"])
def test_body_of_unknown_length_is_refused(debugging, untouched, key, framing):
    target = debugging.target
    built = put(target, untouched, key, b"")
    payload = raw.UNSIGNED
    if framing != "no-decoded-length":
        built.drop_header("Content-Length")
    else:
        payload = MODES["unsigned-trailer"]
    if framing == "transfer-encoding":
        built.headers.append(("Transfer-Encoding", "chunked"))
        built.body = b"3\r\nabc\r\n0\r\n\r\n"
    raw.sign(built, target, payload=payload)
    assert_refused(wire.exchange(target, wire.message(built)), 411, "MissingContentLength")
    assert_nothing_stored(debugging, untouched, key)
