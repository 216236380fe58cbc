"""A key of the Transit engine as the key-encryption key, at OpenBao's own server.

HashiCorp's Vault, from which OpenBao was forked, is not run here.
"""

import secrets

import pytest

from content import LARGE, SMALL, content
from key_services.drills import (
    KEK,
    SERVICE,
    another_replica_continues_an_upload,
    another_replica_reads,
    change_envelope,
    count_calls,
    envelope,
    get,
    key_is_taken_away,
    outage_in_traffic,
    put,
    start_replica,
)
from key_services.openbao import OpenBao
from key_services.transit import Tenant, key_entry
from refusal import assert_nothing_stored


@pytest.fixture(scope="module")
def fragile_server(run_directory):
    """A server without TLS, for tests that stop and restart it."""
    server = OpenBao(run_directory)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def vault(openbao):
    """A tenant with everything at the default paths."""
    return Tenant(openbao, login_mount="approle")


@pytest.fixture(scope="module")
def vault_key(vault):
    return vault.new_key()


@pytest.fixture(scope="module")
def replica(deployments, vault, vault_key):
    """Starts proxies whose only keys are Transit's; the first key is the active one."""

    def start(
        name: str,
        *lines: str,
        at: Tenant = vault,
        keys: list[str] | None = None,
        trusting: bool = True,
        **options,
    ):
        keys = keys or [vault_key]
        entries = "\n".join(key_entry(at, key, trusting=trusting) for key in keys)
        active = f'active = "{at.envelope_name(keys[0])}"'
        keys = ['service_timeout = "1s"', active, *lines]
        return start_replica(deployments, f"vault-{name}", *keys, more=entries, **options)

    return start


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_another_replica_reads_what_one_wrote(
    deployment, replica, vault, vault_key, bucket, key, size
):
    another_replica_reads(
        replica,
        deployment,
        bucket,
        key,
        size,
        name=vault.envelope_name(vault_key),
        kek=lambda ciphertext: vault.kek(vault_key, ciphertext),
    )


def test_another_replica_goes_on_with_a_multipart_upload_and_reads_it(
    deployment, replica, vault, vault_key, bucket, key
):
    name = vault.envelope_name(vault_key)
    another_replica_continues_an_upload(replica, deployment, bucket, key, name=name)


def test_a_namespace_and_mounts_of_other_names(replica, openbao, bucket, key):
    vault = Tenant(
        openbao,
        mount="teams/storage/transit",
        login_mount="roles",
        namespace="organisation/storage",
    )
    vault_key = vault.new_key()
    writer = replica("writer", at=vault, keys=[vault_key])
    assert put(writer, bucket, key, content(SMALL)).status == 200
    assert envelope(writer, bucket, key)[KEK] == vault.envelope_name(vault_key)
    reader = replica("reader", at=vault, keys=[vault_key])
    assert get(reader, bucket, key).body == content(SMALL)
    assert vault.logins == 2


def test_a_server_with_an_unknown_authority_gets_no_request(replica, openbao, bucket, key):
    vault = Tenant(openbao)
    keys = [vault.new_key()]
    distrustful = replica("distrustful", at=vault, keys=keys, trusting=False, awaited="healthz")
    answer = put(distrustful, bucket, key, b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    distrustful.proxy.wait_for_log("certificate")
    assert vault.logins == 0


def test_after_a_rotation_old_objects_open_and_new_keks_are_under_the_new_version(
    replica, vault, bucket, prefix
):
    key = vault.new_key()
    before = replica("before", "kek_objects = 1", keys=[key])
    assert put(before, bucket, prefix + "old", content(SMALL, "old")).status == 200
    assert envelope(before, bucket, prefix + "old")[SERVICE].startswith(b"vault:v1:")
    vault.rotate(key)
    for name in ["new", "newer"]:
        assert put(before, bucket, prefix + name, content(SMALL, name)).status == 200
    assert envelope(before, bucket, prefix + "newer")[SERVICE].startswith(b"vault:v2:")
    after = replica("after", keys=[key])
    for name in ["old", "new", "newer"]:
        assert get(after, bucket, prefix + name).body == content(SMALL, name)
    vault.configure(key, min_decryption_version=2)
    strict = replica("strict", keys=[key])
    answer = get(strict, bucket, prefix + "old")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    strict.proxy.wait_for_log("disallowed by policy (too old)")
    assert get(strict, bucket, prefix + "newer").body == content(SMALL, "newer")


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (OpenBao.kill, OpenBao.start),
        (OpenBao.seal, OpenBao.unseal),
        (OpenBao.suspend, OpenBao.resume),
    ],
    ids=["down", "sealed", "silent"],
)
def test_an_outage_fails_only_requests_that_need_the_service_and_heals(
    replica, fragile_server, bucket, prefix, down, up
):
    vault = Tenant(fragile_server)
    key = vault.new_key()
    outage_in_traffic(
        replica("single", "kek_objects = 1", at=vault, keys=[key]),
        replica("other", at=vault, keys=[key]),
        bucket,
        prefix,
        name=key,
        down=lambda: down(fragile_server),
        up=lambda: up(fragile_server),
    )


def test_a_quota_that_is_used_up_is_an_outage_too(replica, openbao, bucket, prefix):
    vault = Tenant(openbao, mount="limited")
    key = vault.new_key()
    single = replica("single", "kek_objects = 1", at=vault, keys=[key])
    quota = "sys/quotas/rate-limit/limited"
    openbao.ask("POST", quota, {"path": "limited/", "rate": 1, "interval": "1h"})
    answers = [put(single, bucket, f"{prefix}{number}", b"x") for number in range(4)]
    assert (answers[-1].status, answers[-1].code) == (503, "ServiceUnavailable"), answers[-1].body
    single.proxy.wait_for_log("rate limit quota exceeded")
    openbao.ask("DELETE", quota)
    assert put(single, bucket, prefix + "again", b"x").status == 200


def test_a_deleted_key_is_a_clear_error(replica, vault, bucket, prefix):
    key = vault.new_key()
    single = replica("single", "kek_objects = 1", keys=[key])
    cold = replica("cold", keys=[key])
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    vault.delete(key)
    answer = get(cold, bucket, prefix + "cached")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert key.encode() in answer.body
    cold.proxy.wait_for_log("encryption key not found")
    # Encrypting under a missing key would create it, so Vault reports a missing permission.
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("a missing key is refused in the same way")
    assert_nothing_stored(single, bucket, prefix + "refused")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    vault.restore(key)
    assert put(single, bucket, prefix + "again", b"x").status == 200
    assert get(cold, bucket, prefix + "cached").body == content(SMALL)


def test_a_disabled_key_is_a_clear_error(replica, vault, bucket, prefix):
    key = vault.new_key()
    key_is_taken_away(
        replica("single", "kek_objects = 1", keys=[key]),
        replica("cold", keys=[key]),
        bucket,
        prefix,
        take_away=lambda: vault.disable(key),
        give_back=lambda: vault.enable(key),
        logged="soft-deleted key",
        named=key,
    )


@pytest.mark.parametrize("kind", ["aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305"])
def test_keys_of_all_symmetric_kinds_serve(replica, vault, bucket, key, kind):
    keys = [vault.new_key(kind=kind)]
    assert put(replica("writer", keys=keys), bucket, key, content(SMALL)).status == 200
    assert get(replica("reader", keys=keys), bucket, key).body == content(SMALL)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "ed25519"}, "not supported for key type ed25519"),
        ({"kind": "rsa-2048"}, "the Transit key is an RSA key"),
        ({"derived": True}, "missing 'context' for key derivation"),
    ],
    ids=["signing", "asymmetric", "derived"],
)
def test_a_key_of_another_kind_is_a_clear_error(replica, vault, bucket, key, settings, words):
    proxy = replica("kind", keys=[vault.new_key(**settings)], awaited="healthz")
    answer = put(proxy, bucket, key, b"x")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    proxy.proxy.wait_for_log(words)
    assert_nothing_stored(proxy, bucket, key)


def test_ciphertexts_of_others_are_refused(deployment, vault, vault_key, bucket, prefix):
    """Of another key, another server, for another purpose, altered, or of another service."""
    wanted = secrets.token_bytes(32)
    first = vault.encrypt(vault_key, wanted)
    altered = first[:-6] + (b"AAAA" if first[-6:-2] != b"AAAA" else b"BBBB") + first[-2:]
    elsewhere = Tenant(vault.server, mount="elsewhere")
    forged = {
        "key": vault.encrypt(vault.new_key(), wanted),
        "engine": elsewhere.encrypt(elsewhere.new_key(vault_key), wanted),
        "altered": altered,
        "version": first.replace(b"vault:v1:", b"vault:v9:"),
        "short": b"vault:v1:QUJD",
        "length": vault.encrypt(vault_key, secrets.token_bytes(33)),
        "object": first,
    }
    never_sent = {
        "service": b"\x01\x02\x03",
        "asymmetric": vault.encrypt(vault.new_key(kind="rsa-2048"), wanted),
        "zero": first.replace(b"vault:v1:", b"vault:v0:"),
        "quotes": b'vault:v1:","x":"',
    }
    for name, ciphertext in (forged | never_sent).items():
        assert put(deployment, bucket, prefix + name, content(SMALL)).status == 200
        change_envelope(deployment, bucket, prefix + name, _7=ciphertext)
        uses = vault.uses(vault_key)
        answer = get(deployment, bucket, prefix + name)
        assert (answer.status, answer.code) == (500, "InternalError"), (name, answer.body)
        assert vault.uses(vault_key) - uses == (name in forged), name
    deployment.proxy.wait_for_log("encrypted under another key", count=5)


def test_an_unknown_name_in_an_envelope_is_not_forwarded(deployment, vault, bucket, key):
    other = vault.new_key()
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    change_envelope(deployment, bucket, key, _2=vault.envelope_name(other))
    answer = get(deployment, bucket, key)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert vault.uses(other) == 0


def test_calls_to_the_service_are_few(replica, vault, vault_key, bucket, prefix):
    count_calls(replica, lambda: vault.uses(vault_key), bucket, prefix)
