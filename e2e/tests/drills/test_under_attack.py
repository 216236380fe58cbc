"""Hostile clients with default settings: memory stays bounded and is released, an honest client
keeps its requests, and health checks are answered. The shapes are those of attack.py, from another
address.

The suite runs an unoptimised program on shared cores: a quarter of the connections, and five times
the time. docs/operations.md has the figures of an optimised program, measured by:

    S3PROXY_BINARY=target/release/s3proxy S3PROXY_ATTACK_CONNECTIONS=4000 S3PROXY_ATTACK_SECONDS=15 \
        S3PROXY_ATTACK_SLOWNESS=1 e2e/run -rP tests/drills/test_under_attack.py
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import attack
import raw
import wire
from clients import boto3_client
from deployment import make_bucket
from known_clients import credential_of, known_client
from proxy import Proxy
from refusal import put
from scrape import Admin
from target import Target
from trees import KIB, MIB

SECONDS = float(os.environ.get("S3PROXY_ATTACK_SECONDS", "6"))
CONNECTIONS = int(os.environ.get("S3PROXY_ATTACK_CONNECTIONS", "1000"))
PLACES = CONNECTIONS + 96
"""The default is 4096: attackers can take nearly all connection slots."""

MOST_MEMORY = 160 * MIB
MEMORY_AFTERWARDS = 64 * MIB
KEPT = 0.95
"""Share of an honest client's requests that must be served."""

WITHIN = 1.0
"""Seconds: the 99th percentile of an honest client's requests and of health checks."""

WITHIN_OF_A_LISTED_ATTACKER = 3.0
"""A listed client can keep the backend busy, and others then wait for the backend, too."""

SLOWNESS = float(os.environ.get("S3PROXY_ATTACK_SLOWNESS", "5"))
"""Factor for a slow machine and an unoptimised program."""

LISTED_BUCKET = "e2e-listed-only"
HONEST, LISTED = credential_of("honest"), credential_of("listed")
SETTINGS = "\n".join(
    [
        f'[listen]\ndrain_delay = "0s"\nmax_connections = {PLACES}',
        known_client("honest"),
        known_client("listed", {"operations": ["read", "write"], "buckets": [LISTED_BUCKET]}),
    ]
)


@dataclass
class Served:
    """Latencies and failures of an honest client."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return len(self.seconds) / max(1, len(self.seconds) + len(self.failed))

    @property
    def p99(self) -> float:
        ordered = sorted(self.seconds)
        return ordered[int(len(ordered) * 0.99)] if ordered else float("inf")


@contextlib.contextmanager
def asking(ask, pause: float):
    """Repeats a request from another thread."""
    served, stopping = Served(), threading.Event()

    def work():
        while not stopping.wait(pause):
            started = time.monotonic()
            try:
                status = ask()
            except (OSError, http.client.HTTPException) as error:
                served.failed.append(repr(error))
                continue
            if status == 200:
                served.seconds.append(time.monotonic() - started)
            else:
                served.failed.append(str(status))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield served
    finally:
        stopping.set()
        thread.join()


def resident(proxy: Proxy, name: str = "VmRSS") -> int:
    status = Path(f"/proc/{proxy.process_id}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * KIB


@dataclass
class Surroundings:
    proxy: Proxy
    admin: Admin
    honest: Target
    listed: Target
    bucket: str

    def writes(self) -> int:
        built = raw.request(self.honest, "PUT", self.bucket, "honest", body=b"x" * 4096)
        return raw.send(raw.sign(built, self.honest), self.honest, seconds=5).status

    def reads(self) -> int:
        built = raw.request(self.honest, "GET", self.bucket, "honest")
        return raw.send(raw.sign(built, self.honest), self.honest, seconds=5).status

    def is_healthy(self) -> int:
        return self.admin.ask("/healthz")[0]


@pytest.fixture(scope="module")
def surroundings(deployments):
    admin = Admin.anywhere()
    deployment = deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-attacked",
        settings=SETTINGS,
        environment=admin.environment,
    )
    bucket = make_bucket(deployment)
    boto3_client(deployment.backend.target).create_bucket(Bucket=LISTED_BUCKET)
    target = deployment.target
    found = Surroundings(
        deployment.proxy, admin, target.known_as(HONEST), target.known_as(LISTED), bucket
    )
    assert found.writes() == 200
    tagged = put(found.listed, LISTED_BUCKET, "key", b"content")
    assert raw.send(raw.sign(tagged, found.listed), found.listed).status == 200
    return found


def under_attack(
    surroundings: Surroundings,
    shape: str,
    port: int,
    *,
    answer: str | None,
    pressed: str = "503",
    connections: int = CONNECTIONS,
    within: float = WITHIN,
):
    """Attacks, sends honest requests meanwhile, and checks the results of both sides: there are
    enough attackers, and they get the `answer` that proves that the proxy read their bytes."""
    program = [sys.executable, attack.__file__, str(port), shape]
    program += ["--connections", str(connections), "--seconds", str(SECONDS)]
    with contextlib.ExitStack() as contexts:
        attacking = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        contexts.callback(attacking.kill)
        time.sleep(min(2, SECONDS / 4))
        asked = {
            "writes": contexts.enter_context(asking(surroundings.writes, 0.05)),
            "reads": contexts.enter_context(asking(surroundings.reads, 0.05)),
            "health": contexts.enter_context(asking(surroundings.is_healthy, 0.2)),
        }
        most = 0
        while attacking.poll() is None:
            most = max(most, resident(surroundings.proxy))
            time.sleep(0.05)
        seen = json.loads(attacking.stdout.read())
    told = ", ".join(
        f"{name} {served.share:.1%} of {len(served.seconds) + len(served.failed)}"
        f" p99 {served.p99:.2f} s"
        for name, served in asked.items()
    )
    print(f"{shape}: at most {most / MIB:.0f} MiB; {told}; attackers: {seen}")
    assert seen["opened"] >= connections, "the attackers were too slow to be an attack"
    statuses = {status for status in seen if status.isdecimal()} - {pressed}
    assert statuses == ({answer} if answer else set()), seen
    assert most < MOST_MEMORY
    for name, served in asked.items():
        assert len(served.seconds) > 5, (name, served.failed[:5])
        assert served.share >= KEPT, (name, served.share, served.failed[:5])
        assert served.p99 < within * SLOWNESS, (name, served.p99)


@pytest.mark.timeout(120 + 3 * SECONDS)
@pytest.mark.parametrize("shape", attack.SHAPES)
def test_unsigned_clients_do_not_stop_clients_that_sign(surroundings, shape):
    _, answer, pressed = attack.SHAPES[shape]
    port = surroundings.proxy.port
    under_attack(surroundings, shape, port, answer=answer, pressed=pressed)


@pytest.mark.timeout(120 + 3 * SECONDS)
def test_idle_connections_do_not_stop_health_checks(surroundings):
    under_attack(surroundings, "idle", surroundings.admin.port, answer=None, connections=500)


@dataclass
class Announced:
    """A request of which only the head and one byte of the body are sent."""

    method: str
    key: str
    query: str
    length: int
    answer: str | None

    def message(self, target: Target, bucket: str) -> bytes:
        built = raw.request(target, self.method, bucket, self.key, query=self.query)
        built.set_header("Content-Length", str(self.length))
        return wire.head(raw.sign(built, target, payload=raw.UNSIGNED)) + b"<"


LISTED_SHAPES = {
    "a batch": Announced("POST", "", "delete", 2 * MIB, "403"),
    "tags": Announced("PUT", "key", "tagging", 2 * MIB, "400"),
    "a list of parts": Announced("POST", "key", "uploadId=none", 8 * MIB, "404"),
    "an object": Announced("PUT", "key", "", MIB, None),
}


@pytest.mark.timeout(120 + 3 * SECONDS)
@pytest.mark.parametrize("name", LISTED_SHAPES)
def test_a_listed_client_does_not_stop_the_others(surroundings, name, tmp_path):
    announced = LISTED_SHAPES[name]
    message = announced.message(surroundings.listed, LISTED_BUCKET)
    requests = tmp_path / "requests"
    requests.write_text(message.hex())
    under_attack(
        surroundings,
        str(requests),
        surroundings.proxy.port,
        answer=announced.answer,
        within=WITHIN_OF_A_LISTED_ATTACKER,
    )


@pytest.mark.timeout(150)
def test_memory_is_released(surroundings):
    deadline = time.monotonic() + 60
    while (held := resident(surroundings.proxy)) >= MEMORY_AFTERWARDS:
        assert time.monotonic() < deadline, f"still {held / MIB:.0f} MiB a minute later"
        time.sleep(1)
    print(f"afterwards: {held / MIB:.0f} MiB, at most {resident(surroundings.proxy, 'VmHWM') / MIB:.0f} MiB")
    assert surroundings.admin.scrape().value("s3proxy_body_memory_bytes") == 0
