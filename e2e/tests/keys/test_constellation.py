"""Constellation's key service as the provider of keys, with and without TLS.

The service derives keys and encrypts nothing: envelopes contain the id of a derivation. It has no
key versions and no way to disable a key, so rotation means another master secret, under which older
objects do not open. It has no login that could expire.
"""

import secrets

import pytest

import raw
from certificates import make_certificates
from clients import boto3_client
from content import LARGE, SMALL, content
from key_services.constellation import ID_PREFIX, NAME, ConstellationService
from key_services.drills import (
    SERVICE,
    another_replica_continues_an_upload,
    another_replica_reads,
    change_envelope,
    count_calls,
    envelope,
    get,
    outage_in_traffic,
    put,
    readiness,
    start_replica,
    wait_for,
)
from legacy import CONSTELLATION, Older
from refusal import assert_nothing_stored
from sealed import open_under, parse_envelope


@pytest.fixture(scope="module")
def service(run_directory):
    service = ConstellationService(run_directory, "constellation")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def tls_service(run_directory, certificates):
    service = ConstellationService(run_directory, "constellation-tls", certificates)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def replica(deployments, service):
    """Starts proxies whose only key is the service's."""

    def start(name: str, *lines: str, at=service, scheme: str = "", **options):
        address = f"{scheme or at.scheme}://127.0.0.1:{at.port}"
        keys = [f'kms = "{address}"', 'service_timeout = "2s"', *lines]
        return start_replica(deployments, f"constellation-{name}", *keys, **options)

    return start


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE])
def test_another_replica_reads_what_one_wrote(deployment, replica, service, bucket, key, size):
    another_replica_reads(replica, deployment, bucket, key, size, name=NAME, kek=service.kek)
    identity = envelope(deployment, bucket, key)[SERVICE]
    assert identity.startswith(ID_PREFIX.encode()) and len(identity) == len(ID_PREFIX) + 32


def test_another_replica_goes_on_with_a_multipart_upload_and_reads_it(
    deployment, replica, bucket, key
):
    another_replica_continues_an_upload(replica, deployment, bucket, key, name=NAME)
    assert envelope(deployment, bucket, key)[SERVICE].startswith(ID_PREFIX.encode())


def test_with_another_master_secret_older_objects_open_once_the_old_one_is_back(
    replica, service, bucket, prefix
):
    first_secret = service.master_secret
    before = replica("before")
    assert put(before, bucket, prefix + "old", content(SMALL, "old")).status == 200
    try:
        service.master_secret = secrets.token_bytes(32)
        service.restart()
        after = replica("after")
        answer = get(after, bucket, prefix + "old")
        assert (answer.status, answer.code) == (500, "InternalError"), answer.body
        after.proxy.wait_for_log("the data key cannot be unwrapped")
        assert put(after, bucket, prefix + "new", content(SMALL, "new")).status == 200
        assert get(after, bucket, prefix + "new").body == content(SMALL, "new")
        stored = after.stored(bucket, prefix + "new")
        kek = service.kek(parse_envelope(stored.metadata["isec"])[SERVICE])
        assert open_under(stored, kek, NAME, bucket, prefix + "new", SMALL) == content(SMALL, "new")
        # A replica caches the keys that it has used.
        assert get(before, bucket, prefix + "old").body == content(SMALL, "old")
    finally:
        service.master_secret = first_secret
        service.restart()
    again = replica("again")
    assert get(again, bucket, prefix + "old").body == content(SMALL, "old")
    assert get(again, bucket, prefix + "new").status == 500


def test_an_outage_fails_only_requests_that_need_the_service_and_heals(
    replica, service, bucket, prefix
):
    outage_in_traffic(
        replica("single", "kek_objects = 1"),
        replica("other"),
        bucket,
        prefix,
        name=NAME,
        down=service.stop,
        up=service.start,
    )


def test_a_replica_that_starts_without_the_service_is_not_ready_until_it_is_there(
    replica, service, bucket, key
):
    service.stop()
    try:
        early = replica("early", awaited="healthz")
        assert readiness(early).status == 503
        answer = put(early, bucket, key, b"x")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    finally:
        service.start()
    wait_for(lambda: readiness(early).status == 200, "ready")
    assert put(early, bucket, key, b"x").status == 200


@pytest.mark.parametrize("option", ["--length=16", "--length=33"])
def test_a_key_of_another_length_is_refused(replica, service, bucket, prefix, key, option):
    single = replica("single", "kek_objects = 1")
    assert put(single, bucket, prefix + "first", b"x").status == 200
    service.restart(option)
    try:
        answer = put(single, bucket, key, b"x")
        assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
        single.proxy.wait_for_log("instead of 32")
        assert_nothing_stored(single, bucket, key)
    finally:
        service.restart()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("PERMISSION_DENIED", (503, "ServiceUnavailable")),
        ("UNIMPLEMENTED", (403, "AccessDenied")),
        ("NOT_FOUND", (403, "AccessDenied")),
        ("INTERNAL", (503, "ServiceUnavailable")),
    ],
)
def test_a_refusal_is_distinguished_from_an_outage(
    replica, service, bucket, prefix, key, status, expected
):
    single = replica("single", "kek_objects = 1")
    assert put(single, bucket, prefix + "first", b"x").status == 200
    service.restart(f"--refuse={status}")
    try:
        answer = put(single, bucket, key, b"x")
        assert (answer.status, answer.code) == expected, answer.body
        single.proxy.wait_for_log("refused on request")
        assert_nothing_stored(single, bucket, key)
    finally:
        service.restart()
    assert put(single, bucket, key, b"x").status == 200


FOREIGN = {
    "the-older-formats-id": b"s3proxy-kek",
    "a-disk": b"state-disk-0",
    "nothing-behind-the-prefix": ID_PREFIX.encode(),
    "upper-case": ID_PREFIX.encode() + b"A" * 32,
    "one-digit-more": ID_PREFIX.encode() + b"a" * 33,
    "a-path": ID_PREFIX.encode() + b"../" + b"a" * 29,
    "not-text": b"\xff" * 47,
    "of-vault": b"vault:v1:AAAA",
}


@pytest.mark.parametrize("ciphertext", FOREIGN.values(), ids=FOREIGN)
def test_an_id_of_another_form_is_refused_and_not_forwarded(
    deployment, service, bucket, key, ciphertext
):
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    change_envelope(deployment, bucket, key, _7=ciphertext)
    asked = service.uses()
    answer = get(deployment, bucket, key)
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    assert service.uses() == asked


def test_an_id_that_belongs_to_another_object_or_service_is_refused(
    deployment, replica, run_directory, bucket, prefix
):
    foreign = ConstellationService(run_directory, "constellation-foreign")
    try:
        elsewhere = replica("elsewhere", at=foreign)
        assert put(elsewhere, bucket, prefix + "foreign", content(SMALL)).status == 200
    finally:
        foreign.stop()
    answer = get(deployment, bucket, prefix + "foreign")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    assert put(deployment, bucket, prefix + "own", content(SMALL)).status == 200
    change_envelope(deployment, bucket, prefix + "own", _7=ID_PREFIX.encode() + b"0" * 32)
    answer = get(deployment, bucket, prefix + "own")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body


def test_an_object_of_constellations_own_proxy_is_read_with_one_call(
    replica, service, bucket, prefix
):
    older = Older(CONSTELLATION, service.kek(b"s3proxy-kek"))
    reader = replica("older")
    backend = boto3_client(reader.backend.target)
    for name in ["one", "two"]:
        older.put(backend, bucket, prefix + name, content(LARGE, name))
    service.stop()
    try:
        answer = get(reader, bucket, prefix + "one")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    finally:
        service.start()
    asked = service.uses()
    assert raw.ask(reader.target, "HEAD", bucket, prefix + "one").headers["Content-Length"] == str(
        LARGE
    )
    for name in ["one", "two", "one"]:
        assert get(reader, bucket, prefix + name).body == content(LARGE, name)
    assert service.asked()[asked:] == ["s3proxy-kek"]


def test_calls_to_the_service_are_few(replica, service, bucket, prefix):
    count_calls(replica, service.uses, bucket, prefix)


def test_over_tls_the_authority_is_checked(replica, tls_service, certificates, tmp_path, bucket, key):
    trusting = replica("tls", f'kms_ca = "{certificates.ca_file}"', at=tls_service)
    assert put(trusting, bucket, key, content(SMALL)).status == 200
    assert get(trusting, bucket, key).body == content(SMALL)

    other = make_certificates(tmp_path / "other")
    distrusting = replica(
        "distrusting", f'kms_ca = "{other.ca_file}"', at=tls_service, awaited="healthz"
    )
    assert_never_asked(distrusting, tls_service, bucket, key, "invalid peer certificate")


def test_a_service_without_tls_gets_no_request_if_tls_is_set(
    replica, service, certificates, bucket, key
):
    disguised = replica(
        "disguised",
        f'kms_ca = "{certificates.ca_file}"',
        at=service,
        scheme="https",
        awaited="healthz",
    )
    assert_never_asked(disguised, service, bucket, key, "the key service cannot be reached")


def assert_never_asked(deployment, service, bucket, key, logged):
    asked = service.uses()
    assert readiness(deployment).status == 503
    answer = put(deployment, bucket, key, b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    deployment.proxy.wait_for_log(logged)
    assert service.uses() == asked
