"""Metrics about stored data and keys: objects that do not open, by kind of failure; reads of
plaintext or older formats; and calls to key services.
"""

from dataclasses import replace

import pytest

import raw
from content import LARGE, SMALL, content
from key_services.drills import SERVICE_ALONE, get, put, settings
from key_services.openbao import OpenBao
from key_services.transit import Tenant, key_entry
from known_clients import credential_of, known_client
from legacy import Older
from proxy import VIRTUAL_HOSTS, new_key
from scrape import Admin
from sealed import Stored
from tampering import Vault, assert_detected, assert_refused_outright

PASSPHRASE = "a passphrase of an older proxy"
OLDER = Older.of_text(PASSPHRASE, "1")
DAMAGED = {"isec": "s3p1.AAAA"}


@pytest.fixture(scope="module")
def deployment(deployments, admin):
    """A proxy with an admin listener, as its only listed client sees it."""
    deployment = deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-metrics-stored",
        settings=VIRTUAL_HOSTS + known_client("listed"),
        environment=admin.environment | {"S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE},
        awaited="healthz",
    )
    return replace(deployment, target=deployment.target.known_as(credential_of("listed")))


@pytest.fixture(scope="module")
def vault(deployment, bucket):
    return Vault(deployment, bucket)


# Stored data


def failures(added):
    return {
        dict(labels)["kind"]: value
        for (name, labels), value in added.values.items()
        if name == "s3proxy_open_failures_total" and value
    }


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_altered_object_counts_as_tampered_whether_it_shows_early_or_late(
    admin, vault, key, size
):
    stored = vault.seal(key, content(size))
    body = bytearray(stored.body)
    body[len(body) // 2] ^= 1
    vault.plant(key, Stored(bytes(body), stored.metadata))

    added = admin.added_by(lambda: assert_detected(vault.read(key), content(size)))
    assert failures(added) == {"tampered": 1}
    status = "500" if size == SMALL else "aborted"
    assert added.requests(operation="GetObject", status=status, client="listed") == 1


def test_each_failure_to_open_has_its_kind(admin, deployments, vault, prefix):
    def failed(key, stored):
        vault.plant(prefix + key, stored)
        return failures(admin.added_by(lambda: assert_refused_outright(vault.read(prefix + key))))

    stored = vault.seal(prefix + "sealed", content(SMALL))
    assert failed("sealed", Stored(stored.body[:20], stored.metadata)) == {"truncated": 1}
    assert failed("damaged", Stored(stored.body, DAMAGED)) == {"malformed": 1}
    assert failed("moved", stored) == {"wrong_key": 1}

    environment = {"S3PROXY_ENCRYPT_KEY": new_key()}
    backend = vault.deployment.backend
    other = deployments.proxy(backend, "proxy-metrics-other", environment=environment)
    stored = Vault(other, vault.bucket).seal(prefix + "other", b"x")
    assert failed("other", stored) == {"unknown_key": 1}


SPOILED = {
    # The proxy looks these up because objects in older formats may be this short.
    "truncated": lambda stored: Stored(stored.body[:71], stored.metadata),
    "malformed": lambda stored: Stored(stored.body, DAMAGED),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_listing_counts_objects_it_cannot_describe_and_shows_the_sizes_of_the_others(
    admin, vault, backend_s3, prefix, kind
):
    spoiled = SPOILED[kind](vault.seal(prefix + "spoiled", content(SMALL)))
    vault.plant(prefix + "spoiled", spoiled)
    vault.seal(prefix + "sealed", content(LARGE))
    vault.plant(prefix + "plain", Stored(content(SMALL), {}))
    OLDER.put(backend_s3, vault.bucket, prefix + "older", content(SMALL))

    def list_all():
        query = f"list-type=2&prefix={prefix}"
        listing = raw.ask(vault.deployment.target, "GET", vault.bucket, query=query)
        assert listing.status == 200
        keys = [key.removeprefix(prefix) for key in listing.elements("Key")]
        sizes = dict(zip(keys, listing.elements("Size"), strict=True))
        assert sizes.pop("spoiled")
        assert sizes == {"sealed": str(LARGE), "plain": str(SMALL), "older": str(SMALL)}

    for _ in ("first", "and again, since nothing was learnt of it"):
        added = admin.added_by(list_all)
        assert failures(added) == {kind: 1}
        assert added.requests(operation="ListObjectsV2", status="200") == 1


def test_reads_of_plaintext_count_and_heads_do_not(
    admin, vault, backend_s3, prefix
):
    plain, older = prefix + "plain", prefix + "older"
    vault.plant(plain, Stored(b"as it is", {}))
    OLDER.put(backend_s3, vault.bucket, older, content(SMALL))

    def read(key, span="", method="GET"):
        answer = vault.read(key, span, method)
        assert answer.status == (206 if span else 200), answer.body

    added = admin.added_by(lambda: read(plain))
    assert added.value("s3proxy_plaintext_reads_total") == 1
    assert added.value("s3proxy_legacy_reads_total") == 0
    added = admin.added_by(lambda: read(plain, "0-1"))
    assert added.value("s3proxy_plaintext_reads_total") == 1

    added = admin.added_by(lambda: read(older))
    assert added.value("s3proxy_legacy_reads_total", format="intrinsec") == 1
    assert added.value("s3proxy_legacy_reads_total") == 1
    assert added.value("s3proxy_plaintext_reads_total") == 0

    added = admin.added_by(lambda: [read(key, method="HEAD") for key in (plain, older)], 2)
    assert added.value("s3proxy_legacy_reads_total") == 0
    assert added.value("s3proxy_plaintext_reads_total") == 0


# Key services


@pytest.fixture
def tenant(run_directory):
    server = OpenBao(run_directory)
    yield Tenant(server)
    server.stop()


def test_calls_to_a_key_service_and_its_failures_count(deployments, tenant, bucket, key):
    admin, name = Admin.anywhere(), tenant.new_key()
    keys = f'service_timeout = "1s"\ncache_time = "0s"\nactive = "{tenant.envelope_name(name)}"'
    deployment = deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-metrics-vault",
        settings=settings(keys, more=key_entry(tenant, name)),
        environment=SERVICE_ALONE | admin.environment,
    )

    def calls(scrape, **labels):
        return scrape.value("s3proxy_key_service_calls_total", service="vault", **labels)

    begun = admin.scrape()
    assert calls(begun, call="create", result="ok") == 1, "readiness makes the first key"
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    assert get(deployment, bucket, key).status == 200
    added = admin.scrape() - begun
    assert calls(added, call="create") == 0
    assert calls(added, call="open", result="ok") == 1
    assert added.value("s3proxy_key_cache_hits_total") == 2
    assert added.value("s3proxy_key_cache_misses_total") == 1
    assert added.value("s3proxy_key_service_seconds_count", service="vault", call="open") == 1

    tenant.server.kill()
    before = admin.scrape()
    assert get(deployment, bucket, key).status == 503
    added = admin.scrape() - before
    assert calls(added, call="open", result="ok") == 0
    assert calls(added, call="open") == 3, "two repetitions"
    assert added.value("s3proxy_open_failures_total", kind="key_service") == 1
    text = admin.scrape().text
    # The key's name is the label of its requests; the address of the service must not show.
    for secret in (tenant.role_id, tenant.secret_id, tenant.server.address):
        assert secret not in text
