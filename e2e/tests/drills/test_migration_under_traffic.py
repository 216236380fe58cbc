"""The migration drill: a bucket with all formats before v1, migrated under traffic.

Objects are plaintext, Intrinsec's, Constellation's, and under the all-zero key. Clients read and
write through the proxy all the time. Every read must return the latest write, or one in progress;
in the end, everything is format v1.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import boto3_client
from commands import command
from content import LARGE, SMALL, content
from deployment import make_bucket
from legacy import CONSTELLATION, INTRINSEC, ZERO_KEK, Older
from proxy import new_key
from uploads import body_of

PASSPHRASE = "the passphrase of the older proxy"
KINDS = {
    "plaintext": None,
    "intrinsec": Older.of_text(PASSPHRASE, "0"),
    "version-1": Older.of_text(PASSPHRASE, "1"),
    "constellation": Older.of_text(PASSPHRASE, "0", CONSTELLATION),
    "zero": Older(INTRINSEC, ZERO_KEK),
    "zero-constellation": Older(CONSTELLATION, ZERO_KEK),
}
SIZES = [0, SMALL, 70_000, LARGE]
OBJECTS_OF_EACH = 5
WRITERS, READERS = 2, 3


@pytest.fixture(scope="module")
def bucket_of_old(deployments):
    """A proxy, and a bucket without versions. SeaweedFS does not suit the drill with versions, since
    its conditions are not atomic there, and `migrate` refuses."""
    environment = {
        "S3PROXY_ENCRYPT_KEY": new_key(),
        "S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE,
        "S3PROXY_DECRYPTION_FALLBACK": "1",
    }
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "drill-migration", environment=environment
    )
    return deployment, make_bucket(deployment)


class Traffic:
    """Writers and readers of one bucket, and the errors that they found.

    The generation of a key identifies its content: `begun` is the last one that was sent, `stored`
    the last one that was acknowledged. Each key has at most one writer at a time.
    """

    def __init__(self, deployment, bucket, sizes):
        self._target, self._bucket, self._sizes = deployment.target, bucket, sizes
        self.begun = dict.fromkeys(sizes, 0)
        self.stored = dict.fromkeys(sizes, 0)
        self.reads = self.writes = 0
        self.wrong: list[str] = []
        self._busy = {key: threading.Lock() for key in sizes}
        self._end = threading.Event()
        self._counting = threading.Lock()

    def body(self, key, generation):
        return content(self._sizes[key], f"{key}#{generation}")

    def write(self, seed):
        s3, chosen = boto3_client(self._target), random.Random(seed)
        keys = sorted(self._sizes)[::2]
        while not self._end.is_set():
            key = chosen.choice(keys)
            with self._busy[key]:
                self.begun[key] += 1
                body = self.body(key, self.begun[key])
                s3.put_object(Bucket=self._bucket, Key=key, Body=body)
                self.stored[key] = self.begun[key]
            with self._counting:
                self.writes += 1

    def read(self, seed):
        s3, chosen = boto3_client(self._target), random.Random(seed)
        keys = sorted(self._sizes)
        while not self._end.is_set():
            self.check(s3, chosen.choice(keys))

    def check(self, s3, key):
        first = self.stored[key]
        try:
            body = body_of(s3, self._bucket, key)
        except Exception as error:  # noqa: BLE001 - every error of a client is judged
            self.wrong.append(f"{key}: {error!r}")
            return
        last = self.begun[key]
        if all(body != self.body(key, generation) for generation in range(first, last + 1)):
            self.wrong.append(f"{key}: none of the generations {first} to {last}")
        with self._counting:
            self.reads += 1

    def during(self, work):
        """Runs traffic before, during and after `work`."""
        with ThreadPoolExecutor(WRITERS + READERS) as pool:
            running = [pool.submit(self.write, seed) for seed in range(WRITERS)]
            running += [pool.submit(self.read, seed) for seed in range(READERS)]
            try:
                self._until(lambda: self.reads >= 10 and self.writes >= 3, running)
                result = work()
                reads, writes = self.reads, self.writes
                self._until(lambda: self.reads >= reads + 10 and self.writes >= writes + 3, running)
            finally:
                self._end.set()
            for one in running:
                one.result()
        return result

    def _until(self, condition, running):
        while not condition():
            assert not any(one.done() for one in running), "a writer or reader gave up"
            threading.Event().wait(0.02)


def test_a_bucket_under_traffic_becomes_v1_without_a_wrong_read(bucket_of_old):
    deployment, bucket = bucket_of_old
    backend = boto3_client(deployment.backend.target)
    sizes = {
        f"{kind}/{number}-{size}": size
        for kind in KINDS
        for number in range(OBJECTS_OF_EACH)
        for size in SIZES
    }
    traffic = Traffic(deployment, bucket, sizes)
    for key in sizes:
        older, body = KINDS[key.split("/")[0]], traffic.body(key, 0)
        if older:
            older.put(backend, bucket, key, body)
        else:
            backend.put_object(Bucket=bucket, Key=key, Body=body)
    before = command(deployment.proxy, "inspect", bucket)
    assert before.summary["all_zero_key_objects"] == 2 * OBJECTS_OF_EACH * len(SIZES)

    migrated = traffic.during(
        lambda: command(deployment.proxy, "migrate", "--concurrency", "4", bucket)
    )
    assert traffic.wrong == []
    assert (migrated.status, migrated.summary["failed"]) == (0, 0), migrated
    done = migrated.summary["done"]["migrated"]["objects"]
    skipped = sum(count["objects"] for count in migrated.summary["skipped"].values())
    assert done + skipped == len(sizes) and done >= len(sizes) // 2

    after = command(deployment.proxy, "inspect", bucket)
    assert {line["format"] for line in after.objects} == {"v1-single"}
    assert (len(after.objects), after.summary["all_zero_key_objects"]) == (len(sizes), 0)
    s3 = boto3_client(deployment.target)
    for key in sizes:
        assert body_of(s3, bucket, key) == traffic.body(key, traffic.begun[key]), key
    verified = command(deployment.proxy, "verify", bucket)
    assert (verified.status, verified.summary["failed"]) == (0, 0)
