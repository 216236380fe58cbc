"""What Prometheus sees: exact numbers, bounded labels, nothing secret; and the probes beside it."""

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
from clients import boto3_client
from conftest import make_bucket
from content import LARGE, MARKER, SMALL, content
from key_services.drills import SERVICE_ALONE
from key_services.openbao import OpenBao
from key_services.transit import Tenant, key_entry
from legacy import INTRINSEC, Older, passphrase_kek
from processes import Process, clean_environment, free_port
from proxy import binary, new_key
from scrape import Admin, Scrape
from sealed import Stored
from servers import OWNER
from target import Credential

PASSPHRASE = "a passphrase of an older proxy"
LISTED = Credential("LISTED-ACCESS-KEY", "client-secret-that-must-not-be-told")
READER = Credential("READER-ACCESS-KEY", "client-secret-that-must-not-be-told-either")
CLIENTS = f"""
[listen]
drain_delay = "0s"

[[clients.known]]
name = "listed"
access_key_id = "{LISTED.access_key}"
secret_access_key = "{LISTED.secret_key}"

[[clients.known]]
name = "reader"
access_key_id = "{READER.access_key}"
secret_access_key = "{READER.secret_key}"

[[clients.known.grants]]
operations = ["read"]
"""


@pytest.fixture(scope="module")
def admin():
    return Admin.anywhere()


@pytest.fixture(scope="module")
def deployment(deployments, admin):
    """A proxy with two listed clients and an admin listener."""
    environment = admin.environment | {"S3PROXY_DECRYPT_KEYS": PASSPHRASE}
    server = deployments.server("seaweedfs")
    return deployments.proxy(
        server, "proxy-metrics", settings=CLIENTS, environment=environment, awaited="healthz"
    )


@pytest.fixture
def target(deployment):
    return deployment.target.known_as(LISTED)


@pytest.fixture
def counted(admin):
    """What a piece of work adds, once as many requests as it made have been counted."""

    def count(work, requests: int = 1) -> Scrape:
        before = admin.scrape()
        work()
        expected = before.value("s3proxy_requests_total") + requests
        after = admin.until(
            lambda seen: seen.value("s3proxy_requests_total") >= expected, f"{requests} requests"
        )
        return after - before

    return count


def requests(scrape, **labels):
    return scrape.value("s3proxy_requests_total", **labels)


# Requests


def test_each_request_counts_once_with_its_bytes(counted, target, bucket, key):
    def write():
        assert raw.ask(target, "PUT", bucket, key, body=content(LARGE)).status == 200

    def read():
        assert raw.ask(target, "GET", bucket, key).body == content(LARGE)

    added = counted(write)
    assert requests(added) == 1
    assert requests(added, operation="PutObject", status="200", client="listed") == 1
    assert added.value("s3proxy_received_bytes_total", operation="PutObject") == LARGE
    assert added.value("s3proxy_request_seconds_count", operation="PutObject") == 1
    assert added.value("s3proxy_backend_requests_total", operation="PutObject", status="200") == 1
    assert added.value("s3proxy_backend_seconds_count", operation="PutObject") == 1

    added = counted(read)
    assert requests(added) == 1
    assert requests(added, operation="GetObject", status="200", client="listed") == 1
    assert added.value("s3proxy_sent_bytes_total", operation="GetObject") == LARGE
    assert added.value("s3proxy_backend_requests_total", operation="GetObject", status="200") == 1
    for failures in ("seal", "open"):
        assert added.value(f"s3proxy_{failures}_failures_total") == 0


def test_refused_and_missing_requests_count_by_status_and_by_who_was_known(
    counted, deployment, target, bucket, key
):
    reader = deployment.target.known_as(READER)
    stranger = deployment.target.known_as(Credential("NOBODY", "nothing"))

    def ask():
        assert raw.ask(target, "GET", bucket, key).status == 404
        assert raw.ask(reader, "PUT", bucket, key, body=b"x").status == 403
        assert raw.ask(stranger, "GET", bucket, key).status == 403
        unsigned = raw.request(target, "GET", bucket, key)
        assert raw.send(unsigned, target).status == 403

    added = counted(ask, 4)
    assert requests(added, operation="GetObject", status="404", client="listed") == 1
    assert requests(added, operation="PutObject", status="403", client="reader") == 1
    assert requests(added, operation="unknown", status="403", client="unknown") == 2
    assert requests(added) == 4


def test_a_client_that_leaves_is_told_from_an_error(counted, deployment, target, bucket, key):
    size = 16 * 1024 * 1024
    assert raw.ask(target, "PUT", bucket, key, body=content(size)).status == 200

    def leave():
        with wire.connect(target) as connection:
            built = raw.sign(raw.request(target, "GET", bucket, key), target)
            connection.sendall(wire.message(built))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    added = counted(leave)
    assert requests(added, operation="GetObject", status="client_left", client="listed") == 1
    assert requests(added) == 1
    assert added.value("s3proxy_sent_bytes_total", operation="GetObject") < size


def test_what_is_under_way_is_counted_and_given_back(admin, target, bucket, key):
    head = raw.sign(raw.request(target, "PUT", bucket, key, body=content(LARGE)), target)
    before = admin.until(
        lambda seen: seen.value("s3proxy_requests_in_flight") == 0, "idle"
    )
    assert before.value("s3proxy_body_memory_bytes") == 0
    assert before.value("s3proxy_body_memory_limit_bytes") == 48 * 1024 * 1024
    message = wire.message(head)
    with wire.connect(target) as connection:
        connection.sendall(message[:-70_000])
        during = admin.until(
            lambda seen: seen.value("s3proxy_requests_in_flight") == 1, "one in flight"
        )
        during = admin.until(
            lambda seen: seen.value("s3proxy_body_memory_bytes") > 0, "with a share"
        )
        assert during.value("s3proxy_connections") >= 1
        assert during.value("s3proxy_body_memory_bytes") <= 1024 * 1024
        connection.sendall(message[-70_000:])
        assert wire.answer_to(connection).status == 200
    admin.until(
        lambda seen: seen.value("s3proxy_requests_in_flight") == 0
        and seen.value("s3proxy_body_memory_bytes") == 0
        and seen.value("s3proxy_connections") == 0,
        "all given back",
    )


# Stored data


def plant(deployment, bucket, key, body, metadata):
    backend = boto3_client(deployment.backend.target)
    backend.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)


def altered(stored: Stored) -> Stored:
    body = bytearray(stored.body)
    body[len(body) // 2] ^= 1
    return Stored(bytes(body), stored.metadata)


def failures(added):
    return {
        dict(labels)["kind"]: value
        for (name, labels), value in added.values.items()
        if name == "s3proxy_open_failures_total" and value
    }


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_altered_object_counts_as_tampered_whether_it_shows_early_or_late(
    counted, deployment, target, bucket, key, size
):
    assert raw.ask(target, "PUT", bucket, key, body=content(size)).status == 200
    stored = altered(deployment.stored(bucket, key))
    plant(deployment, bucket, key, stored.body, stored.metadata)

    def read():
        with wire.connect(target) as connection:
            built = raw.sign(raw.request(target, "GET", bucket, key), target)
            connection.sendall(wire.message(built))
            answer = wire.answer_to(connection)
            assert answer.status == 500 or not answer.complete

    added = counted(read)
    assert failures(added) == {"tampered": 1}
    status = "500" if size == SMALL else "aborted"
    assert requests(added, operation="GetObject", status=status, client="listed") == 1


def test_each_way_of_not_opening_has_its_kind(
    counted, deployment, deployments, target, bucket, prefix
):
    def read(key, status=500):
        assert raw.ask(target, "GET", bucket, key).status == status

    key = prefix + "sealed"
    assert raw.ask(target, "PUT", bucket, key, body=content(SMALL)).status == 200
    stored = deployment.stored(bucket, key)

    plant(deployment, bucket, key, stored.body[:20], stored.metadata)
    assert failures(counted(lambda: read(key))) == {"truncated": 1}

    plant(deployment, bucket, prefix + "damaged", stored.body, {"isec": "s3p1.AAAA"})
    assert failures(counted(lambda: read(prefix + "damaged"))) == {"malformed": 1}

    plant(deployment, bucket, prefix + "moved", stored.body, stored.metadata)
    assert failures(counted(lambda: read(prefix + "moved"))) == {"wrong_key": 1}

    environment = {"S3PROXY_ENCRYPT_KEY": new_key()}
    other = deployments.proxy(
        deployment.backend, "proxy-metrics-other", environment=environment
    )
    assert raw.ask(other.target, "PUT", bucket, prefix + "other", body=b"x").status == 200
    assert failures(counted(lambda: read(prefix + "other"))) == {"unknown_key": 1}


def test_reads_of_what_is_not_sealed_count_and_looks_at_it_do_not(
    counted, deployment, target, bucket, prefix
):
    plain, older = prefix + "plain", prefix + "older"
    plant(deployment, bucket, plain, b"as it is", {})
    backend = boto3_client(deployment.backend.target)
    Older(INTRINSEC, passphrase_kek(PASSPHRASE)).put(backend, bucket, older, content(SMALL))

    def read(method, key, **parts):
        answer = raw.ask(target, method, bucket, key, **parts)
        assert answer.status in (200, 206), answer.body

    added = counted(lambda: read("GET", plain))
    assert added.value("s3proxy_plaintext_reads_total") == 1
    assert added.value("s3proxy_legacy_reads_total") == 0
    added = counted(lambda: read("GET", plain, headers={"Range": "bytes=0-1"}))
    assert added.value("s3proxy_plaintext_reads_total") == 1

    added = counted(lambda: read("GET", older))
    assert added.value("s3proxy_legacy_reads_total", format="intrinsec") == 1
    assert added.value("s3proxy_legacy_reads_total") == 1
    assert added.value("s3proxy_plaintext_reads_total") == 0

    added = counted(lambda: [read("HEAD", plain), read("HEAD", older)], 2)
    assert added.value("s3proxy_legacy_reads_total") == 0
    assert added.value("s3proxy_plaintext_reads_total") == 0


# Key services


@pytest.fixture
def vault(run_directory):
    server = OpenBao(run_directory)
    yield Tenant(server)
    server.stop()


def test_calls_to_a_key_service_and_its_failures_count(deployments, vault, bucket, prefix):
    admin, key = Admin.anywhere(), vault.new_key()
    settings = f"""
[listen]
drain_delay = "0s"

[keys]
service_timeout = "1s"
cache_time = "0s"
active = "{vault.envelope_name(key)}"

{key_entry(vault, key)}
"""
    deployment = deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-metrics-vault",
        settings=settings,
        environment=SERVICE_ALONE | admin.environment,
    )

    def calls(scrape, **labels):
        return scrape.value("s3proxy_key_service_calls_total", service="vault", **labels)

    def ask(method, **parts):
        return raw.ask(deployment.target, method, bucket, prefix + "object", **parts).status

    begun = admin.scrape()
    assert calls(begun, call="create", result="ok") == 1, "readiness makes the first key"
    assert ask("PUT", body=content(SMALL)) == 200
    assert ask("PUT", body=content(SMALL)) == 200
    assert ask("GET") == 200
    added = admin.scrape() - begun
    assert calls(added, call="create") == 0
    assert calls(added, call="open", result="ok") == 1
    assert added.value("s3proxy_key_cache_hits_total") == 2
    assert added.value("s3proxy_key_cache_misses_total") == 1
    assert added.value("s3proxy_key_service_seconds_count", service="vault", call="open") == 1

    vault.server.kill()
    before = admin.scrape()
    assert ask("GET") == 503
    added = admin.scrape() - before
    assert calls(added, call="open", result="ok") == 0
    assert calls(added, call="open") == 3, "two repetitions"
    assert added.value("s3proxy_open_failures_total", kind="key_service") == 1
    text = admin.scrape().text
    for secret in (vault.role_id, vault.secret_id, key, vault.server.address):
        assert secret not in text


# What is in it, and what is not


def test_labels_stay_few_whatever_is_asked_for(admin, deployment, target, bucket):
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
        lambda seen: requests(seen, status="501") + requests(seen, status="405") >= 1, "refused"
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
    after = admin.until(
        lambda seen: requests(seen) >= requests(before) + 6 * 40, "counted"
    )
    assert set(after.values) - set(before.values) <= {
        series for series in after.values if series[0].endswith("_bytes_total")
    }, "no series more"
    assert after.label_values("client") <= {"listed", "reader", "unknown", "anonymous"}


def test_nothing_secret_and_no_name_of_an_object_is_told(admin, deployment, target, bucket, key):
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
    seen = admin.until(lambda seen: requests(seen, status="200") >= 1, "counted")
    assert requests(seen, operation="PutObject", client="unnamed") == 1
    assert OWNER.access_key not in seen.text


def test_the_process_and_the_program_tell_of_themselves(admin, deployment):
    seen = admin.scrape()
    assert seen.value("s3proxy_build_info") == 1
    assert seen.value("process_resident_memory_bytes") > 5_000_000
    assert seen.value("process_open_fds") > 5
    assert abs(seen.value("process_start_time_seconds") - time.time()) < 3600
    assert seen.value("s3proxy_config_last_reload_successful") == 1
    assert seen.value("s3proxy_certificate_expiry_timestamp_seconds") == 0, "plain HTTP"


def promtool():
    """On the path, or where the chart's check keeps its tools."""
    kept = Path(os.environ["S3PROXY_TEST_DIR"]).glob("chart-tools/**/bin/promtool")
    return shutil.which("promtool") or next(kept, None)


def test_promtool_finds_nothing_to_say(admin, deployment):
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
        admin.until(
            lambda seen: seen.value("s3proxy_requests_in_flight") >= 200, "200 in flight"
        )
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
    admin.until(lambda seen: seen.value("s3proxy_requests_in_flight") == 0, "all gone")


# The admin listener


def test_the_admin_listener_answers_probes_and_nothing_of_s3(admin, deployment, bucket):
    assert admin.ask("/healthz")[::2] == (200, "ok\n")
    assert admin.ask("/readyz")[::2] == (200, "ready\n")
    assert admin.ask("/metrics", method="HEAD")[::2] == (200, "")
    for path in (f"/{bucket}", f"/{bucket}/metrics", "/", "/debug"):
        status, _, text = admin.ask(path)
        assert status == 404
        assert "/metrics" in text
    assert admin.ask("/metrics", method="POST")[0] == 405


def test_metrics_are_not_where_s3_is(deployment, target):
    answer = raw.send(raw.request(target, "GET", "metrics"), target)
    assert answer.status == 403


def test_without_the_setting_there_is_no_second_listener(deployments):
    log = deployments.get("seaweedfs", "http").proxy.log_text()
    assert "serving metrics" not in log


@pytest.fixture
def own(deployments):
    """A proxy that a test may end; its drain takes a while."""

    def start(name, **options):
        admin = Admin.anywhere()
        environment = admin.environment | options.pop("environment", {})
        server = deployments.server("seaweedfs")
        deployment = deployments.proxy(server, name, environment=environment, **options)
        return admin, deployment

    return start


def test_the_admin_listener_answers_through_the_drain(own, bucket, key):
    admin, deployment = own("proxy-metrics-drained")
    target = deployment.target
    with wire.connect(target) as connection:
        built = raw.request(target, "PUT", bucket, key, body=content(LARGE))
        message = wire.message(raw.sign(built, target))
        connection.sendall(message[:-70_000])
        admin.until(
            lambda seen: seen.value("s3proxy_requests_in_flight") == 1, "one in flight"
        )
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(deployment.proxy.stop)
            deployment.proxy.wait_for_log("draining")
            assert admin.ask("/healthz")[0] == 200
            assert admin.ask("/readyz")[::2] == (503, "draining\n")
            assert admin.scrape().value("s3proxy_requests_in_flight") == 1
            connection.sendall(message[-70_000:])
            assert wire.answer_to(connection).status == 200
            assert ended.result() == 0


def test_a_certificate_tells_when_it_ends(own, certificates):
    admin, _ = own("proxy-metrics-tls", certificates=certificates)
    expiry = admin.scrape().value("s3proxy_certificate_expiry_timestamp_seconds")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", certificates.directory / "s3proxy.crt"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ended = time.strptime(shown.strip(), "notAfter=%b %d %H:%M:%S %Y GMT")
    assert expiry == calendar.timegm(ended)


def test_an_address_that_is_taken_is_named_with_its_setting(deployments, run_directory, admin, deployment):
    process = Process(
        "refused-metrics",
        [binary(), "--no-tls", "--ip", "127.0.0.1", "--port", free_port()],
        clean_environment(
            run_directory,
            S3PROXY_HOST=deployment.backend.target.url,
            S3PROXY_ENCRYPT_KEY=new_key(),
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            **admin.environment,
        ),
        run_directory / "refused-metrics.log",
    )
    with pytest.raises(RuntimeError, match="ended with 1"):
        process.wait_until(lambda: False, "ended", seconds=20)
    assert "listen.admin" in process.log_text()


# s3proxy health


def health(deployment, admin, *arguments, **variables):
    environment = admin.environment if admin else {}
    return subprocess.run(
        [binary(), "health", *map(str, arguments)],
        env=clean_environment(deployment.proxy._directory, **environment, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_health_asks_the_admin_listener_and_needs_no_other_setting(admin, deployment):
    for arguments, said in ((), "ok\n"), (("--ready",), "ready\n"):
        asked = health(deployment, admin, *arguments)
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, said, "")


def test_health_asks_where_s3_is_without_an_admin_listener(deployment):
    port = deployment.proxy.port
    for ip in ("127.0.0.1", "0.0.0.0"):
        asked = health(deployment, None, "--no-tls", "--ip", ip, "--port", port)
        assert (asked.returncode, asked.stdout) == (0, "ok\n"), asked.stderr
    asked = health(deployment, None, "--ready", S3PROXY_TLS="off", S3PROXY_PORT=str(port))
    assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr


def test_health_speaks_tls_where_the_proxy_does(deployments):
    deployment = deployments.get("seaweedfs", "https")
    asked = health(deployment, None, "--ready", "--port", deployment.proxy.port)
    assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr


def test_health_says_1_where_nobody_answers_or_the_answer_is_no(own, deployment, bucket, key):
    asked = health(deployment, None, "--no-tls", "--port", free_port())
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "no answer from 127.0.0.1" in asked.stderr

    admin, drained = own("proxy-metrics-health")
    target = drained.target
    with wire.connect(target) as connection:
        built = raw.request(target, "PUT", bucket, key, body=content(LARGE))
        message = wire.message(raw.sign(built, target))
        connection.sendall(message[:-70_000])
        admin.until(
            lambda seen: seen.value("s3proxy_requests_in_flight") == 1, "one in flight"
        )
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(drained.proxy.stop)
            drained.proxy.wait_for_log("draining")
            asked = health(drained, admin, "--ready")
            assert (asked.returncode, asked.stdout) == (1, "")
            assert "503 Service Unavailable: draining" in asked.stderr
            assert health(drained, admin).returncode == 0
            connection.sendall(message[-70_000:])
            assert wire.answer_to(connection).status == 200
            assert ended.result() == 0


def test_a_file_that_was_broken_meanwhile_does_not_make_the_proxy_look_dead(
    admin, deployment, run_directory
):
    broken = run_directory / "broken.toml"
    broken.write_text("[listen\nadmin = nonsense")
    asked = health(deployment, admin, "--config", broken)
    assert (asked.returncode, asked.stdout) == (0, "ok\n"), asked.stderr
