"""Two replicas behind a balancer, restarted one at a time by SIGTERM while clients of all kinds
run, over HTTP and over HTTPS.

No client may see a failure or a wrong byte, and none may retry a request. There is one exception,
as HTTP/1.1 has no way around it: a connection that was idle for longer than the drain's delay may
be closed, and a client that sees this opens another one. minio-go is left out: its retries cannot
be switched off.
"""

import json
import threading
import time
from dataclasses import replace

import pytest

import sdks
from balancer import Balancer
from client_driver import Drivers
from clients import AwsCli, CurlPresigned, Rclone, RustSdk, S3cmd, boto3_client
from loops import (
    WITHOUT_RETRIES,
    Loops,
    driven,
    folders,
    kept_connection,
    sdk_objects,
    sdk_uploads,
    slow_downloads,
    slow_uploads,
    without_retries,
)
from proxy import new_key
from trees import MIB

ROUNDS = 1
DRAIN_DELAY = 8
"""Long compared with a round of any client: pooled connections that are idle for longer are closed,
and some clients notice only when they send."""

SETTINGS = f"""
[listen]
drain_delay = "{DRAIN_DELAY}s"
drain_timeout = "20s"
"""
KEY = new_key()
"""The key of both schemes, whose clients use the same names in one bucket."""

DRIVEN = {"AWS SDK for Go v2", "AWS SDK for Java 2", "AWS SDK for JavaScript v3"}
PAUSES = {"idle-connection": 1.5 * DRAIN_DELAY}


@pytest.fixture(scope="module", params=["http", "https"])
def scheme(request):
    return request.param


@pytest.fixture(scope="module")
def replicas(deployments, certificates, scheme):
    options = {
        "settings": SETTINGS,
        "environment": {"S3PROXY_ENCRYPT_KEY": KEY},
        "certificates": certificates if scheme == "https" else None,
    }
    server = deployments.server("seaweedfs")
    names = [f"proxy-rolling-{scheme}-{n}" for n in range(2)]
    return [deployments.proxy(server, name, **options).proxy for name in names]


@pytest.fixture(scope="module")
def balancer(replicas):
    balancer = Balancer([proxy.target for proxy in replicas], probe="readyz")
    yield balancer
    balancer.stop()


@pytest.fixture(scope="module")
def target(replicas, balancer):
    first = replicas[0].target
    return replace(first, url=f"{first.scheme}://127.0.0.1:{balancer.port}")


@pytest.fixture
def drivers(run_directory):
    drivers = Drivers(run_directory)
    yield drivers
    drivers.stop()


@pytest.mark.timeout(300)
def test_rolling_restart_loses_no_request(replicas, balancer, target, bucket, drivers, tmp_path):
    with Loops(clients_of_all_kinds(target, bucket, drivers, tmp_path)) as loops:
        wait_for(lambda: min(loops.rounds().values()) >= 1, "a round of every client", loops)
        for _ in range(ROUNDS):
            for proxy in replicas:
                restart(proxy, balancer)
                before = loops.rounds()
                moved = lambda: sum(loops.rounds().values()) > sum(before.values()) + len(before)  # noqa: E731, B023
                wait_for(moved, "clients going on", loops)
    print(loops.rounds())
    assert loops.failures() == []
    assert min(loops.rounds().values()) >= 2
    for proxy in replicas:
        assert proxy.log_text().count("drained; all requests finished") == ROUNDS
        assert [line for line in requests_of(proxy) if line["outcome"] != "complete"] == []
        assert [line for line in requests_of(proxy) if line["status"] >= 400] == []


def clients_of_all_kinds(target, bucket, drivers, scratch):
    pace = threading.Event()
    retries = {"total_max_attempts": 1, "mode": "standard"}
    s3 = boto3_client(target, retries=retries)
    homes = {name: scratch / f"home-{name}" for name in ("aws", "rust", "rclone", "s3cmd", "curl")}
    for home in homes.values():
        home.mkdir()
    commands = {
        "aws-cli": AwsCli(target, homes["aws"], **WITHOUT_RETRIES),
        "rust-sdk": RustSdk(target, homes["rust"], **WITHOUT_RETRIES),
        "rclone": Rclone(target, homes["rclone"], RCLONE_LOW_LEVEL_RETRIES="1"),
        "s3cmd": S3cmd(target, homes["s3cmd"], "max_retries = 0\n"),
        "curl": CurlPresigned(target, homes["curl"]),
    }
    programs = [without_retries(one) for one in sdks.PROGRAMS if one.name in DRIVEN]
    return [
        sdk_objects(s3, bucket, "boto3"),
        sdk_uploads(s3, bucket, "boto3-parts", lambda: pace.wait(0.7)),
        *(folders(client, bucket, name, scratch) for name, client in commands.items()),
        # Started in this thread: a child dies with the thread that started it.
        *(driven(drivers.driver(one, target), bucket, one.slug, scratch) for one in programs),
        kept_connection(target, bucket, "kept-connection", 0.02),
        kept_connection(target, bucket, "idle-connection", PAUSES["idle-connection"]),
        slow_uploads(target, bucket, "slow-upload", lambda: pace.wait(0.06)),
        slow_downloads(target, bucket, "slow-download", 24 * MIB, lambda: pace.wait(0.008)),
    ]


def restart(proxy, balancer) -> None:
    """Restarts a replica as Kubernetes does: a signal, no new connections, exit, and a start."""
    assert proxy.stop(seconds=30) == 0
    proxy.start()
    wait_for(lambda: balancer.sends_to(proxy.port), "connections for the new replica")


def wait_for(condition, what: str, loops: Loops | None = None, seconds: float = 60) -> None:
    """Waits for a condition; a failure of the loops in the meantime explains why it is missing."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert loops is None or not loops.failures(), loops.failures()
        assert time.monotonic() < deadline, f"no {what}: {loops and loops.rounds()}"
        threading.Event().wait(0.05)


def requests_of(proxy) -> list[dict]:
    lines = (json.loads(line) for line in proxy.log_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["target"] == "s3proxy::request"]
