"""Ten times the allowed rate and a thousand slow clients at once.

The proxy stays within its memory limit, finishes admitted requests, tells other clients to slow
down, answers health checks throughout, and recovers when the load ends. Clients here are slow on
purpose: uploads and downloads of a byte now and then, and request heads that never end.
"""

import http.client
import random
import resource
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

import raw
import wire
from deployment import make_bucket
from known_clients import credential_of, known_client
from loops import assert_same, body
from proxy import Proxy
from refusal import put
from scrape import Admin
from slow_clients import SlowClients, downloads, half_heads, uploads
from target import Credential, Target
from trees import KIB, MIB

ALLOWED_RATE = 20
FLOOD_RATE = 10 * ALLOWED_RATE
FLOOD_SECONDS = 12
SLOW_UPLOADS, SLOW_DOWNLOADS, HALF_HEADS = 400, 300, 300
ADMITTED_DOWNLOADS = 8
"""The slow downloads that start before the other slow clients."""

BODY_MEMORY = 8 * MIB
MEMORY_OF_A_CONNECTION = 64 * KIB
"""Includes the request head, the body bytes read ahead, and the backend connection."""

HEALTH_WITHIN = 3.0
"""Seconds, on a machine shared with all these clients; 0.2 if nothing else runs."""

STREAMED = MIB + 100 * KIB
FLOOD, SLOW, HONEST = (credential_of(name) for name in ("flood", "slow", "honest"))


def settings(more: str = "", listen: str = "") -> str:
    return f"""
[listen]
body_timeout = "4s"
header_timeout = "10s"
min_body_rate = "64 KiB"
drain_delay = "0s"
{listen}
[limits]
body_memory = "8 MiB"
held_body = "64 KiB"
throttle_wait = "1s"
{more}
{known_client("flood", requests_per_second=ALLOWED_RATE)}
{known_client("slow")}
{known_client("honest")}
"""


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Health:
    """The slowest probe of the S3 port and the admin listener, and all failures."""

    slowest: float = 0.0
    probes: int = 0
    wrong: list[str] = field(default_factory=list)


@contextmanager
def probed(target: Target, admin: Admin):
    health, stopping = Health(), threading.Event()

    def on_the_s3_port() -> int:
        return raw.send(raw.request(target, "GET", key="healthz"), target, seconds=10).status

    def on_the_admin_port() -> int:
        return admin.ask("/healthz")[0]

    def probe():
        while not stopping.wait(0.1):
            for ask_one in (on_the_s3_port, on_the_admin_port):
                started = time.monotonic()
                try:
                    if (status := ask_one()) != 200:
                        health.wrong.append(f"{ask_one.__name__}: {status}")
                except (OSError, http.client.HTTPException) as error:
                    health.wrong.append(f"{ask_one.__name__}: {error!r}")
                health.slowest = max(health.slowest, time.monotonic() - started)
                health.probes += 1

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield health
    finally:
        stopping.set()
        thread.join()


def memory(proxy: Proxy, name: str) -> int:
    """`VmRSS`, or `VmHWM` for the peak, in bytes."""
    with open(f"/proc/{proxy.process_id}/status") as status:
        line = next(line for line in status if line.startswith(name + ":"))
    return int(line.split()[1]) * KIB


def ask(target: Target, method: str, bucket: str, key: str, content: bytes = b"") -> raw.Response:
    built = raw.request(target, method, bucket, key, body=content)
    return raw.send(raw.sign(built, target), target)


def is_slow_down(answer) -> bool:
    wait = answer.headers.get("Retry-After", "")
    return (answer.status, answer.code) == (503, "SlowDown") and wait.isdigit() and int(wait) > 0


class Honest:
    """A client that writes and reads streamed objects, and retries when told to slow down."""

    def __init__(self, target: Target, bucket: str):
        self.target, self.bucket = target, bucket
        self.rounds = 0
        self.told_to_slow_down = 0

    def round(self) -> None:
        content = body("honest", self.rounds, STREAMED)
        self.until_done("PUT", f"honest/{self.rounds}", content)
        answer = self.until_done("GET", f"honest/{self.rounds}")
        assert_same(answer.body, content)
        self.rounds += 1

    def until_done(self, method: str, key: str, content: bytes = b"") -> raw.Response:
        while True:
            answer = ask(self.target, method, self.bucket, key, content)
            if answer.status == 200:
                return answer
            assert is_slow_down(answer), (answer.status, answer.body)
            self.told_to_slow_down += 1
            threading.Event().wait(0.2)

    def seconds_of_rounds(self, count: int) -> float:
        started = time.monotonic()
        for _ in range(count):
            self.round()
        return time.monotonic() - started


def flood(target: Target, bucket: str, seconds: float) -> tuple[Counter, float]:
    """Sends requests at ten times the allowed rate, each at its scheduled time, regardless of
    earlier responses. They have no bodies, as memory is a separate limit. Returns the outcomes, and
    the duration in seconds."""
    outcomes: Counter = Counter()
    started = time.monotonic()

    def one(number: int) -> str:
        threading.Event().wait(max(0.0, started + number / FLOOD_RATE - time.monotonic()))
        built = raw.request(target, "GET", bucket, query="location=")
        answer = raw.send(raw.sign(built, target), target)
        if answer.status == 200:
            return "admitted"
        return "told to slow down" if is_slow_down(answer) else f"{answer.status} {answer.code}"

    with ThreadPoolExecutor(64) as pool:
        outcomes.update(pool.map(one, range(int(FLOOD_RATE * seconds))))
    return outcomes, time.monotonic() - started


def paced_upload(target: Target, bucket: str, key: str, seconds: float) -> wire.Answer:
    """A slow upload at an honest rate: a few times the minimum."""
    content = body(key, 0, STREAMED)
    built = raw.sign(put(target, bucket, key, content), target)
    with wire.connect(target, seconds=60) as connection:
        connection.sendall(wire.head(built))
        pieces = range(0, len(content), 32 * KIB)
        for at in pieces:
            connection.sendall(content[at : at + 32 * KIB])
            threading.Event().wait(seconds / len(pieces))
        return wire.answer_to(connection, "PUT")


@pytest.mark.timeout(240)
def test_overload_is_survived(deployments):
    server = deployments.server("seaweedfs")
    admin = Admin.anywhere()
    deployment = deployments.proxy(
        server, "proxy-overload", settings=settings(), environment=admin.environment
    )
    proxy, bucket = deployment.proxy, make_bucket(deployment)
    target = deployment.target
    slow, honest = target.known_as(SLOW), Honest(target.known_as(HONEST), bucket)
    honest.until_done("PUT", "large", body("large", 0, 20 * MIB))
    honest.round()
    before = honest.seconds_of_rounds(10)
    idle = memory(proxy, "VmRSS")

    horde = half_heads(HALF_HEADS)
    horde += uploads(slow, bucket, SLOW_UPLOADS, STREAMED)
    admitted = downloads(slow, bucket, "large", ADMITTED_DOWNLOADS)
    horde += downloads(slow, bucket, "large", SLOW_DOWNLOADS - ADMITTED_DOWNLOADS)
    random.Random(1).shuffle(horde)
    with ThreadPoolExecutor(8) as pool, probed(target, admin) as health:
        paced = [
            pool.submit(paced_upload, honest.target, bucket, f"paced/{n}", 6.0) for n in range(4)
        ]
        wait_for(lambda: in_flight(proxy) >= 4, "paced uploads under way")
        with ExitStack() as contexts:
            early = contexts.enter_context(SlowClients(target, admitted))
            answered = {("download", 200): ADMITTED_DOWNLOADS}
            wait_for(lambda: early.statuses() == answered, "downloads under way")
            slow_clients = contexts.enter_context(SlowClients(target, horde))
            flooding = pool.submit(flood, target.known_as(FLOOD), bucket, FLOOD_SECONDS)
            honest.seconds_of_rounds(3)
            outcomes, seconds = flooding.result()
            rounds_under_load = honest.rounds
            held = slow_clients.held()
        answers = [one.result() for one in paced]
    most = memory(proxy, "VmHWM")
    connections = len(horde) + len(admitted) + 100
    allowed = idle + BODY_MEMORY + connections * MEMORY_OF_A_CONNECTION
    print(
        f"idle {idle / MIB:.0f} MiB, most {most / MIB:.0f} MiB, allowed {allowed / MIB:.0f} MiB; "
        f"{outcomes}; slow: {slow_clients.statuses()}, still held: {held}; honest rounds: "
        f"{rounds_under_load}, told to slow down {honest.told_to_slow_down} times; {health}"
    )

    assert health.wrong == [] and health.slowest < HEALTH_WITHIN
    assert health.probes > 20
    assert most <= allowed
    assert set(outcomes) == {"admitted", "told to slow down"}
    # The rate limit allows a burst of one second's requests.
    assert ALLOWED_RATE * seconds / 2 <= outcomes["admitted"] <= ALLOWED_RATE * (seconds + 2)
    assert [answer.status for answer in answers] == [200] * 4
    for number in range(4):
        stored = honest.until_done("GET", f"paced/{number}")
        assert_same(stored.body, body(f"paced/{number}", 0, STREAMED))
    assert {status for _, status in slow_clients.statuses()} <= {0, 200, 503}
    assert "sent its body too slowly while other requests waited for memory" in proxy.log_text()
    assert "waiting for body memory" in proxy.log_text()
    assert held["half a head"] == 0

    met = admin.scrape()
    for limit in ("client_rate", "memory", "body_rate"):
        assert met.value("s3proxy_throttled_total", limit=limit) > 0, limit

    # The proxy recovers without a restart.
    after = honest.seconds_of_rounds(10)
    print(f"ten rounds: {before:.1f} s before, {after:.1f} s after")
    assert after < 3 * before + 2
    assert memory(proxy, "VmRSS") <= allowed
    admin.until(lambda found: found.value("s3proxy_body_memory_bytes") == 0, "memory given back")
    admin.until(lambda found: found.in_flight == 0, "requests at an end")


def in_flight(proxy: Proxy) -> int:
    """The number of the proxy's established connections, counted by the system."""
    wanted = f"{proxy.port:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(":" + wanted) and row[3] == "01" for row in rows)


def wait_for(condition, what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        threading.Event().wait(0.05)


@pytest.mark.timeout(120)
def test_health_is_answered_when_every_connection_is_taken(deployments):
    server = deployments.server("seaweedfs")
    few = settings(listen="max_connections = 40")
    admin = Admin.anywhere()
    deployment = deployments.proxy(
        server, "proxy-crowded", settings=few, environment=admin.environment
    )
    bucket = make_bucket(deployment)
    honest = deployment.target.known_as(HONEST)
    assert ask(honest, "PUT", bucket, "kept", b"kept").status == 200
    with SlowClients(honest, half_heads(600)) as crowd, probed(honest, admin) as health:
        wait_for(lambda: health.probes > 10, "probes")
        # Clients that have signed nothing lose their connection slots.
        for _ in range(20):
            answer = ask(honest, "GET", bucket, "kept")
            assert answer.status == 200, (answer.status, answer.body)
        assert admin.scrape().value("s3proxy_connections_evicted_total", reason="places") > 0
        # The header timeout closes them.
        wait_for(lambda: not crowd.held(), "end of the slow ones", seconds=30)
    assert health.wrong == [] and health.slowest < HEALTH_WITHIN


@pytest.mark.timeout(120)
def test_unsigned_flood_takes_nothing_from_clients_that_sign(deployments):
    server = deployments.server("seaweedfs")
    limited = settings(more=f"requests_per_second = {ALLOWED_RATE}")
    deployment = deployments.proxy(server, "proxy-unsigned-flood", settings=limited)
    bucket = make_bucket(deployment)
    honest = deployment.target.known_as(HONEST)
    stranger = deployment.target.known_as(Credential(HONEST.access_key, "a guess"))
    assert ask(honest, "PUT", bucket, "kept", b"kept").status == 200
    stopping, seen = threading.Event(), Counter()

    def guess(_):
        while not stopping.is_set():
            answer = ask(stranger, "GET", bucket, "kept")
            seen[answer.code if not is_slow_down(answer) else "told to slow down"] += 1

    with ThreadPoolExecutor(8) as pool:
        guessing = [pool.submit(guess, number) for number in range(8)]
        wait_for(lambda: seen["told to slow down"] > 5 * ALLOWED_RATE, "flood")
        # Each request gets its turn within limits.throttle_wait; otherwise it would be told to slow
        # down.
        count = 3 * ALLOWED_RATE
        statuses = Counter(ask(honest, "GET", bucket, "kept").status for _ in range(count))
        stopping.set()
        for one in guessing:
            one.result()
    assert statuses == {200: count}
    assert set(seen) == {"SignatureDoesNotMatch", "told to slow down"}
