"""Upload libraries of pages in the matrix, in a real browser: a page of another origin than the server's
uploads in parts by the bucket's CORS rules, and reads back by itself what it has uploaded.
"""

import pytest

import sdks
from browser import CONTENT, content
from cells import cell
from clients import boto3_client
from trees import MIB

IN_A_PAGE = "upload in parts by a page in Chromium, read back by the page"
SIZE = 12 * MIB

UPLOAD = f"""{CONTENT}
    const [library, target, bucket, key, size] = values;
    await uploadLibraries[library](target, bucket, key, content(size));
    return "uploaded";
"""

READ = f"""{CONTENT}
    const [url, size] = values;
    const answer = await fetch(url, {{headers: {{Range: "bytes=1-"}}}});
    const got = new Uint8Array(await answer.arrayBuffer()), expected = content(size);
    const same = got.length === size - 1 && got.every((byte, at) => byte === expected[at + 1]);
    return [answer.status, answer.headers.get("ETag"), same];
"""


@pytest.fixture
def page(browser, pages):
    pages.add("/uploads.js", sdks.PAGE_SCRIPT.read_text())
    pages.add("/uploads", '<!doctype html><title>uploads</title><script src="uploads.js"></script>')
    browser.open(f"{pages.origin}/uploads")
    return browser


def upload_and_read(page, pages, place, library):
    target, s3, key = place.target, boto3_client(place.target), "a folder/ü 1.bin"
    rule = {
        "AllowedOrigins": [pages.origin],
        "AllowedMethods": ["GET", "PUT", "POST"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    }
    s3.put_bucket_cors(Bucket=place.bucket, CORSConfiguration={"CORSRules": [rule]})
    server = {
        "endpoint": target.url,
        "region": target.region,
        "credentials": {
            "accessKeyId": target.credential.access_key,
            "secretAccessKey": target.credential.secret_key,
        },
    }
    assert page.run(UPLOAD, library, server, place.bucket, key, SIZE) == "uploaded"
    got = s3.get_object(Bucket=place.bucket, Key=key)
    assert got["Body"].read() == content(SIZE)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": place.bucket, "Key": key})
    assert page.run(READ, url, SIZE) == [206, got["ETag"], True]


@cell(
    "Uppy (@uppy/aws-s3)",
    IN_A_PAGE,
    version=sdks.of_page("@uppy/aws-s3"),
    only_by_proxy={"radosgw": "a page cannot read its answers to Uppy's parts"},
)
def test_uppy_uploads_in_parts(place, page, pages):
    upload_and_read(page, pages, place, "uppy")


@cell(
    "AWS SDK for JavaScript v3, lib-storage",
    IN_A_PAGE,
    version=sdks.of_page("@aws-sdk/lib-storage"),
    only_by_proxy={"seaweedfs": "it refuses to complete the upload"},
)
def test_lib_storage_uploads_in_parts(place, page, pages):
    upload_and_read(page, pages, place, "libStorage")
