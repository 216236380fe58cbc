"""The admin listener beside the S3 port: its probes, its behaviour in a drain, and `s3proxy
health`, which an orchestrator runs and which asks that listener, or the S3 port if there is none.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import raw
import wire
from content import LARGE, content
from processes import Process, clean_environment, free_port
from proxy import binary, new_key
from refusal import put
from scrape import Admin


@pytest.fixture(scope="module")
def deployment(deployments, admin):
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-admin",
        environment=admin.environment,
        awaited="healthz",
    )


@pytest.fixture
def draining(deployments, request, bucket, key):
    """An admin listener and its proxy, which is draining and has an upload to finish first."""
    admin, server = Admin.anywhere(), deployments.server("seaweedfs")
    name = f"proxy-{request.node.name}"
    deployment = deployments.proxy(server, name, environment=admin.environment)
    target = deployment.target
    message = wire.message(raw.sign(put(target, bucket, key, content(LARGE)), target))
    with wire.connect(target) as connection, ThreadPoolExecutor(1) as pool:
        connection.sendall(message[:-70_000])
        admin.until(lambda seen: seen.in_flight == 1, "one in flight")
        ended = pool.submit(deployment.proxy.stop)
        deployment.proxy.wait_for_log("draining")
        yield admin, deployment
        connection.sendall(message[-70_000:])
        assert wire.answer_to(connection).status == 200
        assert ended.result() == 0


def test_the_admin_listener_answers_probes_and_nothing_of_s3(admin, deployment, bucket):
    assert admin.ask("/healthz")[::2] == (200, "ok\n")
    assert admin.ask("/readyz")[::2] == (200, "ready\n")
    assert admin.ask("/metrics", method="HEAD")[::2] == (200, "")
    for path in (f"/{bucket}", f"/{bucket}/metrics", "/", "/debug"):
        status, _, text = admin.ask(path)
        assert status == 404
        assert "/metrics" in text
    assert admin.ask("/metrics", method="POST")[0] == 405


def test_metrics_are_not_served_on_the_s3_port(deployment):
    answer = raw.send(raw.request(deployment.target, "GET", "metrics"), deployment.target)
    assert answer.status == 403


def test_without_the_setting_there_is_no_second_listener(deployments):
    log = deployments.get("seaweedfs", "http").proxy.log_text()
    assert "serving metrics" not in log


def test_the_admin_listener_answers_through_the_drain(draining):
    admin, _ = draining
    assert admin.ask("/healthz")[0] == 200
    assert admin.ask("/readyz")[::2] == (503, "draining\n")
    assert admin.scrape().in_flight == 1


def test_an_address_that_is_taken_is_named_with_its_setting(run_directory, admin, deployment):
    process = Process(
        "refused-admin",
        [binary(), "--no-tls", "--ip", "127.0.0.1", "--port", free_port()],
        clean_environment(
            run_directory,
            S3PROXY_HOST=deployment.backend.target.url,
            S3PROXY_ENCRYPT_KEY=new_key(),
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            **admin.environment,
        ),
        run_directory / "refused-admin.log",
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


def test_health_asks_the_s3_port_without_an_admin_listener(deployment):
    port = deployment.proxy.port
    for ip in ("127.0.0.1", "0.0.0.0"):
        asked = health(deployment, None, "--no-tls", "--ip", ip, "--port", port)
        assert (asked.returncode, asked.stdout) == (0, "ok\n"), asked.stderr
    asked = health(deployment, None, "--ready", S3PROXY_LISTEN_TLS="off", S3PROXY_LISTEN_PORT=str(port))
    assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr


def test_health_speaks_tls_where_the_proxy_does(deployments):
    deployment = deployments.get("seaweedfs", "https")
    asked = health(deployment, None, "--ready", "--port", deployment.proxy.port)
    assert (asked.returncode, asked.stdout) == (0, "ready\n"), asked.stderr


def test_health_exits_with_1_without_a_response(deployment):
    asked = health(deployment, None, "--no-tls", "--port", free_port())
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "no response from 127.0.0.1" in asked.stderr


def test_health_exits_with_1_on_a_failed_probe(draining):
    admin, deployment = draining
    asked = health(deployment, admin, "--ready")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "503 Service Unavailable: draining" in asked.stderr
    assert health(deployment, admin).returncode == 0


def test_a_settings_file_broken_since_the_start_does_not_fail_health(
    admin, deployment, run_directory
):
    broken = run_directory / "broken.toml"
    broken.write_text("[listen\nadmin = nonsense")
    asked = health(deployment, admin, "--config", broken)
    assert (asked.returncode, asked.stdout) == (0, "ok\n"), asked.stderr
