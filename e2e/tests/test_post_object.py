"""PostObject: browsers' forms with a policy, sealed like any other object.

What is refused leaves nothing on the backend; what is accepted is read back through the proxy and
looked at on the backend.
"""

import base64
import hashlib
from urllib.parse import urlsplit

import pytest
import urllib3

import raw
import wire
from chunks import ALGORITHMS, checksum
from clients import boto3_client
from conftest import make_bucket
from content import LARGE, SMALL, content
from forms import Form, encode, head, moment, one_field, policy_of, post, request, signed
from refusal import assert_nothing_stored, assert_refused
from target import Credential

MIB = 1024 * 1024
SIZES = {"empty": 0, "one": 1, "chunk": 16_384, "above-held": MIB + 1, "streamed": 6 * MIB}
BY_SIZE = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])

TAGGING = (
    "<Tagging>\r\n<TagSet><Tag><Key>colour of it</Key><Value>a&amp;b</Value></Tag></TagSet></Tagging>"
)


@pytest.fixture
def target(debugging):
    return debugging.target


@pytest.fixture
def form(target, key, touched):
    """A form that would be accepted, not yet signed."""
    return Form(key, content(SMALL))


@pytest.fixture
def refuse(debugging, untouched, key):
    """Sends a body that is to be refused, and looks at the backend afterwards."""

    def send(body, status, code, **headers):
        built = request(debugging.target, untouched, body, **headers)
        assert_refused(wire.exchange(debugging.target, wire.message(built)), status, code)
        assert_nothing_stored(debugging, untouched, key)

    return send


def accepted(target, bucket, form, *more):
    answer = post(target, bucket, signed(form, target, policy_of(form, bucket, *more)))
    assert answer.status == 204, answer.body
    return answer


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", ["plain", "ünï ☃+%2F&=.txt"])
def test_file_is_sealed_and_reads_back(debugging, touched, prefix, size, name):
    target, key = debugging.target, prefix + name
    body = content(size)
    answer = accepted(target, touched, Form(key, body))
    got = boto3_client(target).get_object(Bucket=touched, Key=key)
    assert got["Body"].read() == body
    assert answer.headers["ETag"] == got["ETag"]
    stored = debugging.stored(touched, key)
    assert len(stored.body) != size
    assert body[:40] not in stored.body or size == 0


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_boto3s_presigned_post_is_accepted(target, touched, prefix, size):
    s3 = boto3_client(target)
    presigned = s3.generate_presigned_post(
        touched,
        prefix + "${filename}",
        Fields={"Content-Type": "image/png", "x-amz-meta-a": "1"},
        Conditions=[{"x-amz-meta-a": "1"}, ["starts-with", "$Content-Type", "image/"],
                    ["content-length-range", size, size]],
    )
    fields = {**presigned["fields"], "file": ("a b.png", content(size))}
    answer = urllib3.request("POST", presigned["url"], fields=fields)
    assert answer.status == 204, answer.data
    got = s3.get_object(Bucket=touched, Key=prefix + "a b.png")
    assert got["Body"].read() == content(size)
    assert (got["ContentType"], got["Metadata"]) == ("image/png", {"a": "1"})


def test_fields_become_what_the_object_is_served_with(target, touched, form):
    form.fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "max-age=60",
        "Content-Disposition": "attachment; filename=a.txt",
        "Content-Encoding": "identity",
        "Expires": "Wed, 21 Oct 2026 07:28:00 GMT",
        "x-amz-meta-Colour": "green",
        "tagging": TAGGING,
        "x-ignore-button": "Upload",
    }
    accepted(target, touched, form)
    s3 = boto3_client(target)
    got = s3.head_object(Bucket=touched, Key=form.key)
    assert got["ContentType"] == "text/plain; charset=utf-8"
    assert got["CacheControl"] == "max-age=60"
    assert got["ContentDisposition"] == "attachment; filename=a.txt"
    assert got["Metadata"] == {"colour": "green"}
    tags = s3.get_object_tagging(Bucket=touched, Key=form.key)["TagSet"]
    assert tags == [{"Key": "colour of it", "Value": "a&b"}]


@pytest.mark.parametrize("file_name", ["a.png", "C:\\\\pictures\\\\a.png", "/home/me/a.png"])
def test_filename_stands_in_without_its_path(target, touched, prefix, file_name):
    form = Form(prefix + "${filename}", b"x", file_name=file_name)
    policy = policy_of(form, touched, ["starts-with", "$key", prefix], covered=False)
    assert post(target, touched, signed(form, target, policy)).status == 204
    assert raw.ask(target, "GET", touched, prefix + "a.png").body == b"x"


def test_conditions_on_the_key_are_judged_with_the_filename(target, untouched, key, refuse):
    form = Form("${filename}", b"x", file_name="b.png")
    policy = policy_of(form, untouched, {"key": "${filename}"}, covered=False)
    refuse(encode(signed(form, target, policy)), 403, "AccessDenied")


@pytest.mark.parametrize(
    ("wanted", "status"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)]
)
def test_success_action_status_is_honoured(target, touched, form, wanted, status):
    form.fields = {"success_action_status": wanted}
    answer = post(target, touched, signed(form, target, policy_of(form, touched)))
    assert answer.status == status
    assert answer.headers["Location"] == f"{target.url}/{touched}/{form.key}"
    if status == 201:
        told = [answer.element(name) for name in ("Location", "Bucket", "Key", "ETag")]
        assert told == [answer.headers["Location"], touched, form.key, answer.headers["ETag"]]
    else:
        assert answer.body == b""


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
@pytest.mark.parametrize("url", ["http://page.test/done", "https://page.test/done?a=b"])
def test_success_action_redirect_leads_to_the_page_with_the_result(target, touched, form, name, url):
    form.fields = {name: url, "success_action_status": "201"}
    answer = post(target, touched, signed(form, target, policy_of(form, touched)))
    separator = "&" if "?" in url else "?"
    etag = answer.headers["ETag"].replace('"', "%22")
    key = form.key.replace("/", "%2F")
    expected = f"{url}{separator}bucket={touched}&key={key}&etag={etag}"
    assert (answer.status, answer.headers["Location"]) == (303, expected)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/done", "//page.test/"])
def test_what_is_no_absolute_url_is_no_redirect(target, touched, form, url):
    form.fields = {"success_action_redirect": url}
    assert accepted(target, touched, form).status == 204


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@BY_SIZE
def test_right_checksum_is_accepted_and_given_back(target, touched, key, algorithm, size):
    form = Form(key, content(size))
    name, value = f"x-amz-checksum-{algorithm}", checksum(algorithm, form.content)
    form.fields = {name: value}
    assert accepted(target, touched, form).headers[name] == value
    got = raw.ask(target, "HEAD", touched, key, headers={"x-amz-checksum-mode": "ENABLED"})
    assert got.headers[name] == value


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


def test_small_form_may_end_with_its_delimiter(target, touched, form):
    body = encode(signed(form, target, policy_of(form, touched)), end=b"")
    assert raw.send(request(target, touched, body), target).status == 204
    assert raw.ask(target, "GET", touched, form.key).body == form.content


@BY_SIZE
@pytest.mark.parametrize("margin", [0, 1])
def test_content_length_range_is_in_plaintext_terms_and_includes_both_ends(
    target, touched, key, size, margin
):
    form = Form(key, content(size))
    accepted(target, touched, form, ["content-length-range", size - margin, size + margin])
    assert raw.ask(target, "GET", touched, key).body == form.content


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
    """Forms that are signed well and then broken, or signed badly."""

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
    """Bodies that are no form, by name, each with the code of its refusal."""
    body, before = encode(form), head(form)
    end = body[len(before) + len(form.content) :]
    second = one_field("other", "x")[:-2]
    files = "IncorrectNumberOfFilesInPostRequest"
    return {
        "no-file": (before[: before.rindex(b"\r\n--")] + end, files),
        "second-file": (body[: -len(end)] + b"\r\n" + before[before.rindex(b"\r\n--") + 2 :] + end, files),
        "field-behind-the-file": (body[: -len(end)] + b"\r\n" + second + end, files),
        "bytes-behind-the-file": (body + b"x", files),
        "line-break-behind-the-file": (body + b"\r\n", files),
        "boundary-inside-the-file": (before + b"a" + end[:-4] + b"less" + form.content + end, files),
        "no-closing-delimiter": (body[: -len(end)], "MalformedPOSTRequest"),
        "delimiter-cut": (body[:-3], "MalformedPOSTRequest"),
        "preamble": (b"hello\r\n" + body, "MalformedPOSTRequest"),
        "field-twice": (one_field("KEY", form.key) + body, "InvalidArgument"),
        "no-name": (body.replace(b'; name="key"', b"", 1), "MalformedPOSTRequest"),
        "no-key": (body.replace(b'name="key"', b'name="x-ignore-key"', 1), "AccessDenied"),
        "too-much-before-the-file": (
            one_field("x-ignore-a", "x" * 20_480) + body, "MaxPostPreDataLengthExceededError"
        ),
        "too-many-fields": (
            b"".join(one_field(f"x-ignore-{n}", "") for n in range(129)) + body,
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
        # Either is right: the client has hung up, and may or may not be told.
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
def test_head_of_a_form_may_not_say_what_no_policy_covers(
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


def test_client_that_waits_is_told_to_go_on_and_then_what_was_wrong(debugging, untouched, key):
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


@pytest.mark.parametrize(("method", "told"), [("POST", True), ("PUT", False)])
def test_page_is_told_what_the_buckets_rules_say_of_post(deployment, key, method, told):
    bucket, origin = make_bucket(deployment), "https://page.test"
    rule = {"AllowedOrigins": [origin], "AllowedMethods": [method], "ExposeHeaders": ["ETag"]}
    boto3_client(deployment.target).put_bucket_cors(
        Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}
    )
    form = Form(key, content(SMALL))
    signed(form, deployment.target, policy_of(form, bucket))
    answer = post(deployment.target, bucket, form, Origin=origin)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == (origin if told else None)
    assert answer.headers["Access-Control-Expose-Headers"] == ("ETag" if told else None)


@pytest.mark.parametrize("operation", ["put_object", "get_object"])
def test_preflight_of_a_presigned_url_is_answered_by_the_buckets_rules(deployment, key, operation):
    bucket, origin = make_bucket(deployment), "https://page.test"
    rule = {"AllowedOrigins": [origin], "AllowedMethods": ["PUT", "GET"], "AllowedHeaders": ["*"]}
    s3 = boto3_client(deployment.target)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    headers = {"Origin": origin, "Access-Control-Request-Method": operation[:3].upper()}
    more = {"ResponseContentType": "a/b"} if operation == "get_object" else {}
    url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key, **more})
    built = raw.request(deployment.target, "OPTIONS", bucket, key, urlsplit(url).query, headers)
    answer = raw.send(built, deployment.target)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)


GRANTS = """
[[clients.known]]
name = "uploader"
access_key_id = "UPLOADER"
secret_access_key = "secret-of-the-uploader"
[[clients.known.grants]]
operations = ["write"]
buckets = ["*"]
prefixes = ["granted/*"]
"""


@pytest.fixture(scope="module")
def granting(deployments):
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-forms-grants",
        settings=GRANTS,
    )


@pytest.mark.parametrize(
    ("key", "fields", "status"),
    [
        ("granted/${filename}", {}, 204),
        ("${filename}", {}, 403),
        ("granted/a", {"acl": "private"}, 403),
        ("granted/a", {"x-amz-grant-read": "id=a"}, 403),
    ],
)
def test_grants_are_judged_after_the_filename_and_acls_need_admin(
    granting, touched, key, fields, status
):
    uploader = granting.target.known_as(Credential("UPLOADER", "secret-of-the-uploader"))
    form = Form(key, b"x", fields, file_name="granted.txt")
    policy = policy_of(form, touched, ["starts-with", "$key", ""], covered=False)
    policy["conditions"] += [{name: value} for name, value in fields.items()]
    assert post(uploader, touched, signed(form, uploader, policy)).status == status


@pytest.fixture(scope="module")
def open_to_all(deployments):
    return deployments.proxy(
        deployments.server("seaweedfs"), "proxy-forms-none", environment={"S3PROXY_AUTH": "none"}
    )


def test_without_authentication_a_form_needs_no_policy_but_keeps_to_one(open_to_all, touched, prefix):
    target = open_to_all.target
    assert post(target, touched, Form(prefix + "a", b"x")).status == 204
    assert raw.ask(target, "GET", touched, prefix + "a").body == b"x"
    form = Form(prefix + "b", b"xx")
    signed(form, target, policy_of(form, touched, ["content-length-range", 0, 1]))
    assert_refused(post(target, touched, form), 400, "EntityTooLarge")
    assert_nothing_stored(open_to_all, touched, prefix + "b")
