"""Objects of the two older proxies are read as if this proxy had sealed them, and never written.

The objects are made by legacy.py and stored on the backend directly.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import raw
import wire
from clients import boto3_client
from content import LARGE, SMALL, content
from deployment import make_bucket
from legacy import (
    CONSTELLATION,
    INTRINSEC,
    KEK_VERSIONS,
    OVERHEAD,
    TAGS,
    ZERO_KEK,
    Older,
    noise,
    passphrase_kek,
)
from proxy import new_key
from recorder import Answer, Relay
from repository import ROOT
from sealed import Stored, open_sealed
from tampering import Vault, assert_only_plaintext, assert_refused_outright

PASSPHRASE = "a passphrase of an older proxy"
FORMER = "the one before, with a comma"
ACTIVE = new_key()
"""A key of this proxy's form; an older proxy hashed it like any other text."""

ENVIRONMENT = {"S3PROXY_ENCRYPT_KEY": ACTIVE, "S3PROXY_KEYS_DECRYPT_KEYS": f"{PASSPHRASE}\n{FORMER}"}
BLOCK = 65536
MIB = 1024 * 1024
SIZES = [0, 1, 12, 16, 28, SMALL, BLOCK - 28, BLOCK, LARGE, 16 * MIB + 7]
BOUND = 64 * MIB
VECTORS = ROOT / "crates/envelope/tests/vectors"


@pytest.fixture(scope="module")
def deployment(deployments):
    """A proxy that knows the passphrases and refuses the all-zero key."""
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-older", environment=ENVIRONMENT)


@pytest.fixture(scope="module")
def with_fallback(deployments):
    environment = ENVIRONMENT | {"S3PROXY_DECRYPTION_FALLBACK": "1"}
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-older-fallback", environment=environment)


@pytest.fixture(scope="module")
def denying(deployments):
    environment = ENVIRONMENT | {"S3PROXY_POLICY_LEGACY_READS": "deny"}
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-older-denying", environment=environment)


@pytest.fixture(scope="module", params=KEK_VERSIONS, ids=lambda version: f"version-{version}")
def older(request):
    """Intrinsec's proxy, before and after it changed its key derivation."""
    return Older.of_text(PASSPHRASE, request.param)


@pytest.fixture(scope="module")
def vault(deployment, bucket):
    return Vault(deployment, bucket)


@pytest.fixture(scope="module", params=SIZES)
def sized(request, deployment, bucket, older):
    """An object of one size, and its content."""
    size, key = request.param, f"sized-{request.param}-{older.recorded_version}"
    older.put(boto3_client(deployment.backend.target), bucket, key, content(size))
    return key, content(size)


def spans(size):
    """Ranges inside, at the edges of and across blocks, and open-ended ones."""
    pairs = [(0, 0), (size - 1, size - 1), (0, size - 1), (BLOCK - 1, BLOCK), (BLOCK, 2 * BLOCK - 1)]
    pairs += [(size // 2, size // 2 + 99), (5, size - 6), (size - BLOCK, size - 1)]
    inside = [(first, last) for first, last in pairs if 0 <= first <= last < size]
    return [(f"{first}-{last}", first, last) for first, last in inside] + [
        (f"{size // 3}-", size // 3, size - 1),
        (f"-{min(size, 100)}", size - min(size, 100), size - 1),
    ]


def test_object_of_any_size_reads_back_whole_and_in_ranges(vault, sized):
    key, plaintext = sized
    whole = vault.read(key)
    assert (whole.status, whole.body, whole.complete) == (200, plaintext, True)
    for span, first, last in spans(len(plaintext)) if plaintext else []:
        answer = vault.read(key, span)
        assert (answer.status, answer.complete) == (206, True), span
        assert answer.body == plaintext[first : last + 1], span
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(plaintext)}"
    assert vault.read(key, f"{len(plaintext)}-").status == 416


def test_object_of_any_size_is_described_in_plaintext_terms(deployment, s3, bucket, sized):
    key, plaintext = sized
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentLength"] == len(plaintext)
    assert head["ETag"].endswith('-0"'), "it is not the content's MD5, and must not look like one"
    assert head["Metadata"] == {}
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["ETag"], got["Metadata"]) == (head["ETag"], {})
    for page in s3.list_objects(Bucket=bucket, Prefix=key), s3.list_objects_v2(Bucket=bucket, Prefix=key):
        listed = {entry["Key"]: entry for entry in page["Contents"]}[key]
        assert (listed["Size"], listed["ETag"]) == (len(plaintext), head["ETag"])
    attributes = s3.get_object_attributes(
        Bucket=bucket, Key=key, ObjectAttributes=["ETag", "ObjectSize", "ObjectParts", "Checksum"]
    )
    assert attributes["ObjectSize"] == len(plaintext)
    assert attributes["ETag"] == head["ETag"].strip('"')
    assert "Checksum" not in attributes and "ObjectParts" not in attributes


def test_known_objects_read_back(deployments, deployment, bucket, backend_s3):
    files = ["legacy.json", "legacy-kek-version-1.json"]
    objects = [known for file in files for known in json.loads((VECTORS / file).read_text())["objects"]]
    for number, known in enumerate(objects):
        if known["body"] is None:
            continue
        passphrase = known["encrypt_key"] or "any"
        environment = {
            "S3PROXY_ENCRYPT_KEY": passphrase,
            "S3PROXY_DECRYPTION_FALLBACK": "allow",
            "S3PROXY_KEYS_SHORT_PASSPHRASE": "allow",
        }
        proxy = deployments.proxy(deployment.backend, f"proxy-known-{number}", environment=environment)
        key, expected = f"known-{number}", bytes(i % 251 for i in range(known["plaintext_length"]))
        for tag in TAGS:
            metadata = {tag: known["metadata_value"]}
            if version := known.get("kek_version"):
                metadata[f"{tag}-kek-ver"] = version
            body = bytes.fromhex(known["body"])
            backend_s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
            assert raw.ask(proxy.target, "GET", bucket, key).body == expected
        proxy.proxy.stop()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("text", [ACTIVE, PASSPHRASE, FORMER], ids=["active", "older", "oldest"])
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("version", KEK_VERSIONS)
def test_any_configured_key_opens_under_either_tag_in_either_version(
    vault, backend_s3, bucket, key, tag, text, size, version
):
    Older.of_text(text, version, tag).put(backend_s3, bucket, key, content(size))
    assert vault.read(key).body == content(size)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("recorded", [None, "", "1"])
def test_all_zero_key_opens_only_with_the_fallback_and_the_error_names_it(
    deployment, with_fallback, backend_s3, bucket, key, tag, recorded
):
    for size in (SMALL, LARGE):
        Older(tag, ZERO_KEK, recorded).put(backend_s3, bucket, key, content(size))
        assert raw.ask(with_fallback.target, "GET", bucket, key).body == content(size)
        refused = raw.ask(deployment.target, "GET", bucket, key)
        assert (refused.status, refused.code) == (403, "AccessDenied")
        assert "32 zero bytes" in refused.element("Message")
        assert "keys.decryption_fallback = allow" in refused.element("Message")
        assert raw.ask(deployment.target, "HEAD", bucket, key).status == 403


@pytest.mark.parametrize("version", KEK_VERSIONS)
def test_object_under_a_key_that_is_not_configured_says_so(deployment, backend_s3, bucket, key, version):
    Older.of_text("lost", version).put(backend_s3, bucket, key, content(SMALL))
    refused = raw.ask(deployment.target, "GET", bucket, key)
    assert (refused.status, refused.code) == (403, "AccessDenied")
    reason = raw.ask(deployment.target, "HEAD", bucket, key).headers["x-s3proxy-reason"]
    assert reason == f"AccessDenied: {refused.element('Message')}"
    assert "none of the configured keys opens it" in refused.element("Message")


@pytest.mark.parametrize("version", ["0", "2", "unheard of"])
def test_unknown_version_is_named_and_only_its_length_is_shown(
    with_fallback, backend_s3, bucket, prefix, version
):
    key, copy = prefix + "object", {"x-amz-copy-source": f"/{bucket}/{prefix}object"}
    newer = Older(INTRINSEC, passphrase_kek(PASSPHRASE), version)
    newer.put(backend_s3, bucket, key, content(LARGE))
    for method, asked, query, headers in [
        ("GET", key, "", {}),
        ("GET", key, "", {"Range": "bytes=0-9"}),
        ("GET", key, "attributes", {"x-amz-object-attributes": "ObjectSize"}),
        ("PUT", prefix + "copy", "", copy),
    ]:
        answer = raw.ask(with_fallback.target, method, bucket, asked, query=query, headers=headers)
        assert (answer.status, answer.code) == (403, "AccessDenied"), (method, query)
        message = answer.element("Message")
        assert "newer version of Intrinsec's s3proxy" in message and f'"{version}"' in message
    assert raw.ask(with_fallback.target, "HEAD", bucket, key).status == 403
    s3 = boto3_client(with_fallback.target)
    [listed] = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert listed["Size"] == LARGE


def test_an_objects_attributes_come_back_without_the_wrapped_key(s3, backend_s3, bucket, key, older):
    older.put(
        backend_s3, bucket, key, content(SMALL),
        Metadata={"mine": "1", CONSTELLATION: "also there", f"{CONSTELLATION}-kek-ver": "1"}, ContentType="text/x-old",
    )
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["Metadata"], got["ContentType"]) == ({"mine": "1"}, "text/x-old")


def test_conditions_accept_the_returned_etag(deployment, s3, backend_s3, bucket, key, older):
    older.put(backend_s3, bucket, key, content(SMALL), Metadata={"mine": "1"})
    etag = s3.head_object(Bucket=bucket, Key=key)["ETag"]
    assert s3.get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"].read() == content(SMALL)
    unchanged = raw.ask(deployment.target, "GET", bucket, key, headers={"If-None-Match": etag})
    assert (unchanged.status, unchanged.headers["ETag"]) == (304, etag)
    assert unchanged.headers["x-amz-meta-isec"] is None
    assert unchanged.headers["x-amz-meta-isec-kek-ver"] is None
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key=key, IfMatch='"00000000000000000000000000000000-0"')


def test_first_part_is_all_of_it_and_there_is_no_second(vault, backend_s3, bucket, key, older):
    older.put(backend_s3, bucket, key, content(LARGE))
    part = vault.read(key, query="partNumber=1")
    assert (part.status, part.body) == (206, content(LARGE))
    assert vault.read(key, query="partNumber=2").status == 416


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("version", KEK_VERSIONS)
def test_copy_of_it_is_sealed_in_the_proxys_own_format(
    deployment, s3, backend_s3, bucket, prefix, tag, size, version
):
    source, key = prefix + "source", prefix + "copy"
    older = Older.of_text(PASSPHRASE, version, tag)
    older.put(backend_s3, bucket, source, content(size), Metadata={"mine": "1"}, ContentType="text/x-old")
    copied = s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source})
    read = s3.get_object(Bucket=bucket, Key=key)
    assert read["Body"].read() == content(size)
    assert (read["Metadata"], read["ContentType"]) == ({"mine": "1"}, "text/x-old")
    assert read["ETag"] == copied["CopyObjectResult"]["ETag"]
    stored = deployment.stored(bucket, key)
    assert stored.metadata["isec"].startswith("s3p1.")
    assert set(stored.metadata) == {"isec", "mine"}
    assert open_sealed(stored, ACTIVE, bucket, key, size) == content(size)


def test_copy_onto_itself_brings_it_into_the_proxys_own_format(deployment, s3, backend_s3, bucket, key, older):
    older.put(backend_s3, bucket, key, content(LARGE))
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key},
        MetadataDirective="REPLACE", Metadata={"new": "1"},
    )
    stored = deployment.stored(bucket, key)
    assert open_sealed(stored, ACTIVE, bucket, key, LARGE) == content(LARGE)
    assert set(stored.metadata) == {"isec", "new"}


def test_parts_are_copied_out_of_it(s3, backend_s3, bucket, prefix, older):
    source, key = prefix + "source", prefix + "target"
    plaintext = content(12 * MIB)
    older.put(backend_s3, bucket, source, plaintext)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, (first, last) in enumerate([(3, 6 * MIB), (6 * MIB + 1, 12 * MIB - 5)], start=1):
        copied = s3.upload_part_copy(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=number,
            CopySource={"Bucket": bucket, "Key": source}, CopySourceRange=f"bytes={first}-{last}",
        )
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == plaintext[3:-4]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("version", KEK_VERSIONS)
def test_reads_that_are_denied_are_refused_everywhere(
    denying, s3, backend_s3, bucket, prefix, tag, version
):
    key, target = prefix + "object", prefix + "target"
    Older.of_text(PASSPHRASE, version, tag).put(backend_s3, bucket, key, content(LARGE))
    upload = s3.create_multipart_upload(Bucket=bucket, Key=target)["UploadId"]
    copy = {"x-amz-copy-source": f"/{bucket}/{key}"}
    attributes = {"x-amz-object-attributes": "ObjectSize"}
    for method, asked, query, headers in [
        ("GET", key, "", {}),
        ("GET", key, "", {"Range": "bytes=0-9"}),
        ("GET", key, "partNumber=1", {}),
        ("GET", key, "attributes", attributes),
        ("PUT", target, "", copy),
        ("PUT", target, f"partNumber=1&uploadId={upload}", copy),
    ]:
        answer = raw.ask(denying.target, method, bucket, asked, query=query, headers=headers)
        assert (answer.status, answer.code) == (403, "AccessDenied"), (method, query)
        assert "legacy_reads = deny" in answer.element("Message")
    assert raw.ask(denying.target, "HEAD", bucket, key).status == 403
    s3.abort_multipart_upload(Bucket=bucket, Key=target, UploadId=upload)


def flipped(stored: Stored, offset: int) -> Stored:
    body = bytearray(stored.body)
    body[offset] ^= 0x20
    return Stored(bytes(body), stored.metadata)


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE, 6 * MIB])
def test_byte_flipped_anywhere_is_refused_before_a_byte_is_sent(vault, key, older, size):
    stored = older.seal(content(size))
    end = len(stored.body)
    offsets = {0, 11, 12, end // 2, end - 17, end - 16, end - 1, 12 + BLOCK, 12 + BLOCK - 1}
    for offset in sorted(offset for offset in offsets if 0 <= offset < end):
        vault.plant(key, flipped(stored, offset))
        assert_refused_outright(vault.read(key))
        if size:
            assert_refused_outright(vault.read(key, "0-0"))
            assert_refused_outright(vault.read(key, "-1"))


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_other_lengths_bodies_and_keys_are_refused_before_a_byte_is_sent(vault, key, older, size):
    stored, other = older.seal(content(size)), older.seal(content(size, "other"))
    wrapped = stored.metadata[INTRINSEC]
    altered = {
        "nothing left": Stored(b"", stored.metadata),
        "too short for any": Stored(stored.body[: OVERHEAD - 1], stored.metadata),
        "one byte less": Stored(stored.body[:-1], stored.metadata),
        "one byte more": Stored(stored.body + b"\0", stored.metadata),
        "another object's key": Stored(stored.body, other.metadata),
        "a digit changed": Stored(stored.body, {INTRINSEC: f"{int(wrapped[0], 16) ^ 1:x}{wrapped[1:]}"}),
        "a digit less": Stored(stored.body, {INTRINSEC: wrapped[1:]}),
        "no digits": Stored(stored.body, {CONSTELLATION: "x" * 80}),
        "no value": Stored(stored.body, {CONSTELLATION: "-"}),
    }
    for alteration, planted in altered.items():
        vault.plant(key, planted)
        answer = vault.read(key)
        # A wrapped key that does not open may have been wrapped with a key that this proxy lacks.
        is_unknown = alteration == "a digit changed"
        refused = (403, "AccessDenied") if is_unknown else (500, "InternalError")
        assert (answer.status, answer.code) == refused, alteration


class Swapping(Relay):
    """A relay that flips a byte of an object in every response with that byte but the first."""

    def __init__(self, server, offset):
        self.offset = offset
        self.seen = 0
        super().__init__(server)

    def answer(self, recorded):
        answer = super().answer(recorded)
        # The proxy also lists buckets, to test its credential.
        is_of_object = recorded.method == "GET" and recorded.line.count("/") > 1
        if not is_of_object or answer.status not in (200, 206):
            return answer
        headers = {name.lower(): value for name, value in answer.headers}
        span = headers.get("content-range", "bytes 0-").removeprefix("bytes ")
        at = self.offset - int(span.partition("-")[0])
        if not 0 <= at < len(answer.body):
            return answer
        self.seen += 1
        if self.seen == 1:
            return answer
        body = answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :]
        return Answer(answer.status, answer.headers, body, answer.length)


@pytest.fixture
def before_relay(deployments, prefix):
    """Starts a proxy before the test's own relay."""
    started = []

    def start(relay):
        proxy = deployments.proxy(relay, f"proxy-relay-{prefix[:-1]}", environment=ENVIRONMENT)
        started.extend([relay, proxy.proxy])
        return proxy

    yield start
    for one in reversed(started):
        one.stop()


@pytest.mark.parametrize("offset", [12, 12 + 5 * BLOCK, 12 + LARGE - 1])
def test_bytes_exchanged_after_the_verification_are_not_sent(
    before_relay, deployment, backend_s3, bucket, key, older, offset
):
    older.put(backend_s3, bucket, key, content(LARGE))
    swapping = Swapping(deployment.backend.target, offset)
    proxy = before_relay(swapping)
    answer = Vault(proxy, bucket).read(key)
    assert swapping.seen == 2, "the body is read twice"
    assert_only_plaintext(answer, content(LARGE))
    sent = len(answer.body) if answer.status == 200 else 0
    assert sent <= (offset - 12) // BLOCK * BLOCK, "the block of the exchanged byte stays back"
    for span in ("0-", f"{offset - 12}-{offset - 12}"):
        answer = Vault(proxy, bucket).read(key, span)
        assert answer.status == 500 or not answer.complete


def test_repeated_reads_cost_one_request_each(before_relay, deployment, backend_s3, bucket, prefix, older):
    relay = Relay(deployment.backend.target)
    vault = Vault(before_relay(relay), bucket)
    small, large = prefix + "small", prefix + "large"
    older.put(backend_s3, bucket, small, content(SMALL))
    older.put(backend_s3, bucket, large, content(LARGE))
    for key, span, cost in [
        (small, "", 1),
        (small, "", 1),
        (large, "", 3),
        (large, "", 1),
        (large, "0-9", 1),
        (large, f"{BLOCK - 1}-{BLOCK}", 1),
        (large, "-5", 1),
        (large, "", 1),
    ]:
        relay.forget()
        assert vault.read(key, span).complete
        assert len(relay.naming(bucket)) == cost, (key, span)
    # A changed object is verified again.
    older.put(backend_s3, bucket, large, content(LARGE, "another"))
    assert vault.read(large, "0-9").body == content(LARGE, "another")[:10]


def test_parallel_ranges_share_one_verification(
    before_relay, deployment, backend_s3, bucket, key, older
):
    plaintext = content(9 * MIB)
    older.put(backend_s3, bucket, key, plaintext)
    relay = Relay(deployment.backend.target)
    vault = Vault(before_relay(relay), bucket)
    starts = [number * MIB + 5 for number in range(8)]
    with ThreadPoolExecutor(len(starts)) as pool:
        answers = pool.map(lambda first: vault.read(key, f"{first}-{first + 999}"), starts)
    for first, answer in zip(starts, answers, strict=True):
        assert (answer.status, answer.body) == (206, plaintext[first : first + 1000])
    assert len([one for one in relay.naming(bucket) if is_for_all(one)]) == 1


class Waiting(Relay):
    """A relay that holds back whole-object reads until they are released."""

    def __init__(self, server):
        self.asked, self.let_go = threading.Event(), threading.Event()
        super().__init__(server)

    def answer(self, recorded):
        if recorded.method == "GET" and is_for_all(recorded):
            self.asked.set()
            assert self.let_go.wait(timeout=30)
        return super().answer(recorded)


def test_verification_outlasts_the_client_that_caused_it(
    before_relay, deployment, backend_s3, bucket, key, older
):
    older.put(backend_s3, bucket, key, content(LARGE))
    relay = Waiting(deployment.backend.target)
    proxy = before_relay(relay)
    built = raw.request(proxy.target, "GET", bucket, key, headers={"Range": "bytes=5-9"})
    with wire.connect(proxy.target) as connection:
        connection.sendall(wire.message(raw.sign(built, proxy.target)))
        assert relay.asked.wait(timeout=30)
    deadline = time.monotonic() + 30
    while connections(proxy.proxy.port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert connections(proxy.proxy.port) == 0, "the proxy has noticed that the client left"
    relay.let_go.set()
    assert Vault(proxy, bucket).read(key, "5-9").body == content(LARGE)[5:10]
    assert len([one for one in relay.naming(bucket) if is_for_all(one)]) == 1


def is_for_all(recorded) -> bool:
    """Whether the request is for a whole object."""
    line = recorded.line
    return line != "/" and not recorded.headers["Range"] and "?" not in line


def connections(port: int) -> int:
    """The number of connections on a server's port that the server itself has not closed."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    established, left_by_the_other = "01", "08"
    states = [line.split()[3] for line in lines if int(line.split()[1].partition(":")[2], 16) == port]
    return sum(state in (established, left_by_the_other) for state in states)


def peak_memory(process_id: int) -> int:
    """The peak of a process's resident memory in bytes."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_an_object_of_five_times_the_memory_bound_is_read_within_it(deployments, deployment, backend_s3, key):
    # A text in the form of a key, which older proxies hashed like any other text. A passphrase
    # would cost this proxy 64 MiB at start-up, because it stretches passphrases.
    text = new_key()
    bucket = make_bucket(deployment)
    proxy = deployments.proxy(
        deployment.backend, "proxy-older-memory", environment={"S3PROXY_ENCRYPT_KEY": text}
    )
    plaintext = noise(5 * BOUND)
    Older(INTRINSEC, passphrase_kek(text)).put(backend_s3, bucket, key, plaintext)
    try:
        first = 200 * MIB + 5
        for span, start, end in [
            (f"{first}-{first + 9 * MIB}", first, first + 9 * MIB + 1),
            (None, 0, len(plaintext)),
            ("-1000", len(plaintext) - 1000, len(plaintext)),
        ]:
            parameters = {"Range": f"bytes={span}"} if span else {}
            got = boto3_client(proxy.target, read_timeout=300).get_object(Bucket=bucket, Key=key, **parameters)
            assert got["ContentLength"] == end - start
            at = start
            for piece in got["Body"].iter_chunks(MIB):
                assert piece == plaintext[at : at + len(piece)]
                at += len(piece)
            assert at == end
        peak = peak_memory(proxy.proxy.process_id)
        assert peak < BOUND, f"{peak / MIB:.1f} MiB"
    finally:
        backend_s3.delete_object(Bucket=bucket, Key=key)
        proxy.proxy.stop()
