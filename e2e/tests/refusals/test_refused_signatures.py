"""A request is refused, and stores nothing, unless a known client has just signed exactly it."""

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta

import pytest

import raw
from content import LARGE, SMALL, content
from refusal import assert_nothing_stored, assert_refused, put
from target import Credential

SIZES = {"held": SMALL, "streamed": LARGE}
METHODS = ["GET", "HEAD", "PUT", "DELETE"]


@pytest.fixture
def target(debugging):
    return debugging.target


def other_signature(built):
    authorization = built.header("Authorization")
    start, _, signature = authorization.rpartition("=")
    other = signature.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    built.set_header("Authorization", f"{start}={other}")


def change(**fields):
    def apply(built):
        for name, value in fields.items():
            setattr(built, name, value)

    return apply


def header(name, value):
    return lambda built: built.set_header(name, value)


def scope_word(old, new):
    def apply(built):
        built.set_header("Authorization", built.header("Authorization").replace(old, new, 1))

    return apply


AFTER_SIGNING = {
    "signature": (other_signature, 403, "SignatureDoesNotMatch"),
    "key": (lambda built: setattr(built, "path", built.path + "x"), 403, "SignatureDoesNotMatch"),
    "query": (change(query="versionId=null"), 403, "SignatureDoesNotMatch"),
    "signed-header": (header("x-amz-meta-a", "other"), 403, "SignatureDoesNotMatch"),
    "host": (header("Host", "localhost"), 403, "SignatureDoesNotMatch"),
    "region-of-the-scope": (scope_word("/us-east-1/", "/eu-west-1/"), 403, "SignatureDoesNotMatch"),
    "service-of-the-scope": (scope_word("/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed"),
    "end-of-the-scope": (scope_word("aws4_request", "aws4"), 400, "AuthorizationHeaderMalformed"),
    "unsigned-x-amz-header": (header("x-amz-acl", "public-read"), 403, "AccessDenied"),
    "unsigned-x-amz-metadata": (header("x-amz-meta-b", "added"), 403, "AccessDenied"),
    "no-date": (lambda built: built.drop_header("x-amz-date"), 403, "AccessDenied"),
    "no-payload-hash": (lambda b: b.drop_header("x-amz-content-sha256"), 400, "InvalidRequest"),
    "unknown-payload-word": (header("x-amz-content-sha256", "NONE"), 400, "InvalidArgument"),
    "session-token": (header("x-amz-security-token", "token"), 400, "InvalidToken"),
}


@pytest.mark.parametrize("case", AFTER_SIGNING.values(), ids=AFTER_SIGNING)
def test_request_changed_after_signing_is_refused(debugging, target, untouched, key, case):
    alter, status, code = case
    built = put(target, untouched, key, content(SMALL), {"x-amz-meta-a": "signed"})
    raw.sign(built, target)
    alter(built)
    assert_refused(raw.send(built, target), status, code)
    assert_nothing_stored(debugging, untouched, key)


def test_unchanged_request_is_accepted(target, touched, key):
    built = put(target, touched, key, content(SMALL), {"x-amz-meta-a": "signed"})
    assert raw.send(raw.sign(built, target), target).status == 200


@pytest.mark.parametrize("method", METHODS)
def test_wrong_secret_is_refused_with_every_method(debugging, untouched, key, method):
    target = debugging.target
    stranger = target.known_as(replace(target.credential, secret_key="not-the-secret"))
    body = content(SMALL) if method == "PUT" else b""
    answer = raw.ask(stranger, method, untouched, key, body=body)
    assert answer.status == 403
    assert method == "HEAD" or answer.code == "SignatureDoesNotMatch"
    assert_nothing_stored(debugging, untouched, key)


def test_refusal_names_the_received_host_and_nothing_computed(target, untouched, key):
    built = raw.sign(raw.request(target, "GET", untouched, key), target)
    built.path += "x"
    answer = raw.send(built, target)
    assert target.authority in answer.element("Message")
    right = raw.sign(built, target).header("Authorization").rpartition("=")[2]
    assert right.encode() not in answer.body


def test_unknown_access_key_is_refused(target, untouched, key):
    stranger = target.known_as(Credential("UNKNOWNACCESSKEY0001", "some-secret"))
    answer = raw.ask(stranger, "PUT", untouched, key, body=content(SMALL))
    assert_refused(answer, 403, "InvalidAccessKeyId")
    url = raw.presign(raw.request(stranger, "GET", untouched, key), stranger)
    assert_refused(raw.send(url, target), 403, "InvalidAccessKeyId")


def test_unsigned_request_is_refused(target, untouched, key):
    answer = raw.send(put(target, untouched, key, content(SMALL)), target)
    assert_refused(answer, 403, "AccessDenied")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_body_other_than_the_signed_one_is_refused(debugging, target, untouched, key, size):
    built = raw.sign(put(target, untouched, key, content(size)), target)
    built.body = built.body[:-1] + b"!"
    assert_refused(raw.send(built, target), 400, "XAmzContentSHA256Mismatch")
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_hash_of_another_body_is_refused(debugging, target, untouched, key, size):
    wrong = hashlib.sha256(b"another body").hexdigest()
    built = raw.sign(put(target, untouched, key, content(size)), target, payload=wrong)
    assert_refused(raw.send(built, target), 400, "XAmzContentSHA256Mismatch")
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_clock_twenty_minutes_off_is_refused(debugging, target, untouched, key, minutes):
    built = put(target, untouched, key, content(SMALL))
    raw.sign(built, target, clock_offset=timedelta(minutes=minutes))
    assert_refused(raw.send(built, target), 403, "RequestTimeTooSkewed")
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clock_fourteen_minutes_off_is_accepted(target, touched, key, minutes):
    built = put(target, touched, key, content(SMALL))
    raw.sign(built, target, clock_offset=timedelta(minutes=minutes))
    assert raw.send(built, target).status == 200


def test_presigned_urls_work_with_every_method(target, touched, key):
    def send(method, body=b""):
        built = raw.request(target, method, touched, key, body=body)
        return raw.send(raw.presign(built, target), target)

    assert send("PUT", content(LARGE)).status == 200
    assert send("GET").body == content(LARGE)
    assert send("HEAD").headers["Content-Length"] == str(LARGE)
    assert send("DELETE").status == 204
    assert send("GET").code == "NoSuchKey"


PRESIGNED = {
    "expired": ({"seconds": 60, "clock_offset": timedelta(minutes=-2)}, 403, "AccessDenied"),
    "not-yet-valid": ({"clock_offset": timedelta(minutes=20)}, 403, "AccessDenied"),
    "longer-than-a-week": ({"seconds": 604801}, 400, "AuthorizationQueryParametersError"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", PRESIGNED.values(), ids=PRESIGNED)
def test_presigned_url_outside_its_time_is_refused(
    debugging, target, untouched, key, case, method
):
    options, status, code = case
    body = content(SMALL) if method == "PUT" else b""
    built = raw.request(target, method, untouched, key, body=body)
    answer = raw.send(raw.presign(built, target, **options), target)
    assert answer.status == status
    assert method == "HEAD" or answer.code == code
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("method", METHODS)
def test_presigned_url_of_another_key_is_refused(target, untouched, key, method):
    built = raw.presign(raw.request(target, method, untouched, key), target)
    built.path += "x"
    assert raw.send(built, target).status == 403


@pytest.mark.parametrize("method", [m for m in METHODS if m != "GET"])
def test_presigned_url_serves_its_own_method_only(debugging, target, untouched, key, method):
    built = raw.presign(raw.request(target, "GET", untouched, key), target)
    built.method = method
    if method == "PUT":
        built.set_header("Content-Length", "1")
        built.body = b"x"
    assert raw.send(built, target).status == 403
    assert_nothing_stored(debugging, untouched, key)


def test_header_outside_a_presigned_signature_is_refused(debugging, target, untouched, key):
    built = raw.presign(put(target, untouched, key, content(SMALL)), target)
    built.set_header("x-amz-acl", "public-read")
    assert_refused(raw.send(built, target), 403, "AccessDenied")
    assert_nothing_stored(debugging, untouched, key)


def version_2_header(built, credential):
    text = f"{built.method}\n\n\n\nx-amz-date:now\n{built.path}"
    digest = hmac.digest(credential.secret_key.encode(), text.encode(), "sha1")
    signature = base64.b64encode(digest).decode()
    built.set_header("x-amz-date", "now")
    built.set_header("Authorization", f"AWS {credential.access_key}:{signature}")


def version_2_query(built, credential):
    built.query = f"AWSAccessKeyId={credential.access_key}&Expires=4102444800&Signature=c2ln"


def version_4a_header(built, credential):
    scope = f"{credential.access_key}/20261121/s3/aws4_request"
    built.set_header("x-amz-date", "20261121T000000Z")
    built.set_header("x-amz-region-set", "*")
    built.set_header("x-amz-content-sha256", raw.UNSIGNED)
    built.set_header(
        "Authorization",
        f"AWS4-ECDSA-P256-SHA256 Credential={scope}, SignedHeaders=host, Signature=30",
    )


def version_4a_query(built, credential):
    scope = f"{credential.access_key}%2F20261121%2Fs3%2Faws4_request"
    built.query = (
        f"X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential={scope}&X-Amz-Region-Set=%2A"
        "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=30"
    )


def version_4a_chunks(built, credential):
    word = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
    built.set_header("x-amz-content-sha256", word)
    built.set_header("x-amz-decoded-content-length", str(len(built.body)))


OTHER_VERSIONS = [version_2_header, version_2_query, version_4a_header, version_4a_query]


@pytest.mark.parametrize("authenticate", OTHER_VERSIONS)
def test_other_versions_of_the_signature_are_not_implemented(
    debugging, target, untouched, key, authenticate
):
    built = put(target, untouched, key, content(SMALL))
    authenticate(built, target.credential)
    assert_refused(raw.send(built, target), 501, "NotImplemented")
    assert_nothing_stored(debugging, untouched, key)


def test_chunks_signed_with_version_4a_are_not_implemented(debugging, target, untouched, key):
    built = put(target, untouched, key, content(SMALL))
    version_4a_chunks(built, target.credential)
    raw.sign(built, target, payload=built.header("x-amz-content-sha256"))
    assert_refused(raw.send(built, target), 501, "NotImplemented")
    assert_nothing_stored(debugging, untouched, key)
