"""The number of backend requests for each client request, and their content.

A relay between the proxy and SeaweedFS records every request. A read or write of a single upload
costs one request, at any offset of the object.
"""

import datetime
import random

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from deployment import make_bucket
from recorder import Relay
from sealed import stored_length

SIZES = {"small": 40000, "held-whole": 1024 * 1024, "streamed": 6 * 1024 * 1024 + 5}
MD5 = "0123456789abcdef0123456789abcdef"

READS = {
    "GetObject": ("GET", {}),
    "HeadObject": ("HEAD", {}),
    "first-range": ("GET", {"Range": "bytes=0-99"}),
    "inner-range": ("GET", {"Range": "bytes=20000-33000"}),
    "open-range": ("GET", {"Range": "bytes=39000-"}),
    "suffix": ("GET", {"Range": "bytes=-100"}),
    "head-of-a-range": ("HEAD", {"Range": "bytes=-100"}),
    "with-its-checksum": ("GET", {"x-amz-checksum-mode": "ENABLED"}),
    "head-with-its-checksum": ("HEAD", {"x-amz-checksum-mode": "ENABLED"}),
}


@pytest.fixture(scope="module")
def relay(deployments):
    relay = Relay(deployments.server("seaweedfs").target)
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def relayed(deployments, relay):
    """A proxy whose requests to SeaweedFS are all recorded."""
    return deployments.proxy(relay, "proxy-before-relay")


@pytest.fixture(scope="module")
def bucket(relayed):
    return make_bucket(relayed)


@pytest.fixture(scope="module")
def objects(relayed, bucket):
    """Objects of every size, uploaded through the proxy."""
    contents = {name: random.Random(size).randbytes(size) for name, size in SIZES.items()}
    for name, content in contents.items():
        assert raw.ask(relayed.target, "PUT", bucket, name, body=content).status == 200
    return contents


@pytest.mark.parametrize(("method", "headers"), READS.values(), ids=READS)
@pytest.mark.parametrize("name", SIZES)
def test_read_of_a_single_upload_costs_one_backend_request(
    relayed, relay, bucket, objects, name, method, headers
):
    relay.forget()
    answer = raw.ask(relayed.target, method, bucket, name, headers=headers)
    assert answer.status == (206 if "Range" in headers else 200)
    if method == "GET" and "Range" not in headers:
        assert answer.body == objects[name]
    assert [one.method for one in relay.naming(bucket)] == [method]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_write_costs_one_backend_request(relayed, relay, bucket, key, size):
    relay.forget()
    assert raw.ask(relayed.target, "PUT", bucket, key, body=b"w" * size).status == 200
    assert [one.method for one in relay.naming(bucket)] == ["PUT"]


def test_second_listing_of_a_page_looks_nothing_up_again(relayed, relay, bucket, objects):
    s3 = boto3_client(relayed.target)
    listings = []
    for _ in range(2):
        relay.forget()
        page = s3.list_objects_v2(Bucket=bucket)["Contents"]
        sizes = {entry["Key"]: entry["Size"] for entry in page}
        listings.append((SIZES.items() <= sizes.items(), len(relay.naming(bucket)) > 1))
    assert listings[1] == (True, False)


@pytest.mark.parametrize("listing", ["list-type=2", "", "versions"])
def test_computed_listing_costs_one_request(deployments, relayed, relay, bucket, objects, listing):
    settings = {"S3PROXY_POLICY_LISTING": "computed", "S3PROXY_ENCRYPT_KEY": relayed.proxy.key}
    name = f"proxy-computed-{listing.partition('=')[0] or 'v1'}"
    computed = deployments.proxy(relay, name, environment=settings)
    relay.forget()
    answer = raw.ask(computed.target, "GET", bucket, query=listing)
    assert answer.status == 200
    assert all(f"<Size>{size}</Size>".encode() in answer.body for size in SIZES.values())
    assert len(relay.naming(bucket)) == 1


def test_range_asks_the_backend_for_no_more_than_the_chunks_it_touches(
    relayed, relay, bucket, objects
):
    relay.forget()
    raw.ask(relayed.target, "GET", bucket, "streamed", headers={"Range": "bytes=3000000-3000099"})
    first, _, last = relay.naming(bucket)[0].headers["Range"].removeprefix("bytes=").partition("-")
    # 100 bytes touch at most two chunks.
    assert int(last) - int(first) + 1 <= 2 * (16384 + 16)


def test_request_is_forwarded_without_the_clients_signature_checksums_and_expectations(
    relayed, relay, bucket, key
):
    relay.forget()
    content = b"content" * 100
    sent = {
        "Expect": "100-continue",
        "x-amz-checksum-crc32": crc32(content),
        "x-amz-sdk-checksum-algorithm": "CRC32",
        "x-amz-meta-mine": "1",
    }
    assert raw.ask(relayed.target, "PUT", bucket, key, headers=sent, body=content).status == 200
    (arrived,) = relay.naming(bucket)
    names = {name.lower() for name in arrived.headers}
    assert arrived.headers["x-amz-meta-mine"] == "1"
    assert not {name for name in names if "checksum" in name}
    assert content not in arrived.body
    assert crc32(content) not in str(arrived.headers)


def test_conditions_of_a_batch_arrive_in_stored_terms(relayed, relay, bucket, objects):
    relay.forget()
    when = datetime.datetime(2033, 12, 1, 16, tzinfo=datetime.timezone.utc)
    batch = [
        {"Key": "small", "Size": SIZES["small"]},
        {"Key": "never-there", "ETag": f'"{MD5}-0"', "LastModifiedTime": when},
        {"Key": "never-there-plain", "ETag": f'"{MD5}"'},
        {"Key": "never-there-multipart", "ETag": f'"{MD5}-2"'},
    ]
    # Only the forwarded request is checked: the server may evaluate conditions in its own way.
    boto3_client(relayed.target).delete_objects(Bucket=bucket, Delete={"Objects": batch})
    (arrived,) = [one for one in relay.naming(bucket) if one.method == "POST"]
    document = raw.Response(200, arrived.headers, arrived.body)
    assert document.elements("Key") == [entry["Key"] for entry in batch]
    assert [etag.strip('"') for etag in document.elements("ETag")] == [MD5, MD5, f"{MD5}-2"]
    assert document.elements("Size") == [str(stored_length(SIZES["small"]))]
    assert "2033" in document.element("LastModifiedTime")
    raw.ask(relayed.target, "PUT", bucket, "small", body=objects["small"])


def test_conditions_of_a_delete_arrive_in_stored_terms(relayed, relay, bucket, objects):
    etag = raw.ask(relayed.target, "HEAD", bucket, "held-whole").headers["ETag"]
    relay.forget()
    size = SIZES["held-whole"]
    headers = {"If-Match": etag, "x-amz-if-match-size": str(size)}
    raw.ask(relayed.target, "DELETE", bucket, "held-whole", headers=headers)
    (arrived,) = [one for one in relay.naming(bucket) if one.method == "DELETE"]
    assert arrived.headers["If-Match"] == etag.replace("-0", "")
    assert arrived.headers["x-amz-if-match-size"] == str(stored_length(size))
    raw.ask(relayed.target, "PUT", bucket, "held-whole", body=objects["held-whole"])


def test_delete_under_another_etag_deletes_nothing(s3, seaweedfs):
    bucket = make_bucket(seaweedfs)
    s3.put_object(Bucket=bucket, Key="kept", Body=b"x")
    with pytest.raises(ClientError):
        s3.delete_object(Bucket=bucket, Key="kept", IfMatch=f'"{MD5}-0"')
    assert s3.head_object(Bucket=bucket, Key="kept")["ContentLength"] == 1


def crc32(content: bytes) -> str:
    import base64
    import zlib

    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
