"""Two replicas behind a round-robin balancer, killed without warning while uploads run.

Every upload completes with the right bytes, or fails with an error; it never stores other bytes
than the client was told. After its abort and one sweep, nothing of an upload is left. The drill is
seeded; the machine decides when the kills fall.
"""

import random
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from balancer import Balancer
from clients import boto3_client
from proxy import new_key
from target import Target

UPLOADS = 120
SIDE_BY_SIDE = 8
PARTS_AT_ONCE = 3
PART = 5 * 1024 * 1024
SECONDS_BETWEEN_KILLS = (0.5, 2.0)
CLEAN_FAILURES = (ClientError, BotoCoreError, Boto3Error)


@dataclass
class Replicas:
    proxies: list
    target: Target
    kills: int = 0


@dataclass
class Outcome:
    key: str
    content: bytes | None = None
    """The content of a completed upload; `None` if Complete never succeeded for the client."""
    possible: list[bytes] = field(default_factory=list)
    """Content that the object may also have, if the response to Complete was lost."""
    error: str = ""


@pytest.fixture(scope="module")
def replicas(deployments):
    server = deployments.server("seaweedfs")
    key = {"S3PROXY_ENCRYPT_KEY": new_key()}
    proxies = [
        deployments.proxy(server, f"proxy-replica-{number}", environment=key).proxy
        for number in range(2)
    ]
    balancer = Balancer([proxy.target for proxy in proxies])
    first = proxies[0].target
    yield Replicas(
        proxies, Target(f"http://127.0.0.1:{balancer.port}", first.credential, first.region)
    )
    balancer.stop()


@pytest.fixture(scope="module")
def deployment(deployments):
    return deployments.get("seaweedfs", "http")


def client(target: Target):
    retries = {"max_attempts": 8, "mode": "standard"}
    connections = SIDE_BY_SIDE * PARTS_AT_ONCE
    return boto3_client(
        target,
        retries=retries,
        read_timeout=30,
        connect_timeout=5,
        max_pool_connections=connections,
    )


@pytest.mark.timeout(900)
def test_uploads_survive_replicas_that_die_at_any_moment(replicas, bucket, backend_s3):
    seed = 20261122
    s3 = client(replicas.target)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        work = [
            pool.submit(upload, s3, bucket, f"drill/{number:03}", seed + number)
            for number in range(UPLOADS)
        ]
        # In this thread: a child program dies with the thread that started it.
        kill_until_done(replicas, work, random.Random(seed))
        outcomes = [one.result() for one in work]
    assert replicas.kills >= 5
    wrong = [outcome.key for outcome in outcomes if not is_right(s3, bucket, outcome)]
    assert wrong == []
    completed = sum(outcome.content is not None for outcome in outcomes)
    print(f"{completed} of {UPLOADS} completed, {replicas.kills} replicas killed")
    assert completed > UPLOADS // 2
    abort_all(s3, bucket)
    replicas.proxies[0].command("sweep", "--bucket", bucket, "--older-than", "0s")
    left = backend_s3.list_objects_v2(Bucket=bucket, Prefix=".s3proxy/").get("Contents", [])
    assert [entry["Key"] for entry in left] == []


def kill_until_done(replicas: Replicas, work: list[Future], chance: random.Random) -> None:
    while wait(work, timeout=chance.uniform(*SECONDS_BETWEEN_KILLS)).not_done:
        proxy = chance.choice(replicas.proxies)
        proxy.kill()
        replicas.kills += 1
        proxy.start()


def upload(s3, bucket: str, key: str, seed: int) -> Outcome:
    """One upload: parts in random order and in parallel, some sent twice with other bytes."""
    chance = random.Random(seed)
    outcome = Outcome(key)
    try:
        identity = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        numbers = sorted(chance.sample(range(1, 10001), chance.randint(1, 3)))
        parts = {number: PART + chance.randint(0, 70000) for number in numbers}
        parts[numbers[-1]] = chance.choice([0, 1, 16384, 300_000, PART])
        attempts = [number for number in numbers for _ in range(chance.randint(1, 2))]
        chance.shuffle(attempts)
        bodies = [(number, random.Random(f"{seed}/{index}").randbytes(parts[number]))
                  for index, number in enumerate(attempts)]
        done = send_parts(s3, bucket, key, identity, bodies)
        listed = [{"PartNumber": number, "ETag": done[number][0]} for number in numbers]
        content = b"".join(done[number][1] for number in numbers)
        outcome.possible.append(content)
        s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=identity, MultipartUpload={"Parts": listed}
        )
        outcome.content = content
    except CLEAN_FAILURES as error:
        outcome.error = str(error)
    return outcome


def send_parts(s3, bucket, key, identity, bodies) -> dict[int, tuple[str, bytes]]:
    """Uploads the parts; returns number to ETag and bytes of the last attempt. Attempts at one
    number run one after another, different numbers in parallel."""
    by_number: dict[int, list[bytes]] = {}
    for number, body in bodies:
        by_number.setdefault(number, []).append(body)

    def send(number):
        for body in by_number[number]:
            answer = s3.upload_part(
                Bucket=bucket, Key=key, UploadId=identity, PartNumber=number, Body=body
            )
        return number, (answer["ETag"], body)

    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        return dict(pool.map(send, by_number))


def is_right(s3, bucket: str, outcome: Outcome) -> bool:
    try:
        held = s3.get_object(Bucket=bucket, Key=outcome.key)["Body"].read()
    except ClientError as error:
        missing = error.response["Error"]["Code"] == "NoSuchKey"
        return missing and outcome.content is None and outcome.error != ""
    if outcome.content is not None:
        return held == outcome.content
    return held in outcome.possible


def abort_all(s3, bucket: str) -> None:
    while uploads := s3.list_multipart_uploads(Bucket=bucket).get("Uploads"):
        for one in uploads:
            s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


def test_balancer_reaches_the_other_replica_when_one_is_gone(replicas, bucket):
    replicas.proxies[0].kill()
    try:
        s3 = client(replicas.target)
        deadline = time.monotonic() + 20
        for number in range(4):
            s3.put_object(Bucket=bucket, Key=f"alone/{number}", Body=b"x")
        assert time.monotonic() < deadline
    finally:
        replicas.proxies[0].start()
