"""Drills for every key service: replicas that share objects, counted calls, a key that is taken
away, an outage under traffic."""

import base64
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from zlib import crc32

import raw
from clients import boto3_client
from content import SMALL, content
from deployment import Deployment, Deployments
from refusal import assert_nothing_stored
from sealed import envelope_text, leaks, open_under, parse_envelope
from uploads import FIVE_MIB, Upload, body_of, piece

LAYOUT, KEK, DEK, HEAD, FLAGS, PRIVATE, SERVICE = 1, 2, 3, 4, 5, 6, 7
"""The fields of an envelope."""

SERVICE_ALONE = {"S3PROXY_ENCRYPT_KEY": None}
"""The environment of a proxy that has no local key."""

_PATIENCE = 60


def settings(keys: str, *, more: str = "") -> str:
    """A settings file; `keys` are the lines of its section [keys]."""
    return f'[listen]\ndrain_delay = "0s"\n\n[keys]\n{keys}\n\n{more}\n'


Replica = Callable[..., Deployment]
"""A module's function that starts a proxy: with a name, lines for [keys], and its own options."""


def start_replica(
    deployments: Deployments,
    name: str,
    *lines: str,
    more: str = "",
    environment: dict[str, str | None] = SERVICE_ALONE,
    **options,
) -> Deployment:
    """A proxy at SeaweedFS; `lines` are those of its section [keys], and `more` follows them."""
    return deployments.proxy(
        deployments.server("seaweedfs"),
        f"{name}-{secrets.token_hex(2)}",
        settings=settings("\n".join(lines), more=more),
        environment=environment,
        **options,
    )


def put(deployment: Deployment, bucket: str, key: str, body: bytes) -> raw.Response:
    return raw.ask(deployment.target, "PUT", bucket, key, body=body)


def get(deployment: Deployment, bucket: str, key: str) -> raw.Response:
    return raw.ask(deployment.target, "GET", bucket, key)


def readiness(deployment: Deployment) -> raw.Response:
    target = deployment.target
    return raw.send(raw.request(target, "GET", key="readyz"), target)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not {what} after {_PATIENCE} s"
        time.sleep(0.05)


def envelope(deployment: Deployment, bucket: str, key: str) -> dict:
    return parse_envelope(deployment.stored(bucket, key).metadata["isec"])


def change_envelope(deployment: Deployment, bucket: str, key: str, **fields) -> None:
    """Replaces fields of a stored object's envelope on the backend, by a copy onto itself."""
    s3 = boto3_client(deployment.backend.target)
    metadata = deployment.stored(bucket, key).metadata
    changed = parse_envelope(metadata["isec"]) | {int(n[1:]): v for n, v in fields.items()}
    s3.copy_object(
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": bucket, "Key": key},
        Metadata=metadata | {"isec": envelope_text(changed)},
        MetadataDirective="REPLACE",
    )


def another_replica_reads(
    replica: Replica,
    deployment: Deployment,
    bucket: str,
    key: str,
    size: int,
    *,
    name: str,
    kek: Callable[[bytes], bytes],
) -> None:
    """An object of one replica opens in another, and with the key that `kek` gets for the stored
    ciphertext; `name` is the key's name in envelopes."""
    plaintext = content(size)
    assert put(deployment, bucket, key, plaintext).status == 200
    assert get(replica("second"), bucket, key).body == plaintext
    stored = deployment.stored(bucket, key)
    assert not leaks(stored.body, plaintext)
    opened_by = kek(parse_envelope(stored.metadata["isec"])[SERVICE])
    assert len(opened_by) == 32
    assert open_under(stored, opened_by, name, bucket, key, size) == plaintext


def another_replica_continues_an_upload(
    replica: Replica, deployment: Deployment, bucket: str, key: str, *, name: str
) -> None:
    """One replica begins an upload, a second completes it, and a third reads the object."""
    second = boto3_client(replica("second").target)
    upload = Upload(boto3_client(deployment.target), bucket, key)
    upload.part(1, piece(FIVE_MIB, "one"))
    upload.through(second).part(2, piece(SMALL, "two"))
    upload.complete()
    assert envelope(deployment, bucket, key)[KEK] == name
    third = boto3_client(replica("third").target)
    assert body_of(third, bucket, key) == upload.plaintext


def key_is_taken_away(
    single: Deployment,
    cold: Deployment,
    bucket: str,
    prefix: str,
    *,
    take_away: Callable[[], None],
    give_back: Callable[[], None] | None = None,
    logged: str,
    named: str = "",
) -> None:
    """Without the key, a write of `single`, which has one KEK per object, and a read of `cold`,
    which has cached nothing, are refused; then the key comes back, if it can."""
    assert put(single, bucket, prefix + "cached", content(SMALL, "cached")).status == 200
    take_away()
    for answer in [
        put(single, bucket, prefix + "refused", b"x"),
        get(cold, bucket, prefix + "cached"),
    ]:
        assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
        assert named.encode() in answer.body
    for deployment in (single, cold):
        deployment.proxy.wait_for_log(logged)
    assert_nothing_stored(single, bucket, prefix + "refused")
    # Cached KEKs open for the cache time, and the replica stays in service.
    assert get(single, bucket, prefix + "cached").body == content(SMALL, "cached")
    assert readiness(single).status == 200
    if give_back:
        give_back()
        assert put(single, bucket, prefix + "again", b"x").status == 200
        assert get(cold, bucket, prefix + "cached").body == content(SMALL, "cached")


@dataclass(frozen=True)
class Outcome:
    key: str
    status: int
    code: str


class Traffic:
    """One writer and two readers, until the block ends. The reads need no call to the service."""

    def __init__(self, deployment: Deployment, bucket: str, prefix: str, cached: str):
        self._deployment, self._bucket, self._prefix = deployment, bucket, prefix
        self._cached = cached
        self._body = content(SMALL, "cached")
        assert put(deployment, bucket, cached, self._body).status == 200
        self.writes: list[Outcome] = []
        self.reads: list[Outcome] = []
        self._ended = threading.Event()
        works = (self._write, self._read, self._ask_without_keys)
        self._threads = [threading.Thread(target=self._repeat, args=[work]) for work in works]
        self._errors: list[Exception] = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert self._errors == []

    def wait_for_writes(self, status: int, number: int = 3) -> None:
        """Waits until a number of writes that begin from now on have ended with a status."""
        start = len(self.writes) + 1
        self._wait(lambda: self.writes[start:], status, number)

    def wait_for_reads(self, number: int = 10) -> None:
        start = len(self.reads) + 1
        self._wait(lambda: self.reads[start:], 200, number)

    def _wait(self, outcomes, status, number):
        def enough():
            assert self._errors == []
            return sum(outcome.status == status for outcome in outcomes()) >= number

        wait_for(enough, f"{number} answers {status}")

    def _repeat(self, work):
        for number in count():
            if self._ended.is_set():
                return
            try:
                work(number)
            except Exception as error:
                self._errors.append(error)
                return

    def _write(self, number):
        key = f"{self._prefix}{number}"
        answer = put(self._deployment, self._bucket, key, content(SMALL, key))
        self.writes.append(Outcome(key, answer.status, answer.code))

    def _read(self, _):
        answer = get(self._deployment, self._bucket, self._cached)
        assert answer.status != 200 or answer.body == self._body
        self.reads.append(Outcome(self._cached, answer.status, answer.code))

    def _ask_without_keys(self, _):
        target = self._deployment.target
        head = raw.ask(target, "HEAD", self._bucket, self._cached)
        self.reads.append(Outcome("HEAD", head.status, ""))
        listing = raw.ask(target, "GET", self._bucket, query="list-type=2&max-keys=3")
        self.reads.append(Outcome("list", listing.status, listing.code))


def outage_in_traffic(
    deployment: Deployment,
    other: Deployment,
    bucket: str,
    prefix: str,
    *,
    name: str,
    down: Callable[[], None],
    up: Callable[[], None],
) -> None:
    """Takes the service down and up again while `deployment` writes, with one KEK per object, and
    reads.

    `other` is a replica with its own KEK, so its objects are not in the cache of `deployment`.
    """
    cold = prefix + "cold"
    assert put(other, bucket, cold, content(SMALL, "cold")).status == 200
    with Traffic(deployment, bucket, prefix + "written/", prefix + "cached") as traffic:
        traffic.wait_for_writes(200)
        down()
        try:
            traffic.wait_for_writes(503, number=1)
            traffic.wait_for_reads()
            answer = get(deployment, bucket, cold)
            assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
            wait_for(
                lambda: name in readiness(deployment).body.decode(), "telling of it in /readyz"
            )
            assert readiness(deployment).status == 200
            assert put(other, bucket, prefix + "kek-in-use", b"x").status == 200
        finally:
            up()
        traffic.wait_for_writes(200)
        wait_for(lambda: name not in readiness(deployment).body.decode(), "well again in /readyz")
    outcomes = {(write.status, write.code) for write in traffic.writes}
    assert outcomes == {(200, ""), (503, "ServiceUnavailable")}
    assert {read.status for read in traffic.reads} == {200}
    written = {write.key for write in traffic.writes if write.status == 200}
    assert _stored_keys(deployment, bucket, prefix + "written/") == written
    for key in [*written][:5]:
        assert get(other, bucket, key).body == content(SMALL, key)
    assert get(deployment, bucket, cold).body == content(SMALL, "cold")


def _stored_keys(deployment: Deployment, bucket: str, prefix: str) -> set[str]:
    """All keys under the prefix: a fast machine writes more than one page of a listing."""
    pages = boto3_client(deployment.backend.target).get_paginator("list_objects_v2")
    pages = pages.paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def count_calls(
    replica: Callable[..., Deployment], uses: Callable[[], int], bucket: str, prefix: str
) -> None:
    """Counts calls at the service. A replica creates its first KEK when it becomes ready."""
    start = uses()
    writer = replica("writer")
    keys = [f"{prefix}{number}" for number in range(6)]
    for key in keys:
        assert put(writer, bucket, key, content(SMALL, key)).status == 200
    assert uses() - start == 1, "one KEK serves many objects"

    reader = replica("reader")
    start = uses()
    for key in keys:
        assert raw.ask(reader.target, "HEAD", bucket, key).status == 200
    listing = raw.ask(reader.target, "GET", bucket, query=f"list-type=2&prefix={prefix}")
    assert listing.elements("Size") == [str(SMALL)] * len(keys)
    assert uses() == start, "a HEAD of what has nothing sealed beside it, and listings, need no key"
    assert get(reader, bucket, keys[0]).body == content(SMALL, keys[0])
    assert uses() - start == 1, "a cold read asks once"
    for key in keys * 3:
        assert get(reader, bucket, key).body == content(SMALL, key)
    ranged = raw.ask(reader.target, "GET", bucket, keys[1], headers={"Range": "bytes=1-3"})
    assert ranged.body == content(SMALL, keys[1])[1:4]
    assert uses() - start == 1, "and no further read of what the same KEK wrapped"

    checksum = base64.b64encode(crc32(b"content").to_bytes(4)).decode()
    checked = raw.ask(
        writer.target,
        "PUT",
        bucket,
        f"{prefix}checked",
        headers={"x-amz-checksum-crc32": checksum},
        body=b"content",
    )
    assert checked.status == 200
    describer = replica("describer")
    start = uses()
    for _ in range(3):
        assert raw.ask(describer.target, "HEAD", bucket, f"{prefix}checked").status == 200
    assert uses() - start == 1, "what is sealed beside the body takes the key, once"

    start = uses()
    single = replica("single", "kek_objects = 1")
    for key in keys:
        assert put(single, bucket, key, content(SMALL, key)).status == 200
    assert uses() - start == len(keys), "one KEK for each object, where that is asked for"
    for key in keys:
        assert get(single, bucket, key).body == content(SMALL, key)
    assert uses() - start == len(keys), "whoever wrote it knows its KEK"
