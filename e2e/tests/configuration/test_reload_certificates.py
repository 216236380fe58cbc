"""A changed certificate is served within seconds, and requests in flight are not disturbed."""

import hashlib
import http.client
import json
import shutil
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509

import raw
from certificates import Certificates, make_certificates
from clients import boto3_client
from deployment import make_bucket
from loops import Loop, Loops, assert_same, body, sdk_objects
from refusal import put
from scrape import Admin
from trees import KIB, MIB

SECONDS = 5
SETTINGS = '[listen]\ndrain_delay = "0s"\n'
UNUSABLE = "cannot use the changed certificate files; keeping the previous certificate"
FILES = ("s3proxy.crt", "s3proxy.key")


class Mount:
    """The folder of a proxy's certificate, and the authorities that issue certificates for it."""

    def __init__(self, directory: Path):
        self.issued = [
            make_certificates(directory / f"issued-{number}", days=2 + number) for number in range(3)
        ]
        self.folder = directory / "served"
        self.folder.mkdir()
        trusted = directory / "trusted.pem"
        trusted.write_bytes(b"".join(issued.ca_file.read_bytes() for issued in self.issued))
        self.certificates = Certificates(trusted, self.folder)

    def copy(self, number: int, *names: str) -> None:
        """Overwrites files, as `cp` does."""
        for name in names or FILES:
            shutil.copy(self.issued[number].directory / name, self.folder / name)

    def link(self, number: int) -> None:
        """Works as the kubelet does: the files are links through a link that is swapped."""
        generation = self.folder / f"..generation-{number}"
        generation.mkdir()
        for name in FILES:
            shutil.copy(self.issued[number].directory / name, generation / name)
        (self.folder / "..data-next").symlink_to(generation.name)
        (self.folder / "..data-next").rename(self.folder / "..data")
        for name in FILES:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)

    def digest(self, number: int) -> str:
        pem = (self.issued[number].directory / "s3proxy.crt").read_text()
        leaf = pem[: pem.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path)


@pytest.fixture
def start(deployments, mount, request):
    def started(**options):
        name = "certificate-" + request.node.name.removeprefix("test_")[:40]
        options = {"settings": SETTINGS, "certificates": mount.certificates} | options
        return deployments.proxy(deployments.server("seaweedfs"), name, **options)

    return started


def connect(target) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=target.ca_file)
    connection = http.client.HTTPSConnection("127.0.0.1", target.port, timeout=30, context=context)
    connection.connect()
    return connection


def shown(connection) -> str:
    return hashlib.sha256(connection.sock.getpeercert(binary_form=True)).hexdigest()


def served(target) -> str:
    connection = connect(target)
    try:
        return shown(connection)
    finally:
        connection.close()


def seconds_until_served(target, digest: str) -> float:
    started = time.monotonic()
    while served(target) != digest:
        assert time.monotonic() - started < 2 * SECONDS
        time.sleep(0.05)
    return time.monotonic() - started


def errors(proxy, message: str) -> list[str]:
    lines = [json.loads(line) for line in proxy.log_text().splitlines()]
    return [line["error"] for line in lines if line["message"] == message]


def wait_for_error(proxy, message: str, count: int = 1) -> str:
    deadline = time.monotonic() + SECONDS
    while len(found := errors(proxy, message)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found[count - 1]


# Clients that are busy during the change


def over(connection, target, bucket: str, name: str, number: int) -> None:
    key, expected = f"{name}/{number}", body(name, number, 9 * KIB)
    for built in (put(target, bucket, key, expected), raw.request(target, "GET", bucket, key)):
        raw.sign(built, target)
        connection.request(built.method, built.line, built.body or None, dict(built.headers))
        answer = connection.getresponse()
        received = answer.read()
        assert answer.status == 200
        assert answer.headers.get("Connection") != "close", "nobody is asked to leave"
    assert_same(received, expected)


def kept(target, bucket: str, name: str) -> Loop:
    """One connection for all rounds, which must never close."""
    connection = connect(target)
    return Loop(name, lambda number: over(connection, target, bucket, name, number), pause=0.01)


def new_each_time(target, bucket: str, name: str, seen: list[str]) -> Loop:
    def round_of(number):
        connection = connect(target)
        try:
            seen.append(shown(connection))
            over(connection, target, bucket, name, number)
        finally:
            connection.close()

    return Loop(name, round_of, pause=0)


def slow_download(target, bucket: str, name: str) -> Loop:
    """A response that is in flight for longer than a change takes."""
    expected = body(name, 0, 24 * MIB)
    assert raw.ask(target, "PUT", bucket, name, body=expected).status == 200

    def round_of(_):
        connection = connect(target)
        try:
            built = raw.sign(raw.request(target, "GET", bucket, name), target)
            connection.request("GET", built.line, headers=dict(built.headers))
            answer = connection.getresponse()
            pieces = []
            while piece := answer.read(MIB // 2):
                pieces.append(piece)
                time.sleep(0.05)
            assert_same(b"".join(pieces), expected)
        finally:
            connection.close()

    return Loop(name, round_of)


def test_changed_certificate_is_served_under_load_and_no_request_fails(mount, start):
    mount.copy(0)
    deployment = start()
    bucket, target = make_bucket(deployment), deployment.target
    seen = []
    s3 = boto3_client(target, retries={"total_max_attempts": 1})
    loops = [
        sdk_objects(s3, bucket, "sdk"),
        kept(target, bucket, "kept-1"),
        kept(target, bucket, "kept-2"),
        new_each_time(target, bucket, "new-1", seen),
        new_each_time(target, bucket, "new-2", []),
        slow_download(target, bucket, "slow"),
    ]
    with Loops(loops) as running:
        for number in (1, 2, 0):
            mount.copy(number)
            assert seconds_until_served(target, mount.digest(number)) < SECONDS
        while not all(running.rounds().values()):
            assert not running.failures()
            time.sleep(0.1)
    assert running.failures() == []
    assert set(seen) == {mount.digest(number) for number in range(3)}


def test_metric_has_the_end_of_the_certificate_that_is_served(mount, start):
    mount.copy(0)
    admin = Admin.anywhere()
    deployment = start(environment=admin.environment)
    name = "s3proxy_certificate_expiry_timestamp_seconds"
    mount.copy(1)
    assert seconds_until_served(deployment.target, mount.digest(1)) < SECONDS
    pem = (mount.issued[1].directory / "s3proxy.crt").read_bytes()
    expected = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    admin.until(lambda scrape: scrape.value(name) == expected, "that of the new certificate")


def test_certificate_behind_a_swapped_link_is_served(mount, start):
    mount.link(0)
    target = start().target
    assert served(target) == mount.digest(0)
    for number in (1, 2):
        mount.link(number)
        assert seconds_until_served(target, mount.digest(number)) < SECONDS


def test_half_of_a_pair_keeps_the_old_one_and_is_logged_once(mount, start):
    mount.copy(0)
    deployment = start()
    proxy, target = deployment.proxy, deployment.target
    mount.copy(1, "s3proxy.crt")
    assert str(mount.folder / "s3proxy.crt") in wait_for_error(proxy, UNUSABLE)
    assert served(target) == mount.digest(0)
    key = mount.folder / "s3proxy.key"
    key.write_bytes(key.read_bytes()[:60])
    assert str(key) in wait_for_error(proxy, UNUSABLE, 2)
    key.unlink()
    assert str(key) in wait_for_error(proxy, UNUSABLE, 3)
    assert served(target) == mount.digest(0)
    mount.copy(1, "s3proxy.key")
    assert seconds_until_served(target, mount.digest(1)) < SECONDS
    assert len(errors(proxy, UNUSABLE)) == 3


def test_signal_serves_a_new_certificate_at_once_and_refuses_a_wrong_one(mount, start):
    mount.copy(0)
    deployment = start()
    proxy, target = deployment.proxy, deployment.target
    mount.copy(1)
    proxy.hang_up()
    proxy.wait_for_log("configuration reloaded: no changes")
    assert served(target) == mount.digest(1)
    mount.copy(0, "s3proxy.crt")
    proxy.hang_up()
    refused = "could not reload the configuration; keeping the previous one"
    assert "do not match" in wait_for_error(proxy, refused)
    assert served(target) == mount.digest(1)
