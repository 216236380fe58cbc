"""`auth = none` drops only the signature: framing, checksums, lengths and the protection of the
state prefix stay. The mode has to be set explicitly, and every start logs a warning."""

import pytest

import raw
import wire
from chunks import MODES, checksum, frame, wrong_content, wrong_signature
from content import LARGE, SMALL, content
from refusal import assert_nothing_stored, assert_refused, put
from target import Credential

SIZES = {"held": SMALL, "streamed": LARGE}
NOBODY = Credential("WHOEVER", "whatever")

by_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


@pytest.fixture(scope="module")
def open_to_all(deployments):
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-auth-none",
        environment={"S3PROXY_CLIENTS_AUTH": "none", "S3PROXY_LISTEN_DRAIN_DELAY": "0s"},
    )


@pytest.fixture
def target(open_to_all):
    return open_to_all.target.known_as(NOBODY)


def framed(target, bucket, key, body, mode, value=None, **options):
    trailer = ("x-amz-checksum-crc32", value or checksum("crc32", body))
    built = put(target, bucket, key, body)
    return frame(built, target, mode, trailer=None if mode == "signed" else trailer, **options)


def test_start_warns(open_to_all):
    assert "clients.auth is none: anyone who can reach this proxy" in open_to_all.proxy.log_text()


@by_size
@pytest.mark.parametrize("mode", MODES)
def test_chunks_are_decoded_with_any_signature(open_to_all, target, touched, key, mode, size):
    built = framed(target, touched, key, content(size), mode, wrong=wrong_signature(0))
    assert raw.send(built, target).status == 200
    assert raw.send(raw.request(target, "GET", touched, key), target).body == content(size)


@by_size
def test_chunks_are_decoded_without_any_authorization(target, touched, key, size):
    built = framed(target, touched, key, content(size), "unsigned-trailer")
    built.drop_header("Authorization")
    assert raw.send(built, target).status == 200
    assert raw.send(raw.request(target, "GET", touched, key), target).body == content(size)


@by_size
@pytest.mark.parametrize("mode", ["signed-trailer", "unsigned-trailer"])
def test_wrong_checksum_is_refused(open_to_all, target, untouched, key, mode, size):
    built = framed(target, untouched, key, content(size), mode, wrong=wrong_content(0))
    answer = wire.exchange(target, wire.message(built))
    assert_refused(answer, 400, "BadDigest")
    assert_nothing_stored(open_to_all, untouched, key)


@by_size
def test_wrong_body_hash_is_refused(open_to_all, target, untouched, key, size):
    built = raw.sign(put(target, untouched, key, content(size)), target)
    built.body = built.body[:-1] + b"!"
    assert_refused(wire.exchange(target, wire.message(built)), 400, "XAmzContentSHA256Mismatch")
    assert_nothing_stored(open_to_all, untouched, key)


@by_size
def test_wrong_content_md5_is_refused(open_to_all, target, untouched, key, size):
    headers = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    built = put(target, untouched, key, content(size), headers)
    assert_refused(wire.exchange(target, wire.message(built)), 400, "BadDigest")
    assert_nothing_stored(open_to_all, untouched, key)


def test_state_keys_stay_refused(open_to_all, target, untouched):
    built = put(target, untouched, ".s3proxy/x", b"x")
    assert_refused(raw.send(built, target), 403, "AccessDenied")
    assert_nothing_stored(open_to_all, untouched, ".s3proxy")


def test_ambiguous_requests_stay_refused(target, untouched, key):
    built = raw.presign(raw.request(target, "GET", untouched, key), target)
    raw.sign(built, target)
    assert_refused(raw.send(built, target), 400, "InvalidRequest")
