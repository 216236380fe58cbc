"""Invalid forms: refused with S3's code, and nothing of them on the backend.

Each is tried with a file that the proxy holds in memory and with one that it streams, since a
streamed file has begun to reach the backend before its end turns out to be wrong.
"""

import base64
import hashlib

import pytest

import raw
import wire
from chunks import checksum
from content import LARGE, SMALL, content
from forms import Form, encode, head, moment, one_field, policy_of, request, signed
from refusal import assert_nothing_stored, assert_refused
from target import Credential

BY_SIZE = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])


@pytest.fixture
def target(debugging):
    return debugging.target


@pytest.fixture
def refuse(debugging, untouched, key):
    """Sends a body that must be refused, and inspects the backend afterwards."""

    def send(body, status, code, **headers):
        built = request(debugging.target, untouched, body, **headers)
        assert_refused(wire.exchange(debugging.target, wire.message(built)), status, code)
        assert_nothing_stored(debugging, untouched, key)

    return send


def test_conditions_on_the_key_are_checked_with_the_filename(target, untouched, key, refuse):
    form = Form("${filename}", b"x", file_name="b.png")
    policy = policy_of(form, untouched, {"key": "${filename}"}, covered=False)
    refuse(encode(signed(form, target, policy)), 403, "AccessDenied")


@BY_SIZE
@pytest.mark.parametrize("name", ["x-amz-checksum-crc32", "x-amz-checksum-sha256", "Content-MD5"])
def test_wrong_checksum_is_refused(target, untouched, key, refuse, name, size):
    form = Form(key, content(size))
    wrong = {
        "x-amz-checksum-crc32": checksum("crc32", b"other"),
        "x-amz-checksum-sha256": checksum("sha256", b"other"),
        "Content-MD5": base64.b64encode(hashlib.md5(b"other").digest()).decode(),
    }
    form.fields = {name: wrong[name]}
    refuse(encode(signed(form, target, policy_of(form, untouched))), 400, "BadDigest")


@BY_SIZE
@pytest.mark.parametrize(
    ("shortest", "longest", "code"), [(1, 9, "EntityTooSmall"), (-9, -1, "EntityTooLarge")]
)
def test_file_outside_the_range_is_refused(
    target, untouched, key, refuse, size, shortest, longest, code
):
    form = Form(key, content(size))
    condition = ["content-length-range", size + shortest, size + longest]
    refuse(encode(signed(form, target, policy_of(form, untouched, condition))), 400, code)


class Broken:
    """Forms that are broken after signing, or signed with a fault."""

    def __init__(self, target, bucket, key, size):
        self.target, self.bucket = target, bucket
        self.form = Form(key, content(size))

    def signed(self, *more, **options):
        return signed(self.form, self.target, policy_of(self.form, self.bucket, *more), **options)

    def with_field(self, name, value):
        """A field that no condition covers."""
        form = self.signed()
        form.fields[name] = value
        return encode(form)

    def without(self, name):
        form = self.signed()
        del form.fields[name]
        return encode(form)

    def expired(self):
        policy = policy_of(self.form, self.bucket) | {"expiration": moment(seconds=-1)}
        return encode(signed(self.form, self.target, policy))

    def of_another_bucket(self):
        return encode(signed(self.form, self.target, policy_of(self.form, "another-bucket")))

    def policy(self, text):
        form = self.signed()
        encoded = base64.b64encode(text.encode()).decode()
        signing = raw.Signing(form.fields["x-amz-date"], self.target.region,
                              self.target.credential.secret_key)
        form.fields |= {"policy": encoded, "x-amz-signature": signing.signature(encoded)}
        return encode(form)

    def covered(self, **fields):
        self.form.fields |= fields
        return encode(self.signed())

    def anonymous(self):
        return encode(self.form)

    def of_version_2(self):
        self.form.fields = {"AWSAccessKeyId": self.target.credential.access_key,
                            "policy": "e30=", "signature": "AAAA"}
        return encode(self.form)

    def of_another_client(self):
        stranger = self.target.known_as(Credential("STRANGER", "secret"))
        return encode(signed(self.form, stranger, policy_of(self.form, self.bucket)))


REFUSED = {
    "anonymous": (lambda form: form.anonymous(), 403, "AccessDenied"),
    "signature-version-2": (lambda form: form.of_version_2(), 501, "NotImplemented"),
    "wrong-secret": (lambda form: encode(form.signed(secret_key="wrong")), 403, "SignatureDoesNotMatch"),
    "unknown-client": (lambda form: form.of_another_client(), 403, "InvalidAccessKeyId"),
    "session-token": (
        lambda form: form.covered(**{"x-amz-security-token": "t"}), 400, "InvalidToken"
    ),
    "policy-altered": (lambda form: form.with_field("policy", "e30="), 403, "SignatureDoesNotMatch"),
    "no-signature": (lambda form: form.without("x-amz-signature"), 400, "InvalidArgument"),
    "no-policy": (lambda form: form.without("policy"), 400, "InvalidArgument"),
    "no-date": (lambda form: form.without("x-amz-date"), 400, "InvalidArgument"),
    "expired": (lambda form: form.expired(), 403, "AccessDenied"),
    "other-bucket": (lambda form: form.of_another_bucket(), 403, "AccessDenied"),
    "no-json": (lambda form: form.policy("no json"), 400, "InvalidPolicyDocument"),
    "unknown-condition": (
        lambda form: form.policy(
            '{"expiration": "2999-01-01T00:00:00Z", "conditions": [["like", "$key", "a"]]}'
        ),
        400,
        "InvalidPolicyDocument",
    ),
    "field-not-covered": (lambda form: form.with_field("x-amz-meta-a", "1"), 403, "AccessDenied"),
    "condition-without-field": (
        lambda form: encode(form.signed({"acl": "private"})), 403, "AccessDenied"
    ),
    "condition-fails": (
        lambda form: encode(form.signed(["starts-with", "$key", "elsewhere/"])), 403, "AccessDenied"
    ),
    "unknown-x-amz-field": (
        lambda form: form.covered(**{"x-amz-future": "1"}), 501, "NotImplemented"
    ),
    "copy-source": (
        lambda form: form.covered(**{"x-amz-copy-source": "/b/k"}), 501, "NotImplemented"
    ),
    "condition-on-the-write": (
        lambda form: form.covered(**{"If-None-Match": "*"}), 501, "NotImplemented"
    ),
    "metadata-of-the-proxys": (
        lambda form: form.covered(**{"x-amz-meta-isec": "s3p1.AAAA"}), 400, "InvalidArgument"
    ),
    "kek-version-of-the-proxys": (
        lambda form: form.covered(**{"x-amz-meta-isec-kek-ver": "1"}), 400, "InvalidArgument"
    ),
    "tags-that-are-none": (lambda form: form.covered(tagging="a=b"), 400, "MalformedXML"),
    "line-break": (lambda form: form.covered(acl="private\r\nx: y"), 400, "InvalidArgument"),
    "line-feed-in-metadata": (
        lambda form: form.covered(**{"x-amz-meta-a": "1\n2"}), 400, "InvalidArgument"
    ),
    "bucket-field-of-another": (lambda form: form.covered(bucket="other"), 400, "InvalidArgument"),
}


@BY_SIZE
@pytest.mark.parametrize("case", REFUSED)
def test_form_is_refused_and_nothing_stored(target, untouched, key, refuse, case, size):
    body, status, code = REFUSED[case]
    refuse(body(Broken(target, untouched, key, size)), status, code)


def malformed(form):
    """Bodies that are not a form, by name, with the code of the refusal."""
    body, before = encode(form), head(form)
    end = body[len(before) + len(form.content) :]
    files = "IncorrectNumberOfFilesInPostRequest"
    return {
        "no-file": (before[: before.rindex(b"\r\n--")] + end, files),
        "second-file": (body[: -len(end)] + b"\r\n" + before[before.rindex(b"\r\n--") + 2 :] + end, files),
        "no-closing-delimiter": (body[: -len(end)], "MalformedPOSTRequest"),
        "delimiter-cut": (body[:-3], "MalformedPOSTRequest"),
        "field-twice": (one_field("KEY", form.key) + body, "InvalidArgument"),
        "no-name": (body.replace(b'; name="key"', b"", 1), "MalformedPOSTRequest"),
        "no-key": (body.replace(b'name="key"', b'name="x-ignore-key"', 1), "AccessDenied"),
        "too-much-before-the-file": (
            one_field("x-ignore-a", "x" * 20_480) + body, "MaxPostPreDataLengthExceededError"
        ),
        "too-many-fields": (
            b"".join(one_field(f"x-ignore-{n}", "") for n in range(257)) + body,
            "MaxPostPreDataLengthExceededError",
        ),
        "other-boundary": (encode(form, boundary="other"), "MalformedPOSTRequest"),
    }


@BY_SIZE
@pytest.mark.parametrize("case", malformed(Form("k")))
def test_malformed_form_is_refused_and_nothing_stored(target, untouched, key, refuse, case, size):
    form = Form(key, content(size))
    body, code = malformed(signed(form, target, policy_of(form, untouched)))[case]
    refuse(body, 403 if code == "AccessDenied" else 400, code)


def behind_the_file(form):
    """Forms that are refused where the length of the file has to be known before it is read."""
    body, before = encode(form), head(form)
    end = body[len(before) + len(form.content) :]
    return {
        "field": body[: -len(end)] + b"\r\n" + one_field("other", "x")[:-2] + end,
        "bytes": body + b"x",
        "line-break": body + b"\r\n",
        "boundary-inside-the-file": before + b"a" + end[:-4] + b"less" + form.content + end,
    }


@pytest.mark.parametrize("case", behind_the_file(Form("k")))
def test_large_form_with_anything_behind_its_file_is_refused(target, untouched, key, refuse, case):
    form = Form(key, content(LARGE))
    body = behind_the_file(signed(form, target, policy_of(form, untouched)))[case]
    refuse(body, 400, "IncorrectNumberOfFilesInPostRequest")


def test_large_form_that_ends_without_a_line_break_is_refused(target, untouched, key, refuse):
    form = Form(key, content(LARGE))
    body = encode(signed(form, target, policy_of(form, untouched)), end=b"")
    refuse(body, 400, "MalformedPOSTRequest")


@BY_SIZE
@pytest.mark.parametrize("ending", ["half-closed", "closed"])
def test_form_cut_short_stores_nothing(debugging, untouched, key, size, ending):
    target, form = debugging.target, Form(key, content(size))
    body = encode(signed(form, target, policy_of(form, untouched)))
    cut = wire.message(request(target, untouched, body))[: -size // 3]
    line = f'"bucket":"{untouched}"'
    lines = debugging.proxy.log_text().count(line)
    if ending == "half-closed":
        # Both are correct: the client has closed its half of the connection and may not get the
        # response.
        assert wire.exchange(target, cut, then_stop_sending=True).status in (0, 400)
    else:
        with wire.connect(target) as connection:
            connection.sendall(cut)
    debugging.proxy.wait_for_log(line, count=lines + 1)
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-acl": "public-read"}, 501, "NotImplemented"),
        ({"x-amz-meta-a": "1"}, 501, "NotImplemented"),
        ({"Content-Type": "multipart/form-data"}, 400, "MalformedPOSTRequest"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403, "AccessDenied"),
    ],
)
def test_headers_of_a_form_that_no_policy_covers_are_refused(
    target, untouched, key, refuse, headers, status, code
):
    form = Form(key, content(SMALL))
    body = encode(signed(form, target, policy_of(form, untouched)))
    refuse(body, status, code, **headers)


def test_form_of_unknown_length_is_refused(debugging, untouched, key):
    target, form = debugging.target, Form(key, content(SMALL))
    body = encode(signed(form, target, policy_of(form, untouched)))
    built = request(target, untouched, b"")
    built.drop_header("Content-Length")
    built.headers.append(("Transfer-Encoding", "chunked"))
    built.body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    assert_refused(wire.exchange(target, wire.message(built)), 411, "MissingContentLength")
    assert_nothing_stored(debugging, untouched, key)


def test_client_that_waits_is_told_to_continue_and_then_the_fault(debugging, untouched, key):
    target = debugging.target
    built = request(target, untouched, encode(Form(key, content(SMALL))), Expect="100-continue")
    with wire.connect(target) as connection:
        connection.sendall(wire.head(built))
        assert wire.answer_to(connection).status == 100
        connection.sendall(built.body)
        assert_refused(wire.answer_to(connection), 403, "AccessDenied")
    assert_nothing_stored(debugging, untouched, key)


@pytest.mark.parametrize("key", [".s3proxy/uploads/x", "/.s3proxy//x", "a/../.s3proxy/x"])
def test_keys_of_the_proxys_own_state_are_refused(target, untouched, key, refuse):
    form = Form(key, b"x")
    refuse(encode(signed(form, target, policy_of(form, untouched))), 403, "AccessDenied")
