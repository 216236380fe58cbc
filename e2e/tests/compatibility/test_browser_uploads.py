"""A page in a real browser uploads and downloads across origins, as the bucket's CORS rules allow.

The rules are set through the proxy and evaluated by the backend; the browser, with the response
headers that the proxy forwards, refuses a page anything that the rules do not allow.
"""

import html

import pytest

from browser import CONTENT, content
from clients import boto3_client
from deployment import make_bucket

SIZES = {"held": 100, "streamed": 1024 * 1024 + 70_000}
BY_SIZE = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)

PUT = f"""{CONTENT}
    const [url, size] = values;
    const headers = {{"x-amz-meta-from": "a page"}};
    const answer = await fetch(url, {{method: "PUT", body: content(size), headers}});
    return [answer.status, answer.headers.get("ETag")];
"""

GET = f"""{CONTENT}
    const [url, size] = values;
    // A condition makes the browser ask first.
    const answer = await fetch(url, {{headers: {{"If-None-Match": '"another"'}}}});
    const got = new Uint8Array(await answer.arrayBuffer()), expected = content(size);
    const same = got.length === size && got.every((byte, at) => byte === expected[at]);
    return [answer.status, answer.headers.get("ETag"), same];
"""

HEAD = """
    const answer = await fetch(values[0], {method: "HEAD"});
    return [answer.status, answer.headers.get("ETag")];
"""

POST = f"""{CONTENT}
    const [url, fields, size] = values;
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", new Blob([content(size)]), "from a page.bin");
    const answer = await fetch(url, {{method: "POST", body: form}});
    return [answer.status, answer.headers.get("ETag")];
"""

ERROR = """
    const answer = await fetch(values[0]);
    return [answer.status, new DOMParser()
        .parseFromString(await answer.text(), "text/xml").querySelector("Code").textContent];
"""

REFUSED = "TypeError: Failed to fetch"


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture
def page(browser, pages):
    """The browser, on a page of the origin that the bucket allows."""
    browser.open(pages.origin)
    return browser


@pytest.fixture(scope="module")
def bucket(deployment, pages):
    """A bucket that allows only the pages' origin; its CORS rules are set through the proxy."""
    bucket = make_bucket(deployment)
    rule = {
        "AllowedOrigins": [pages.origin],
        "AllowedMethods": ["GET", "HEAD", "PUT", "POST"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    }
    boto3_client(deployment.target).put_bucket_cors(
        Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}
    )
    return bucket


def presigned(s3, operation, bucket, key, **more):
    return s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key, **more})


@BY_SIZE
def test_page_puts_and_gets_with_presigned_urls(page, s3, bucket, key, size):
    url = presigned(s3, "put_object", bucket, key, Metadata={"from": "a page"})
    status, etag = page.run(PUT, url, size)
    assert (status, bool(etag)) == (200, True)
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["Body"].read(), got["ETag"]) == (content(size), etag)
    assert got["Metadata"] == {"from": "a page"}
    url = presigned(s3, "get_object", bucket, key, ResponseContentType="text/plain")
    assert page.run(GET, url, size) == [200, etag, True]
    assert page.run(HEAD, presigned(s3, "head_object", bucket, key)) == [200, etag]


@BY_SIZE
def test_page_posts_a_form_with_fetch(page, s3, bucket, prefix, size):
    presigned = s3.generate_presigned_post(bucket, prefix + "${filename}")
    status, etag = page.run(POST, presigned["url"], presigned["fields"], size)
    assert status == 204
    got = s3.get_object(Bucket=bucket, Key=prefix + "from a page.bin")
    assert (got["Body"].read(), got["ETag"]) == (content(size), etag)


# A browser sends a named button behind the file, where a form that is not held must end.
@pytest.mark.parametrize(
    ("size", "button"),
    [
        (SIZES["held"], "<button>Upload</button>"),
        (SIZES["held"], '<input type="submit" name="submit" value="Upload to S3">'),
        (SIZES["held"], '<input type="hidden" name="x" value="y"><button name="b">Upload</button>'),
        (SIZES["streamed"], "<button>Upload</button>"),
    ],
    ids=["held", "held-named-button", "held-fields-behind-the-file", "streamed"],
)
def test_form_is_submitted_and_leads_to_the_next_page(
    browser, pages, s3, bucket, prefix, tmp_path, size, button
):
    file = tmp_path / "chosen.bin"
    file.write_bytes(content(size))
    done = f"{pages.origin}/done"
    presigned = s3.generate_presigned_post(
        bucket,
        prefix + "${filename}",
        Fields={"success_action_redirect": done},
        Conditions=[{"success_action_redirect": done}],
    )
    inputs = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in presigned["fields"].items()
    )
    action = html.escape(presigned["url"])
    pages.add(
        "/form",
        f"""<!doctype html><meta charset="utf-8"><title>upload</title>
        <form method="post" enctype="multipart/form-data" action="{action}">{inputs}
        <input type="file" name="file">{button}</form>""",
    )
    browser.open(f"{pages.origin}/form")
    browser.type("input[type=file]", str(file))
    browser.click("button, input[type=submit]")
    url = browser.wait_for_page(done)
    got = s3.get_object(Bucket=bucket, Key=prefix + "chosen.bin")
    assert got["Body"].read() == content(size)
    key, etag = (prefix + "chosen.bin").replace("/", "%2F"), got["ETag"].replace('"', "%22")
    assert url == f"{done}?bucket={bucket}&key={key}&etag={etag}"


def test_errors_of_the_proxys_own_can_be_read_by_the_page_that_the_rules_allow(
    browser, pages, s3, bucket, key
):
    url = presigned(s3, "get_object", bucket, key)
    wrong = url[:-1] + ("0" if url[-1] != "0" else "1")
    browser.open(pages.origin)
    assert browser.run(ERROR, wrong) == [403, "SignatureDoesNotMatch"]
    browser.open(pages.other_origin)
    assert browser.run(ERROR, wrong) == REFUSED


def test_page_of_another_origin_is_refused_by_the_browser(browser, pages, s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=prefix + "there", Body=content(100))
    browser.open(pages.other_origin)
    assert browser.run(GET, presigned(s3, "get_object", bucket, prefix + "there"), 100) == REFUSED
    put = presigned(s3, "put_object", bucket, prefix + "new", Metadata={"from": "a page"})
    assert browser.run(PUT, put, 100) == REFUSED
    form = s3.generate_presigned_post(bucket, prefix + "posted")
    assert browser.run(POST, form["url"], form["fields"], 100) == REFUSED
    # A form may be sent without permission; only the response is hidden from the page. S3 does the
    # same.
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert [entry["Key"] for entry in listed["Contents"]] == [prefix + "posted", prefix + "there"]
