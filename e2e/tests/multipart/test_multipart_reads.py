"""Objects of multipart uploads, sealed by the suite and read through the proxy.

For all sizes of parts, every read returns the right slice of the plaintext. A relay before the
server counts requests: two for a whole object that is not cached, three for a range, and one once
the object's layout is cached.
"""

import secrets

import pytest

import raw
from clients import boto3_client
from content import content
from multipart_samples import FIVE_MIB, Sample, base64_of, sample
from recorder import Replacing

CHUNK = 16384

SHAPES = {
    "aligned": {1: FIVE_MIB, 2: FIVE_MIB, 3: 2 * CHUNK + 99},
    "uneven": {1: FIVE_MIB + 5, 3: FIVE_MIB + CHUNK + 77, 9: 40000},
    "empty-last": {1: FIVE_MIB, 2: FIVE_MIB + 1, 7: 0},
    "three-bytes-last": {1: FIVE_MIB, 2: 3},
    "one-part": {4: FIVE_MIB + 9},
    "many": dict.fromkeys(range(1, 8), FIVE_MIB) | {10000: CHUNK},
    "small": {1: 70000},
    "nothing": {1: 0},
}


@pytest.fixture(scope="module")
def relay(deployments):
    relay = Replacing(deployments.server("seaweedfs").target)
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def deployment(deployments, relay):
    """A proxy whose requests to SeaweedFS are all recorded."""
    return deployments.proxy(relay, "proxy-multipart-reads")


@pytest.fixture(scope="module")
def server(deployments):
    """boto3 directly to the server, without the relay."""
    return boto3_client(deployments.server("seaweedfs").target)


@pytest.fixture(scope="module")
def bucket(server):
    name = f"e2e-{secrets.token_hex(4)}"
    server.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def samples():
    return {name: made(name) for name in SHAPES}


@pytest.fixture
def plant(deployment, server, bucket):
    """Stores a sample under a key that no read has used, by default a random one."""

    def plant(made: Sample, key: str = "") -> str:
        key = key or secrets.token_hex(8)
        stored = made.stored(deployment.proxy.key, bucket, key)
        server.put_object(Bucket=bucket, Key=key, Body=stored.body, Metadata=stored.metadata)
        return key

    return plant


@pytest.fixture
def read(deployment, relay, bucket):
    """Reads; returns the response and the requests that the server got for it."""

    def read(key, span="", method="GET", query="", **headers):
        relay.forget()
        if span:
            headers["Range"] = f"bytes={span}"
        answer = raw.ask(deployment.target, method, bucket, key, query=query, headers=headers)
        return answer, relay.naming(bucket)

    return read


def made(name: str, **fields) -> Sample:
    plaintexts = {number: content(size, str(number)) for number, size in SHAPES[name].items()}
    return sample(plaintexts, **fields)


def spans(made: Sample) -> list[str]:
    """Ranges inside, at the edges of and across chunks and parts; open-ended; suffixes."""
    size = len(made.plaintext)
    edges, position = [0, CHUNK, size // 2], 0
    for part in made.parts:
        position += len(part.plaintext)
        edges += [position, position + 20000]
    closed = [(edge + before, edge + behind) for edge in edges for before, behind in NEAR]
    closed += [(0, size - 1), (1, size - 2), (1, size + 1000)]
    found = [f"{first}-{last}" for first, last in closed if 0 <= first <= last and first < size]
    found += [f"{size // 3}-", f"{size - 1}-", "-1", "-99", "-100000", f"-{size + 5}"]
    return list(dict.fromkeys(found))


NEAR = [(0, 0), (-1, -1), (-1, 0), (-5, 5), (0, 9), (100, CHUNK + 100)]


def slice_of(plaintext: bytes, span: str) -> tuple[bytes, str]:
    """The bytes of a range, and the matching Content-Range."""
    size = len(plaintext)
    first, _, last = span.partition("-")
    if first:
        start, end = int(first), min(int(last or size), size - 1)
    else:
        start, end = max(size - int(last), 0), size - 1
    return plaintext[start : end + 1], f"bytes {start}-{end}/{size}"


@pytest.mark.parametrize("name", SHAPES)
def test_whole_object_and_its_head_are_the_plaintexts(plant, read, samples, name):
    plaintext = samples[name].plaintext
    key = plant(samples[name])
    for method in ("GET", "HEAD"):
        answer, _ = read(key, method=method)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(plaintext)))
        assert answer.body == (plaintext if method == "GET" else b"")
        assert answer.headers["ETag"].endswith('-0"')
        assert answer.headers["x-amz-meta-isec"] is answer.headers["x-amz-mp-parts-count"] is None


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "nothing"])
def test_any_range_is_the_slice_cold_and_cached(plant, read, samples, name):
    made = samples[name]
    for span in spans(made):
        key = plant(made) if span in ("-99", "100-16484") else plant_once(plant, made, name)
        expected, content_range = slice_of(made.plaintext, span)
        for _ in range(2):
            answer, asked = read(key, span)
            assert (answer.status, answer.headers["Content-Range"]) == (206, content_range), span
            assert answer.body == expected, span
            assert len(asked) <= 4
        head, asked = read(key, span, method="HEAD")
        assert (head.status, head.headers["Content-Range"]) == (206, content_range), span
        assert len(asked) == 1


PLANTED: dict[str, str] = {}


def plant_once(plant, made: Sample, name: str) -> str:
    if name not in PLANTED:
        PLANTED[name] = plant(made)
    return PLANTED[name]


@pytest.mark.parametrize("name", SHAPES)
def test_range_beyond_the_end_is_refused_in_plaintext_terms(plant, read, samples, name):
    size = len(samples[name].plaintext)
    key = plant(samples[name])
    for _ in range(2):
        for first in (size, size + 1, size + 10**7):
            answer, _ = read(key, f"{first}-")
            assert (answer.status, answer.code) == (416, "InvalidRange")
            assert answer.headers["Content-Range"] == f"bytes */{size}"
            assert answer.element("ActualObjectSize") == str(size)
        read(key)


@pytest.mark.parametrize("name", SHAPES)
def test_parts_go_by_their_numbers_and_have_their_own_ranges(plant, read, samples, name):
    made = samples[name]
    key = plant(made)
    total, position = len(made.plaintext), 0
    for part in made.parts:
        size = len(part.plaintext)
        for method in ("GET", "HEAD"):
            answer, _ = read(key, method=method, query=f"partNumber={part.number}")
            assert answer.status == (206 if size else 200)
            assert answer.headers["Content-Length"] == str(size)
            assert answer.headers["x-amz-mp-parts-count"] == str(len(made.parts))
            expected = f"bytes {position}-{position + size - 1}/{total}" if size else None
            assert answer.headers["Content-Range"] == expected
            assert answer.body == (part.plaintext if method == "GET" else b"")
        position += size


@pytest.mark.parametrize("name", SHAPES)
def test_a_number_that_no_part_has_does_not_exist(plant, read, samples, name):
    key = plant(samples[name])
    free = min(set(range(1, 10)) - SHAPES[name].keys())
    for number in [free, free, 9999]:
        answer, _ = read(key, query=f"partNumber={number}")
        assert (answer.status, answer.code) == (416, "InvalidPartNumber")
        read(key)


def ranges_of(asked) -> list[str]:
    return [one.headers.get("Range", one.method) for one in asked]


def test_whole_object_costs_two_requests_and_then_one(plant, read, samples):
    key = plant(samples["uneven"])
    assert [len(read(key)[1]) for _ in range(3)] == [2, 1, 1]


def test_range_in_aligned_parts_costs_three_requests_and_then_one(plant, read, samples):
    key = plant(samples["many"])
    span = f"{3 * FIVE_MIB + 100_000}-{3 * FIVE_MIB + 100_099}"
    (guess, tail, head) = read(key, span)[1]
    assert [one.method for one in (guess, tail, head)] == ["GET"] * 3
    first, last = map(int, head.headers["Range"].removeprefix("bytes=").split("-"))
    assert last - first + 1 == 56
    assert len(read(key, span)[1]) == 1
    # The head of this part is cached, so another range of it costs one request; that of the next
    # part is not.
    assert len(read(key, f"{4 * FIVE_MIB - 50}-{4 * FIVE_MIB - 1}")[1]) == 1
    assert len(read(key, f"{5 * FIVE_MIB - 50}-{5 * FIVE_MIB - 1}")[1]) == 2


def test_range_at_the_start_of_a_part_needs_no_head(plant, read, samples):
    for span in ("0-99", f"{FIVE_MIB}-{FIVE_MIB + 9}", f"{2 * FIVE_MIB - 9}-{2 * FIVE_MIB}"):
        key = plant(samples["aligned"])
        first, *later = (len(read(key, span)[1]) for _ in range(2))
        assert (first <= 3, later) == (True, [1]), span
    key = plant(samples["aligned"])
    assert len(read(key, "0-99")[1]) == 2


def test_cached_range_asks_for_the_chunks_it_touches_only(plant, read, samples):
    key = plant(samples["uneven"])
    span = f"{FIVE_MIB + 40_000}-{FIVE_MIB + 40_099}"
    read(key, span)
    ((first, last),) = [
        map(int, text.removeprefix("bytes=").split("-")) for text in ranges_of(read(key, span)[1])
    ]
    assert last - first + 1 <= 2 * (CHUNK + 16)


def test_small_upload_costs_one_request_but_for_a_range_whose_head_is_not_known(
    plant, read, samples
):
    key = plant(samples["small"])
    assert len(read(key)[1]) == 1
    assert len(read(key, "5-99")[1]) == 1
    assert [len(read(key, "40000-40099")[1]) for _ in range(2)] == [1, 1]
    cold = plant(samples["small"])
    assert [len(read(cold, "40000-40099")[1]) for _ in range(2)] == [2, 1]


def test_head_costs_one_request_and_one_more_for_a_part_that_is_not_known(plant, read, samples):
    key = plant(samples["uneven"])
    assert len(read(key, method="HEAD")[1]) == 1
    part = [read(key, method="HEAD", query="partNumber=3") for _ in range(2)]
    assert [len(asked) for _, asked in part] == [2, 1]


def test_part_costs_three_requests_and_then_one(plant, read, samples):
    for number in (1, 3):
        key = plant(samples["uneven"])
        costs = [len(read(key, query=f"partNumber={number}")[1]) for _ in range(2)]
        assert costs == [3, 1]


def test_reads_leave_their_connection_to_the_next(plant, read, relay, samples):
    key = plant(samples["many"])
    read(key)
    before = relay.connections
    for span in ("", f"{4 * FIVE_MIB + 20000}-{4 * FIVE_MIB + 20099}", "-99", "") * 3:
        read(key, span)
    assert relay.connections == before


@pytest.mark.parametrize("span", ["", "6000000-6000099", "-99", "0-9"])
def test_overwritten_object_is_read_in_its_new_state(plant, read, samples, span):
    key = plant(samples["uneven"])
    for name in ("uneven", "aligned", "small", "uneven", "three-bytes-last"):
        plaintext = samples[name].plaintext
        plant(samples[name], key)
        for _ in range(2):
            answer, _ = read(key, span)
            if span == "6000000-6000099" and len(plaintext) < 6_000_000:
                assert (answer.status, answer.code) == (416, "InvalidRange")
            else:
                assert answer.body == (slice_of(plaintext, span)[0] if span else plaintext)


@pytest.mark.parametrize("request_replaced", [2, 3])
@pytest.mark.parametrize("span", ["", "7000000-7000099"])
def test_object_replaced_between_two_requests_is_read_again(
    plant, read, relay, samples, span, request_replaced
):
    if not span and request_replaced == 3:
        pytest.skip("all of an object takes two requests")
    key = plant(samples["uneven"])
    later = samples["aligned"]
    relay.forget()
    relay.before = {request_replaced: lambda: plant(later, key)}
    answer, _ = read(key, span)
    assert relay.before == {}
    expected = slice_of(later.plaintext, span)[0] if span else later.plaintext
    assert (answer.status, answer.body) == (206 if span else 200, expected)


def test_version_that_was_overwritten_is_read_by_its_id(deployment, server, samples):
    bucket = f"e2e-{secrets.token_hex(4)}"
    server.create_bucket(Bucket=bucket)
    enabled = {"Status": "Enabled"}
    server.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    versions = {}
    for name in ("uneven", "aligned"):
        stored = samples[name].stored(deployment.proxy.key, bucket, "key")
        put = server.put_object(
            Bucket=bucket, Key="key", Body=stored.body, Metadata=stored.metadata
        )
        versions[name] = put["VersionId"]
    for name, version in list(versions.items()) * 2:
        for span in ("", "7000000-7000099"):
            headers = {"Range": f"bytes={span}"} if span else {}
            query = f"versionId={version}"
            answer = raw.ask(
                deployment.target, "GET", bucket, "key", query=query, headers=headers
            )
            plaintext = samples[name].plaintext
            assert answer.body == (slice_of(plaintext, span)[0] if span else plaintext)


CHECKSUMS = [bytes([number] * 4) for number in (1, 2, 3)]
WHOLE = b"\x09\x08\x07\x06"


def with_checksums(kind: str) -> Sample:
    found = made("uneven", fields={1: {"CRC32C": WHOLE}, 4: kind, 5: "CRC32C"})
    for part, checksum in zip(found.parts, CHECKSUMS, strict=True):
        part.checksum = checksum
    return found


@pytest.mark.parametrize(("kind", "suffix"), [("COMPOSITE", "-3"), ("FULL_OBJECT", "")])
def test_checksums_from_the_seal_are_returned_on_request(plant, read, kind, suffix):
    key = plant(with_checksums(kind))
    asking = {"x-amz-checksum-mode": "ENABLED"}
    for method in ("GET", "HEAD"):
        whole, _ = read(key, method=method, **asking)
        assert whole.headers["x-amz-checksum-crc32c"] == base64_of(WHOLE) + suffix
        assert whole.headers["x-amz-checksum-type"] == kind
        part, _ = read(key, method=method, query="partNumber=3", **asking)
        assert part.headers["x-amz-checksum-crc32c"] == base64_of(CHECKSUMS[1])
        ranged, _ = read(key, "0-9", method, **asking)
        silent, _ = read(key, method=method)
        for answer in (ranged, silent):
            assert not [name for name in answer.headers if "checksum" in name.lower()]


def test_sealed_metadata_and_checksum_of_a_small_upload_come_back(plant, read):
    private = {1: {"CRC32": WHOLE}, 2: {"owner": b"somebody", "note": b"a b"}, 4: "COMPOSITE"}
    key = plant(made("small", private=private))
    for method, span in [("GET", ""), ("GET", "20000-20009"), ("HEAD", ""), ("HEAD", "-5")]:
        answer, _ = read(key, span, method, **{"x-amz-checksum-mode": "ENABLED"})
        assert answer.headers["x-amz-meta-owner"] == "somebody"
        assert answer.headers["x-amz-meta-note"] == "a b"
        expected = None if span else base64_of(WHOLE) + "-1"
        assert answer.headers["x-amz-checksum-crc32"] == expected


ALL_ATTRIBUTES = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


def attributes(read, key, **headers):
    asked = {"x-amz-object-attributes": ALL_ATTRIBUTES} | headers
    answer, requests = read(key, query="attributes", **asked)
    assert answer.status == 200, answer.body
    return answer, requests


def test_attributes_are_the_plaintexts(plant, read):
    sealed = with_checksums("COMPOSITE")
    key = plant(sealed)
    answer, asked = attributes(read, key)
    assert [one.method for one in asked] == ["HEAD", "GET"]
    head, _ = read(key, method="HEAD")
    assert answer.element("ETag") == head.headers["ETag"].strip('"')
    assert answer.element("ObjectSize") == str(len(sealed.plaintext))
    assert answer.element("StorageClass") == "STANDARD"
    assert answer.element("ChecksumType") == "COMPOSITE"
    whole, *parts = answer.elements("ChecksumCRC32C")
    # The number of parts is an element of its own here, and no suffix.
    assert whole == base64_of(WHOLE)
    assert parts == [base64_of(checksum) for checksum in CHECKSUMS]
    assert answer.element("PartsCount") == "3"
    assert answer.elements("PartNumber") == ["1", "3", "9"]
    assert answer.elements("Size") == [str(len(part.plaintext)) for part in sealed.parts]
    assert answer.headers["Last-Modified"] == head.headers["Last-Modified"]


def test_parts_of_the_attributes_come_in_pages(plant, read):
    key = plant(with_checksums("FULL_OBJECT"))
    seen, marker = [], "0"
    for truncated in ("true", "true", "false"):
        page = {"x-amz-max-parts": "1", "x-amz-part-number-marker": marker}
        answer, _ = attributes(read, key, **page)
        assert answer.element("IsTruncated") == truncated
        seen += answer.elements("PartNumber")
        marker = answer.element("NextPartNumberMarker")
    assert seen == ["1", "3", "9"]
    beyond, _ = attributes(read, key, **{"x-amz-part-number-marker": "9"})
    assert beyond.elements("PartNumber") == []


def test_attributes_without_parts_and_checksum_cost_one_request(plant, read, samples):
    key = plant(samples["uneven"])
    headers = {"x-amz-object-attributes": "ETag,ObjectSize"}
    answer, asked = read(key, query="attributes", **headers)
    assert [one.method for one in asked] == ["HEAD"]
    assert answer.elements("ObjectParts") == answer.elements("StorageClass") == []


def test_attributes_of_a_plain_object_are_the_servers(server, bucket, read):
    server.put_object(Bucket=bucket, Key="plain", Body=b"plain")
    answer, _ = attributes(read, "plain")
    assert answer.element("ObjectSize") == "5"


@pytest.mark.parametrize("value", ["", "Size", "ETag,everything"])
def test_attributes_that_do_not_exist_are_refused(plant, read, samples, value):
    key = plant(samples["small"])
    answer, _ = read(key, query="attributes", **{"x-amz-object-attributes": value})
    assert (answer.status, answer.code) == (400, "InvalidArgument")
