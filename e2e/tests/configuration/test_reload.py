"""A running proxy applies a changed configuration, or logs the reason and keeps the old one.

Tests do what an operator does: overwrite a file, replace a secret, send SIGHUP. They check the
behaviour that clients see from then on, and that requests in flight are not disturbed.
"""

import json
import os
import signal
import time
from dataclasses import replace

import pytest

import raw
import wire
from clients import boto3_client
from content import LARGE, SMALL, content
from known_clients import READING, credential_of, known_client
from loops import Loops, kept_connection, sdk_objects
from proxy import Proxy, new_key
from refusal import assert_refused, put
from scrape import Admin
from sealed import parse_envelope
from target import Target

DONE = "configuration reloaded"
NOTHING = "configuration reloaded: no changes"
REFUSED = "could not reload the configuration; keeping the previous one"
SECONDS = 5
"""A change takes effect within this time."""


def known_as(proxy: Proxy, name: str, **changed: str) -> Target:
    return proxy.target.known_as(replace(credential_of(name), **changed))


def settings(*clients: str, listen: str = "", more: str = "") -> str:
    return f'[listen]\ndrain_delay = "0s"\n{listen}\n{more}\n' + "".join(clients)


def messages(proxy: Proxy, message: str) -> list[dict]:
    lines = [json.loads(line) for line in proxy.log_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


def until(condition, seconds: float = SECONDS):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return result


def loaded(proxy: Proxy, text: str, *, by_signal: bool = True) -> dict:
    """Replaces the settings file, and returns the log line that lists the changes."""
    before = len(messages(proxy, DONE))
    proxy.write_settings(text)
    if by_signal:
        proxy.hang_up()
    return until(lambda: messages(proxy, DONE)[before:])[0]


def refused(proxy: Proxy, text: str) -> str:
    """Replaces the settings file with invalid settings, and returns the logged reason."""
    before = len(messages(proxy, REFUSED))
    proxy.write_settings(text)
    proxy.hang_up()
    line = until(lambda: messages(proxy, REFUSED)[before:])[0]
    assert line["level"] == "ERROR"
    return line["error"]


def status(target, bucket: str, key: str = "missing") -> int:
    return raw.ask(target, "GET", bucket, key).status


@pytest.fixture
def start(deployments, request):
    """Starts a proxy for this test only."""

    def started(text: str, **options) -> Proxy:
        name = "reload-" + request.node.name.removeprefix("test_")[:40]
        server = deployments.server("seaweedfs")
        return deployments.proxy(server, name, settings=text, **options).proxy

    return started


# Clients


@pytest.mark.parametrize("by_signal", [True, False], ids=["SIGHUP", "file"])
def test_added_client_is_accepted(start, bucket, by_signal):
    proxy = start(settings(known_client("old")))
    assert status(known_as(proxy, "old"), bucket) == 404
    assert status(known_as(proxy, "new"), bucket) == 403
    line = loaded(proxy, settings(known_client("old"), known_client("new")), by_signal=by_signal)
    assert line["changes"] == "clients.known: added new"
    assert line["cause"] == ("SIGHUP" if by_signal else "a file has changed")
    assert status(known_as(proxy, "old"), bucket) == 404
    assert status(known_as(proxy, "new"), bucket) == 404


def test_client_that_is_removed_is_refused_on_its_open_connection(start, bucket):
    proxy = start(settings(known_client("stays"), known_client("goes")))
    target = known_as(proxy, "goes")
    built = raw.sign(raw.request(target, "GET", bucket, query="list-type=2"), target)
    with wire.connect(target) as connection:
        connection.sendall(wire.message(built))
        assert wire.answer_to(connection).status == 200
        loaded(proxy, settings(known_client("stays")))
        connection.sendall(wire.message(built))
        assert_refused(wire.answer_to(connection), 403, "InvalidAccessKeyId")


def test_grants_and_secrets_change_together_or_not_at_all(start, bucket, key):
    proxy = start(settings(known_client("app")))
    changed = known_client("app", READING, secret_access_key="another-secret")
    wrong = settings(changed, more="[backend]\nregoin = 'x'\n")
    assert "backend.regoin" in refused(proxy, wrong)
    assert raw.ask(known_as(proxy, "app"), "PUT", bucket, key, body=b"a").status == 200
    line = loaded(proxy, settings(changed))
    assert line["changes"] == "clients.known: changed app"
    assert status(known_as(proxy, "app"), bucket, key) == 403
    target = known_as(proxy, "app", secret_key="another-secret")
    assert raw.ask(target, "GET", bucket, key).body == b"a"
    assert raw.ask(target, "PUT", bucket, key, body=b"b").status == 403


def test_upload_that_has_begun_ends_as_it_began(start, bucket, key):
    proxy = start(settings(known_client("goes")))
    target = known_as(proxy, "goes")
    body = content(LARGE)
    built = put(target, bucket, key, body, {"Expect": "100-continue"})
    raw.sign(built, target, unsigned_headers=("content-length", "expect"))
    with wire.connect(target) as connection:
        connection.sendall(wire.head(built))
        assert wire.answer_to(connection).status == 100
        connection.sendall(body[:200_000])
        loaded(proxy, settings(known_client("stays")))
        connection.sendall(body[200_000:])
        assert wire.answer_to(connection).status == 200
    assert raw.ask(known_as(proxy, "stays"), "GET", bucket, key).body == body


# Keys, limits, logs


def test_key_that_is_rotated_seals_and_the_old_one_opens(start, bucket, key, backend_s3):
    first, second = new_key(), new_key()

    def keys(active, *others):
        older = ", ".join(f'"{other}"' for other in others)
        return settings(more=f'[keys]\nencrypt_key = "{active}"\ndecrypt_keys = [{older}]\n')

    def named(object_key):
        metadata = backend_s3.head_object(Bucket=bucket, Key=object_key)["Metadata"]
        return parse_envelope(metadata["isec"])[2]

    proxy = start(keys(first), environment={"S3PROXY_ENCRYPT_KEY": None})
    s3 = boto3_client(proxy.target)
    s3.put_object(Bucket=bucket, Key=key + "-1", Body=content(SMALL))
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key + "-parts")["UploadId"]
    line = loaded(proxy, keys(second, first))
    assert line["changes"] == "keys.decrypt_keys; keys.encrypt_key"
    s3.put_object(Bucket=bucket, Key=key + "-2", Body=content(SMALL))
    assert named(key + "-1") != named(key + "-2")
    for number in (1, 2):
        assert s3.get_object(Bucket=bucket, Key=f"{key}-{number}")["Body"].read() == content(SMALL)
    # An upload begun under the old key can be completed.
    names = {"Bucket": bucket, "Key": key + "-parts", "UploadId": upload}
    part = s3.upload_part(**names, PartNumber=1, Body=content(SMALL))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(**names, MultipartUpload=parts)
    assert s3.get_object(Bucket=bucket, Key=key + "-parts")["Body"].read() == content(SMALL)
    # Without the old key its objects no longer open, although they did a moment ago.
    loaded(proxy, keys(second))
    assert raw.ask(proxy.target, "GET", bucket, key + "-1").status >= 400
    assert raw.ask(proxy.target, "GET", bucket, key + "-2").body == content(SMALL)
    assert first not in proxy.log_text() and second not in proxy.log_text()


def test_secret_in_a_separate_file_is_watched(start, bucket, key, tmp_path):
    file = tmp_path / "keys"
    first, second = new_key(), new_key()
    file.write_text(first + "\n")
    variables = {"S3PROXY_ENCRYPT_KEY": None, "S3PROXY_ENCRYPT_KEY_FILE": str(file)}
    proxy = start(settings(), environment=variables)
    assert raw.ask(proxy.target, "PUT", bucket, key, body=b"a").status == 200
    file.write_text(second + "\n")
    line = until(lambda: messages(proxy, DONE))[0]
    assert line["changes"] == "keys.encrypt_key"
    assert raw.ask(proxy.target, "GET", bucket, key).status >= 400


def test_limits_change(start, bucket):
    proxy = start(settings())
    limit = '[limits]\nrequests_per_second = 1\nthrottle_wait = "0s"\n'
    line = loaded(proxy, settings(more=limit))
    assert line["changes"] == "limits.requests_per_second; limits.throttle_wait"
    assert 503 in [status(proxy.target, bucket) for _ in range(5)]
    loaded(proxy, settings())
    assert {status(proxy.target, bucket) for _ in range(5)} == {404}


def test_level_of_the_log_changes(start, bucket):
    proxy = start(settings())
    loaded(proxy, settings(more='[log]\nlevel = "debug"\n'))
    status(proxy.target, bucket)
    until(lambda: '"level":"DEBUG"' in proxy.log_text())


def test_backend_and_its_credential_change(deployments, start, bucket, key):
    """The old backend is unreachable: a request that still went there would fail."""
    owner = deployments.server("seaweedfs").target
    nowhere = {"S3PROXY_HOST": None, "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}
    wrong = '[backend]\nhost = "http://127.0.0.1:1"\nretry_attempts = 1\n'
    proxy = start(settings(known_client("app"), more=wrong), environment=nowhere, awaited="healthz")
    target = known_as(proxy, "app")
    assert raw.ask(target, "PUT", bucket, key, body=b"a").status >= 500
    right = (
        f'[backend]\nhost = "{owner.url}"\naccess_key_id = "{owner.credential.access_key}"\n'
        f'secret_access_key = "{owner.credential.secret_key}"\n'
    )
    line = loaded(proxy, settings(known_client("app"), more=right))
    assert "backend.host" in line["changes"] and "backend.secret_access_key" in line["changes"]
    assert owner.credential.secret_key not in proxy.log_text()
    assert raw.ask(target, "PUT", bucket, key, body=b"a").status == 200


# Refused configurations


def test_broken_configuration_changes_nothing_and_the_log_says_everything(start, bucket):
    proxy = start(settings(known_client("app")))
    broken = settings(known_client("new"), more='[policy]\nbind = "name"\n[limits]\nbody_memroy = "1"\n')
    reason = refused(proxy, broken)
    assert "policy.key_binding" in reason and "key | bucket-and-key" in reason
    assert "limits.body_memroy" in reason and "limits.body_memory?" in reason
    assert status(known_as(proxy, "app"), bucket) == 404
    assert status(known_as(proxy, "new"), bucket) == 403
    # The proxy does not retry it, and returning to the earlier text is no change.
    count = len(messages(proxy, REFUSED))
    proxy.write_settings(settings(known_client("app")))
    until(lambda: messages(proxy, NOTHING))
    assert len(messages(proxy, REFUSED)) == count


def test_file_that_was_emptied_changes_nothing(start, bucket):
    """The empty file is a valid configuration, because variables and flags have everything else."""
    proxy = start(settings(known_client("app")))
    proxy.write_settings_over("")
    proxy.hang_up()
    until(lambda: messages(proxy, REFUSED))
    assert "is now empty" in messages(proxy, REFUSED)[0]["error"]
    assert status(known_as(proxy, "app"), bucket) == 404
    proxy.write_settings_over(settings(known_client("app"), known_client("new")))
    until(lambda: messages(proxy, DONE))
    assert status(known_as(proxy, "new"), bucket) == 404


def test_file_that_cannot_be_read_changes_nothing(start, bucket, tmp_path):
    file = tmp_path / "key"
    file.write_text(new_key())
    variables = {"S3PROXY_ENCRYPT_KEY": None, "S3PROXY_ENCRYPT_KEY_FILE": str(file)}
    proxy = start(settings(), environment=variables)
    file.rename(tmp_path / "elsewhere")
    line = until(lambda: messages(proxy, REFUSED))[0]
    assert str(file) in line["error"]
    assert status(proxy.target, bucket) == 404


def test_settings_that_cannot_change_at_run_time_are_refused_by_name(start, bucket):
    proxy = start(settings(known_client("app")))
    more = '[log]\nformat = "text"\n'
    changed = settings(known_client("new"), listen="max_connections = 77\n", more=more)
    reason = refused(proxy, changed)
    assert reason.startswith("listen.max_connections, log.format cannot change")
    assert status(known_as(proxy, "new"), bucket) == 403
    line = loaded(proxy, settings(known_client("new")))
    assert line["changes"] == "clients.known: added new, removed app"


def test_key_of_a_service_that_does_not_answer_does_not_become_the_active_one(start, bucket, key):
    proxy = start(settings())
    away = '[[keys.vault]]\naddress = "http://127.0.0.1:1"\nkey = "k"\ntoken = "unused-token"\n'
    reason = refused(proxy, settings(more=f'[keys]\nactive = "vault:transit/k"\n{away}'))
    assert reason.startswith("vault:transit/k: ")
    assert raw.ask(proxy.target, "PUT", bucket, key, body=b"a").status == 200
    # The key may be configured for opening objects.
    line = loaded(proxy, settings(more=f'[keys]\nactive = "encrypt_key"\n{away}'))
    assert line["changes"] == "keys.active; keys.vault: added transit/k"
    assert raw.ask(proxy.target, "GET", bucket, key).body == b"a"
    assert "unused-token" not in proxy.log_text()


def test_metrics_and_readiness_are_those_of_the_active_configuration(start):
    admin = Admin.anywhere()
    proxy = start(settings(known_client("app")), environment=admin.environment)
    state = "s3proxy_config_last_reload_successful"
    begun = admin.scrape()
    assert begun.value(state) == 1
    refused(proxy, settings(more='[policy]\nbind = "name"\n'))
    failed = admin.until(lambda scrape: scrape.value(state) == 0, "told of")
    assert failed.value("s3proxy_config_reloads_total", result="failure") == 1
    loaded(proxy, settings(known_client("new"), more='[limits]\nheld_body = "2 MiB"\n'))
    succeeded = admin.until(lambda scrape: scrape.value(state) == 1, "told of")
    assert succeeded.value("s3proxy_config_reloads_total", result="success") == 1
    when = "s3proxy_config_last_reload_success_timestamp_seconds"
    assert succeeded.value(when) >= begun.value(when)


def test_readiness_is_that_of_the_new_backend(deployments, start):
    admin = Admin.anywhere()
    owner = deployments.server("seaweedfs").target
    nowhere = {"S3PROXY_HOST": None} | admin.environment
    away = '[backend]\nhost = "http://127.0.0.1:1"\nretry_attempts = 1\n'
    proxy = start(settings(more=away), environment=nowhere, awaited="healthz")
    assert admin.ask("/readyz")[0] == 503
    loaded(proxy, settings(more=f'[backend]\nhost = "{owner.url}"\n'))
    assert admin.ask("/readyz")[0] == 200
    assert raw.send(raw.request(proxy.target, "GET", key="readyz"), proxy.target).status == 200


def test_files_are_not_watched_if_watching_is_off(start, bucket):
    off = "[reload]\nwatch = false\n"
    proxy = start(settings(known_client("app"), more=off))
    proxy.write_settings(settings(known_client("new"), more=off))
    # Two polls of the file would have noticed the change.
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert status(known_as(proxy, "app"), bucket) == 404
    proxy.hang_up()
    until(lambda: messages(proxy, DONE))
    assert status(known_as(proxy, "app"), bucket) == 403


# Signals


def resources(proxy: Proxy) -> dict[str, int]:
    process = f"/proc/{proxy.process_id}"
    with open(f"{process}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return {
        "files": len(os.listdir(f"{process}/fd")),
        "threads": int(fields["Threads"]),
        "kib": int(fields["VmRSS"].split()[0]),
    }


def test_storm_of_signals_under_load_loses_nothing_and_leaks_nothing(start, bucket):
    def variant(number: int) -> str:
        # Each variant changes the backend client, the keyring, the caches and the clients.
        return settings(
            known_client(f"extra{number}"),
            known_client("app"),
            more=f"[backend]\nretry_attempts = {3 + number % 2}\n[keys]\nkek_objects = {number + 1}\n",
        )

    proxy = start(variant(0))
    target = known_as(proxy, "app")
    s3 = boto3_client(target, retries={"total_max_attempts": 1})
    loops = [
        sdk_objects(s3, bucket, "storm-sdk"),
        kept_connection(target, bucket, "storm-kept", pause=0.01),
        kept_connection(target, bucket, "storm-kept-2", pause=0),
    ]
    with Loops(loops) as running:
        for number in range(1, 21):
            loaded(proxy, variant(number))
        warm = resources(proxy)
        for number in range(21, 71):
            write = (proxy.write_settings, proxy.write_settings_over)[number % 2]
            write(variant(number))
            proxy.hang_up()
        loaded(proxy, variant(71))
        for number in range(72, 102):
            loaded(proxy, variant(number))
        until(lambda: all(running.rounds().values()), seconds=30)
    assert running.failures() == []
    # A file is empty for a moment while it is overwritten, on a busy machine for longer.
    reasons = [line["error"] for line in messages(proxy, REFUSED)]
    assert [reason for reason in reasons if "is now empty" not in reason] == []
    until(lambda: resources(proxy)["files"] <= warm["files"] + 5, seconds=30)
    until(lambda: resources(proxy)["threads"] <= warm["threads"] + 2, seconds=30)
    assert resources(proxy)["kib"] < warm["kib"] + 40_000


def test_hang_up_during_start_and_drain_is_harmless(deployments, start, bucket):
    slow = 'drain_delay = "3s"\n'
    proxy = start(f"[listen]\n{slow}")
    for _ in range(3):
        proxy.hang_up()
    until(lambda: messages(proxy, NOTHING))
    os.kill(proxy.process_id, signal.SIGTERM)
    proxy.wait_for_log('"draining"')
    for _ in range(3):
        proxy.hang_up()
    assert status(proxy.target, bucket) == 404
    assert proxy.stop() == 0
    assert "drained; all requests finished" in proxy.log_text()
