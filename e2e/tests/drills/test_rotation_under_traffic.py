"""The rotation drill: a bucket of 500 objects moves from one key to another while things go wrong.

Objects of both layouts are written under key A into a bucket with versions. B becomes the active
key, `rewrap` is killed twice and then run to its end, A is removed, and everything reads as before.
`rewrap` reports an upload that is still open under A until it is complete. Nothing else is written
during the rotation: on SeaweedFS, a bucket with versions needs `--offline`.
"""

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import boto3_client
from commands import command
from content import SMALL, content
from deployment import make_bucket
from proxy import binary, new_key
from sealed import key_name, raw_key
from uploads import FIVE_MIB, Upload, piece

A, B = new_key(), new_key()
A_NAME, B_NAME = key_name(raw_key(A)), key_name(raw_key(B))
SINGLE, MULTIPART = 494, 6
KILLED_AFTER = (40, 160)
"""The number of objects that the command has reported when it is killed."""


@pytest.fixture(scope="module")
def server(deployments):
    return deployments.server("seaweedfs")


@pytest.fixture(scope="module")
def bucket(deployments, server):
    before = deployments.proxy(server, "drill-a", environment={"S3PROXY_ENCRYPT_KEY": A})
    bucket = make_bucket(before)
    boto3_client(server.target).put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    s3 = boto3_client(before.target, max_pool_connections=16)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: store(s3, bucket, number), range(SINGLE + MULTIPART)))
    return bucket


def store(s3, bucket, number):
    key = key_of(number)
    options = {"ContentType": f"text/x-{number}", "Metadata": {"number": str(number)}}
    if number < SINGLE:
        tags = {"Tagging": f"number={number}"} if number % 10 == 0 else {}
        s3.put_object(Bucket=bucket, Key=key, Body=content(number * 7, key), **options, **tags)
        return
    upload = Upload(s3, bucket, key, **options)
    upload.part(1, piece(FIVE_MIB, key))
    upload.part(2, piece(SMALL, key))
    upload.complete()


def key_of(number):
    return f"drill/{number % 7}/{number:04}"


def described(s3, bucket, number):
    key = key_of(number)
    answer = s3.get_object(Bucket=bucket, Key=key)
    tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] if number % 10 == 0 else []
    return answer["Body"].read(), answer["ContentType"], answer["Metadata"], tags


def everything(target, bucket):
    s3 = boto3_client(target, max_pool_connections=16)
    numbers = range(SINGLE + MULTIPART)
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda number: described(s3, bucket, number), numbers))


def start(proxy, *arguments):
    return subprocess.Popen(
        [binary(), *arguments[:1], "--config", proxy._config, "--json", *arguments[1:]],
        env=proxy._environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.timeout(1200)
def test_keys_are_rotated_under_traffic_and_through_kills(deployments, server, bucket):
    both = deployments.proxy(
        server,
        "drill-both",
        environment={"S3PROXY_ENCRYPT_KEY": B, "S3PROXY_KEYS_DECRYPT_KEYS": A},
    )
    still_a = deployments.proxy(server, "drill-a-again", environment={"S3PROXY_ENCRYPT_KEY": A})
    open_upload = Upload(boto3_client(still_a.target), bucket, "drill/open")
    open_upload.part(1, piece(SMALL, "open"))
    before = everything(both.target, bucket)

    for objects in KILLED_AFTER:
        running = start(both.proxy, "rewrap", "--offline", "--concurrency", "4", bucket)
        for _, _line in zip(range(objects), running.stdout):
            pass
        running.send_signal(signal.SIGKILL)
        running.stdout.close()
        assert running.wait() == -signal.SIGKILL
        under = [line["encryption_key"] for line in command(both.proxy, "inspect", bucket).objects]
        # The command was killed halfway: some objects are done, and some are not.
        assert A_NAME in under and B_NAME in under

    # The remaining objects: interrupted once more, as at a terminal, and resumed where the command
    # says.
    running = start(both.proxy, "rewrap", "--offline", "--concurrency", "4", bucket)
    first = json.loads(running.stdout.readline())
    assert first["type"] == "object"
    running.send_signal(signal.SIGINT)
    lines = [json.loads(line) for line in running.stdout]
    assert running.wait() == 130
    resume = lines[-1]["resume"]
    assert lines[-1]["interrupted"] and resume["targets"] == [bucket]
    go_on = ["--start-after", resume["start_after"]] if resume["start_after"] else []
    ran = command(both.proxy, "rewrap", "--offline", *go_on, bucket)
    assert ran.status == 0, ran.errors

    # All objects are under B. A is still needed by the upload and the replaced versions.
    ran = command(both.proxy, "rewrap", "--offline", "--check", bucket)
    assert ran.status == 4
    assert ran.summary["skipped"]["right-already"]["objects"] == SINGLE + MULTIPART
    assert ran.summary["still_needed"] == [
        {"encryption_key": A_NAME, "current_objects": 0, "old_versions": 0, "open_uploads": 1}
    ]
    open_upload.through(boto3_client(both.target)).complete()
    ran = command(both.proxy, "rewrap", "--offline", "--delete-old-versions", bucket)
    assert ran.summary["done"]["rewrapped"]["objects"] == 1
    counted = command(both.proxy, "rewrap", "--offline", "--versions", "--check", bucket)
    need = counted.summary["still_needed"]
    assert (counted.status, [entry["encryption_key"] for entry in need]) == (4, [A_NAME])
    assert need[0]["old_versions"] >= SINGLE + MULTIPART

    after = deployments.proxy(server, "drill-b", environment={"S3PROXY_ENCRYPT_KEY": B})
    assert everything(after.target, bucket) == before
    verified = command(after.proxy, "verify", bucket)
    assert (verified.status, verified.summary["failed"]) == (0, 0)
    assert verified.summary["done"]["verified"]["objects"] == SINGLE + MULTIPART + 1
