"""PostObject: browser forms with a policy, sealed like any other object.

Accepted forms are read back through the proxy and inspected on the backend; refused ones are in
refusals/test_refused_forms.py.
"""

from urllib.parse import urlsplit

import pytest
import urllib3

import raw
from chunks import ALGORITHMS, checksum
from clients import boto3_client
from content import LARGE, SMALL, content
from deployment import make_bucket
from forms import BOUNDARY, Form, encode, head, one_field, policy_of, post, request, signed
from known_clients import credential_of, known_client
from refusal import assert_nothing_stored, assert_refused

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
    """A form that would be accepted once it is signed."""
    return Form(key, content(SMALL))


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
    assert size < 40 or body[:40] not in stored.body


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


def test_fields_become_headers_of_the_object(target, touched, form):
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
def test_filename_variable_is_the_name_without_its_path(target, touched, prefix, file_name):
    form = Form(prefix + "${filename}", b"x", file_name=file_name)
    policy = policy_of(form, touched, ["starts-with", "$key", prefix], covered=False)
    assert post(target, touched, signed(form, target, policy)).status == 204
    assert raw.ask(target, "GET", touched, prefix + "a.png").body == b"x"


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
def test_a_url_that_is_not_absolute_http_is_no_redirect(target, touched, form, url):
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


def test_small_form_may_end_with_its_delimiter(target, touched, form):
    body = encode(signed(form, target, policy_of(form, touched)), end=b"")
    assert raw.send(request(target, touched, body), target).status == 204
    assert raw.ask(target, "GET", touched, form.key).body == form.content


@pytest.mark.parametrize(
    "behind",
    [one_field("submit", "Upload") + f"--{BOUNDARY}--\r\n".encode(), f"--{BOUNDARY}--\r\n\r\n".encode()],
    ids=["button", "line-break"],
)
def test_small_form_may_have_more_behind_its_file(target, touched, form, behind):
    signed(form, target, policy_of(form, touched, ["content-length-range", SMALL, SMALL]))
    body = b"a preamble\r\n" + head(form) + form.content + b"\r\n" + behind
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


@pytest.mark.parametrize(("method", "told"), [("POST", True), ("PUT", False)])
def test_page_gets_the_cors_headers_of_the_buckets_rules_for_post(deployment, key, method, told):
    bucket, origin = make_bucket(deployment), "https://page.test"
    rule = {"AllowedOrigins": [origin], "AllowedMethods": [method], "ExposeHeaders": ["ETag"]}
    boto3_client(deployment.target).put_bucket_cors(
        Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}
    )
    form = Form(key, content(SMALL))
    signed(form, deployment.target, policy_of(form, bucket))
    answer = post(deployment.target, bucket, form, Origin=origin)
    assert answer.status == 204
    assert len(answer.headers.get_all("Vary") or []) <= 1
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


@pytest.fixture(scope="module")
def granting(deployments):
    grant = {"operations": ["write"], "buckets": ["*"], "prefixes": ["granted/*"]}
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-forms-grants",
        settings=known_client("uploader", grant),
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
def test_grants_are_checked_after_the_filename_and_acls_need_admin(
    granting, touched, key, fields, status
):
    uploader = granting.target.known_as(credential_of("uploader"))
    form = Form(key, b"x", fields, file_name="granted.txt")
    policy = policy_of(form, touched, ["starts-with", "$key", ""], covered=False)
    policy["conditions"] += [{name: value} for name, value in fields.items()]
    assert post(uploader, touched, signed(form, uploader, policy)).status == status


@pytest.fixture(scope="module")
def open_to_all(deployments):
    return deployments.proxy(
        deployments.server("seaweedfs"), "proxy-forms-none", environment={"S3PROXY_CLIENTS_AUTH": "none"}
    )


def test_without_authentication_a_form_needs_no_policy_but_obeys_one(open_to_all, touched, prefix):
    target = open_to_all.target
    assert post(target, touched, Form(prefix + "a", b"x")).status == 204
    assert raw.ask(target, "GET", touched, prefix + "a").body == b"x"
    form = Form(prefix + "b", b"xx")
    signed(form, target, policy_of(form, touched, ["content-length-range", 0, 1]))
    assert_refused(post(target, touched, form), 400, "EntityTooLarge")
    assert_nothing_stored(open_to_all, touched, prefix + "b")
