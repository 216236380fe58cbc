"""Prometheus's view: each request counted once, bounded labels, and no secrets.

Metrics about stored data are in test_stored_metrics.py, the listener itself in
test_admin_listener.py.
"""

import calendar
import os
import secrets
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import raw
import wire
from content import LARGE, MARKER, SMALL, content
from known_clients import READING, credential_of, known_client
from proxy import VIRTUAL_HOSTS
from scrape import Admin
from servers import OWNER
from target import Credential

PASSPHRASE = "a passphrase of an older proxy"
LISTED, READER = credential_of("listed"), credential_of("reader")


@pytest.fixture(scope="module")
def deployment(deployments, admin):
    """A proxy with two listed clients and an admin listener."""
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-metrics",
        settings=VIRTUAL_HOSTS + known_client("listed") + known_client("reader", READING),
        environment=admin.environment | {"S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE},
        awaited="healthz",
    )


@pytest.fixture
def target(deployment):
    return deployment.target.known_as(LISTED)


# Requests


def test_each_request_counts_once_with_its_bytes(admin, target, bucket, key):
    def write():
        assert raw.ask(target, "PUT", bucket, key, body=content(LARGE)).status == 200

    def read():
        assert raw.ask(target, "GET", bucket, key).body == content(LARGE)

    added = admin.added_by(write)
    assert added.requests() == 1
    assert added.requests(operation="PutObject", status="200", client="listed") == 1
    assert added.value("s3proxy_received_bytes_total", operation="PutObject") == LARGE
    assert added.value("s3proxy_request_seconds_count", operation="PutObject") == 1
    assert added.value("s3proxy_backend_requests_total", operation="PutObject", status="200") == 1
    assert added.value("s3proxy_backend_seconds_count", operation="PutObject") == 1

    added = admin.added_by(read)
    assert added.requests() == 1
    assert added.requests(operation="GetObject", status="200", client="listed") == 1
    assert added.value("s3proxy_sent_bytes_total", operation="GetObject") == LARGE
    assert added.value("s3proxy_backend_requests_total", operation="GetObject", status="200") == 1
    for failures in ("seal", "open"):
        assert added.value(f"s3proxy_{failures}_failures_total") == 0


def test_refused_and_missing_requests_count_by_status_and_client(
    admin, deployment, target, bucket, key
):
    reader = deployment.target.known_as(READER)
    stranger = deployment.target.known_as(Credential("NOBODY", "nothing"))

    def ask():
        assert raw.ask(target, "GET", bucket, key).status == 404
        assert raw.ask(reader, "PUT", bucket, key, body=b"x").status == 403
        assert raw.ask(stranger, "GET", bucket, key).status == 403
        unsigned = raw.request(target, "GET", bucket, key)
        assert raw.send(unsigned, target).status == 403

    added = admin.added_by(ask, 4)
    assert added.requests(operation="GetObject", status="404", client="listed") == 1
    assert added.requests(operation="PutObject", status="403", client="reader") == 1
    assert added.requests(operation="unknown", status="403", client="unknown") == 2
    assert added.requests() == 4


def test_a_client_that_disconnects_is_distinguished_from_an_error(admin, deployment, target, bucket, key):
    size = 16 * 1024 * 1024
    assert raw.ask(target, "PUT", bucket, key, body=content(size)).status == 200

    def leave():
        with wire.connect(target) as connection:
            built = raw.sign(raw.request(target, "GET", bucket, key), target)
            connection.sendall(wire.message(built))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    added = admin.added_by(leave)
    assert added.requests(operation="GetObject", status="client_left", client="listed") == 1
    assert added.requests() == 1
    assert added.value("s3proxy_sent_bytes_total", operation="GetObject") < size


def test_requests_in_flight_are_counted_and_released(admin, target, bucket, key):
    head = raw.sign(raw.request(target, "PUT", bucket, key, body=content(LARGE)), target)
    before = admin.until(lambda seen: seen.in_flight == 0, "idle")
    assert before.value("s3proxy_body_memory_bytes") == 0
    assert before.value("s3proxy_body_memory_limit_bytes") == 48 * 1024 * 1024
    message = wire.message(head)
    with wire.connect(target) as connection:
        connection.sendall(message[:-70_000])
        admin.until(lambda seen: seen.in_flight == 1, "one in flight")
        during = admin.until(
            lambda seen: seen.value("s3proxy_body_memory_bytes") > 0, "with a share"
        )
        assert during.value("s3proxy_connections") >= 1
        assert during.value("s3proxy_body_memory_bytes") <= 1024 * 1024
        connection.sendall(message[-70_000:])
        assert wire.answer_to(connection).status == 200
    admin.until(
        lambda seen: seen.in_flight == 0
        and seen.value("s3proxy_body_memory_bytes") == 0
        and seen.value("s3proxy_connections") == 0,
        "all given back",
    )


# Contents of the page, and limits to them


def test_labels_stay_few_for_any_requests(admin, deployment, target, bucket):
    def ask(number):
        mark = secrets.token_hex(6)
        stranger = deployment.target.known_as(Credential(f"AKIA{mark}", mark))
        raw.ask(stranger, "GET", bucket, mark)
        raw.ask(target, "GET", bucket, f"key-{mark}")
        raw.ask(target, "GET", f"bucket-{mark}", mark)
        raw.ask(target, "GET", bucket, mark, query=f"{mark}=1")
        raw.ask(target, "PUT", bucket, mark, query=f"x-id={mark}", body=b"x")
        built = raw.request(target, "GET", bucket, mark, headers={"x-forwarded-for": mark})
        built.method = f"M{mark.upper()}"
        raw.send(raw.sign(built, target), target)

    ask(0)
    before = admin.until(
        lambda seen: seen.requests(status="501") + seen.requests(status="405") >= 1, "refused"
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    after = admin.until(lambda seen: seen.requests() >= before.requests() + 6 * 40, "counted")
    assert set(after.values) - set(before.values) <= {
        series for series in after.values if series[0].endswith("_bytes_total")
    }, "no series more"
    assert after.label_values("client") <= {"listed", "reader", "unknown", "anonymous"}


def test_no_secret_and_no_object_key_is_exposed(admin, deployment, target, bucket, key):
    assert raw.ask(target, "PUT", bucket, key, body=content(SMALL)).status == 200
    assert raw.ask(target, "GET", bucket, key).body == content(SMALL)
    text = admin.scrape().text
    secret = [OWNER.access_key, OWNER.secret_key, LISTED.access_key, LISTED.secret_key]
    secret += [READER.access_key, READER.secret_key, PASSPHRASE, deployment.proxy.key]
    secret += [MARKER.decode(), "s3p1.", "s3pk1.", bucket, key, "127.0.0.1"]
    for word in secret:
        assert word not in text, word


def test_the_proxys_own_credential_is_no_label(deployments, bucket, key):
    admin = Admin.anywhere()
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-metrics-own", environment=admin.environment)
    assert raw.ask(deployment.target, "PUT", bucket, key, body=b"x").status == 200
    seen = admin.until(lambda seen: seen.requests(status="200") >= 1, "counted")
    assert seen.requests(operation="PutObject", client="unnamed") == 1
    assert OWNER.access_key not in seen.text


def test_the_process_and_the_program_are_described(admin, deployment):
    seen = admin.scrape()
    assert seen.value("s3proxy_build_info") == 1
    assert seen.value("process_resident_memory_bytes") > 5_000_000
    assert seen.value("process_open_fds") > 5
    assert abs(seen.value("process_start_time_seconds") - time.time()) < 3600
    assert seen.value("s3proxy_config_last_reload_successful") == 1
    assert seen.value("s3proxy_certificate_expiry_timestamp_seconds") == 0, "plain HTTP"


def test_the_end_of_a_certificate_is_exported(deployments, certificates):
    admin = Admin.anywhere()
    deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-metrics-tls",
        certificates=certificates,
        environment=admin.environment,
    )
    expiry = admin.scrape().value("s3proxy_certificate_expiry_timestamp_seconds")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", certificates.directory / "s3proxy.crt"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ended = time.strptime(shown.strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
    assert expiry == calendar.timegm(ended)


def promtool():
    """promtool on PATH, or in the folder where the chart's checks install it."""
    kept = Path(os.environ["S3PROXY_TEST_DIR"]).glob("chart-tools/**/bin/promtool")
    return shutil.which("promtool") or next(kept, None)


def test_promtool_finds_no_fault(admin, deployment):
    if promtool() is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    check = subprocess.run(
        [promtool(), "check", "metrics"],
        input=admin.scrape().text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


def test_metrics_are_answered_at_once_while_many_requests_run(admin, deployment, target, bucket):
    size = 70_000
    with ExitStack() as held:
        for number in range(200):
            connection = held.enter_context(wire.connect(target))
            built = raw.request(target, "PUT", bucket, f"held-{number}", body=content(size))
            connection.sendall(wire.message(raw.sign(built, target))[:-1000])
        admin.until(lambda seen: seen.in_flight >= 200, "200 in flight")
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                raw.ask(target, "GET", bucket, "missing")

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(busy) for _ in range(4)]
            took = []
            for _ in range(10):
                started = time.monotonic()
                admin.scrape(seconds=5)
                took.append(time.monotonic() - started)
            stop.set()
            for one in running:
                one.result()
        assert max(took) < 1
    admin.until(lambda seen: seen.in_flight == 0, "all gone")
