"""A key of the Transit engine of HashiCorp Vault and OpenBao as the keeper of keys.

The server is a stand-in: key_services/transit.py says for what, and what that leaves unproved.
"""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import boto3_client
from conftest import make_bucket
from content import LARGE, SMALL, content
from key_services.drills import (
    KEK,
    SERVICE,
    SERVICE_ALONE,
    change_envelope,
    count_calls,
    get,
    outage_in_traffic,
    put,
    settings,
    wait_for,
)
from key_services.transit import Lease, Transit
from refusal import assert_nothing_stored
from sealed import leaks, open_under, parse_envelope
from uploads import FIVE_MIB, Upload, body_of, piece


@pytest.fixture(scope="module")
def vault():
    vault = Transit()
    yield vault
    vault.stop()


@pytest.fixture
def own_vault():
    """One that a test may stop, seal, and count the logins at."""
    vault = Transit()
    yield vault
    vault.stop()


@pytest.fixture(scope="module")
def vault_key(vault):
    return vault.new_key()


def approle(vault: Transit) -> str:
    return (
        f'auth = "approle"\nrole_id = "{vault.role_id}"\nsecret_id = "{vault.secret_id}"\n'
    )


def with_token(token: str) -> str:
    return f'token = "{token}"\n'


@pytest.fixture(scope="module")
def replica(deployments, vault, vault_key):
    """Starts proxies whose only keys are Transit's; the first key is the active one."""

    def start(
        name: str,
        *lines: str,
        at: Transit = vault,
        keys: list[str] | None = None,
        login: str | None = None,
        more: str = "",
    ):
        keys = keys or [vault_key]
        entries = "\n".join(
            f'[[keys.vault]]\naddress = "{at.address}"\nkey = "{key}"\n'
            f"{login or approle(at)}{more}"
            for key in keys
        )
        active = f'active = "{envelope_name(at, keys[0])}"'
        return deployments.proxy(
            deployments.server("seaweedfs"),
            f"vault-{name}-{secrets.token_hex(2)}",
            settings=settings(
                "\n".join(['service_timeout = "1s"', active, *lines]), more=entries
            ),
            environment=SERVICE_ALONE,
        )

    return start


def envelope_name(vault: Transit, key: str) -> str:
    return f"vault:{vault.mount}/{key}"


@pytest.fixture(scope="module")
def deployment(replica):
    return replica("first")


@pytest.fixture(scope="module")
def bucket(deployments):
    return make_bucket(deployments.get("seaweedfs", "http"))


def envelope(deployment, bucket, key):
    return parse_envelope(deployment.stored(bucket, key).metadata["isec"])


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_another_replica_reads_what_one_wrote(
    deployment, replica, vault, vault_key, bucket, key, size
):
    plaintext = content(size)
    assert put(deployment, bucket, key, plaintext).status == 200
    assert get(replica("second"), bucket, key).body == plaintext
    stored = deployment.stored(bucket, key)
    assert not leaks(stored.body, plaintext)
    kek = vault.kek(vault_key, parse_envelope(stored.metadata["isec"])[SERVICE])
    assert len(kek) == 32
    name = envelope_name(vault, vault_key)
    assert open_under(stored, kek, name, bucket, key, size) == plaintext


def test_another_replica_goes_on_with_a_multipart_upload_and_reads_it(
    deployment, replica, vault, vault_key, bucket, key, s3
):
    second = boto3_client(replica("second").target)
    upload = Upload(s3, bucket, key)
    upload.part(1, piece(FIVE_MIB, "one"))
    upload.through(second).part(2, piece(SMALL, "two"))
    upload.complete()
    assert envelope(deployment, bucket, key)[KEK] == envelope_name(vault, vault_key)
    third = boto3_client(replica("third").target)
    assert body_of(third, bucket, key) == upload.plaintext


def test_tls_a_namespace_and_mounts_of_other_names(replica, certificates, bucket, key):
    vault = Transit(
        mount="teams/storage/transit",
        login_mounts=("roles", "clusters/one"),
        namespace="organisation/storage",
        certificates=certificates,
    )
    try:
        more = (
            f'ca = "{certificates.ca_file}"\nmount = "{vault.mount}"\nauth_mount = "roles"\n'
            f'namespace = "{vault.namespace}"\n'
        )
        vault_key = vault.new_key()
        for name in ["writer", "reader"]:
            proxy = replica(name, at=vault, keys=[vault_key], more=more)
            if name == "writer":
                assert put(proxy, bucket, key, content(SMALL)).status == 200
            assert get(proxy, bucket, key).body == content(SMALL)
        assert envelope(proxy, bucket, key)[KEK] == envelope_name(vault, vault_key)
    finally:
        vault.stop()


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
    vault.keys[key].oldest_usable = 2
    strict = replica("strict", keys=[key])
    answer = get(strict, bucket, prefix + "old")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    strict.proxy.wait_for_log("disallowed by policy (too old)")
    assert get(strict, bucket, prefix + "newer").body == content(SMALL, "newer")


def stop(vault):
    vault.stop()


def seal(vault):
    vault.sealed = True


def start(vault):
    vault.start()


def unseal(vault):
    vault.sealed = False


@pytest.mark.parametrize(("down", "up"), [(stop, start), (seal, unseal)], ids=["down", "sealed"])
def test_an_outage_fails_what_needs_the_service_and_heals_by_itself(
    replica, own_vault, bucket, prefix, down, up
):
    key = own_vault.new_key()
    outage_in_traffic(
        replica("single", "kek_objects = 1", at=own_vault, keys=[key]),
        replica("other", at=own_vault, keys=[key]),
        bucket,
        prefix,
        name=key,
        down=lambda: down(own_vault),
        up=lambda: up(own_vault),
    )


def test_a_deleted_key_is_a_clear_error(replica, vault, bucket, prefix):
    key = vault.new_key()
    single = replica("single", "kek_objects = 1", keys=[key])
    cold = replica("cold", keys=[key])
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    deleted = vault.keys.pop(key)
    answer = get(cold, bucket, prefix + "cached")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert key.encode() in answer.body
    cold.proxy.wait_for_log("encryption key not found")
    # Encrypting under a missing key would create it, so that is a matter of permission to Vault.
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    single.proxy.wait_for_log("a missing key is refused like this too")
    assert_nothing_stored(single, bucket, prefix + "refused")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    vault.keys[key] = deleted
    assert put(single, bucket, prefix + "again", b"x").status == 200
    assert get(cold, bucket, prefix + "cached").body == content(SMALL)


def test_ciphertexts_of_others_are_refused(deployment, vault, vault_key, bucket, prefix):
    """Of another key, another server, for another purpose, altered, or of another service."""
    own = vault.keys[vault_key]
    wanted = secrets.token_bytes(32)
    first = own.encrypt(wanted)
    altered = first[:-6] + (b"AAAA" if first[-6:-2] != b"AAAA" else b"BBBB") + first[-2:]
    forged = {
        "key": vault.keys[vault.new_key()].encrypt(wanted),
        "altered": altered,
        "version": first.replace(b"vault:v1:", b"vault:v9:"),
        "length": own.encrypt(secrets.token_bytes(33)),
        "object": first,
    }
    never_sent = {
        "service": b"\x01\x02\x03",
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
    deployment.proxy.wait_for_log("encrypted under another key", count=3)


def test_an_unknown_name_in_an_envelope_is_not_passed_on(deployment, vault, bucket, key):
    other = vault.new_key()
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    change_envelope(deployment, bucket, key, _2=envelope_name(vault, other))
    answer = get(deployment, bucket, key)
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    assert vault.uses(other) == 0


def test_calls_to_the_service_are_few(replica, vault, vault_key, bucket, prefix):
    count_calls(replica, lambda: vault.uses(vault_key), bucket, prefix)


def test_a_token_is_renewed_in_time(replica, own_vault, bucket, prefix):
    key = own_vault.new_key()
    token = own_vault.new_token(key, lease=2)
    single = replica("renewed", "kek_objects = 1", at=own_vault, keys=[key], login=with_token(token))
    # Its lease of 2 s has ended by then, but for the renewals.
    wait_for(lambda: own_vault.renewals >= 3, "renewed three times")
    assert put(single, bucket, prefix + "later", b"x").status == 200
    assert own_vault.logins == 0


def test_a_login_that_cannot_be_renewed_further_is_replaced(replica, own_vault, bucket, prefix):
    key = own_vault.new_key()
    own_vault.lease = Lease(length=2, longest=3)
    single = replica("replaced", "kek_objects = 1", at=own_vault, keys=[key])
    wait_for(lambda: own_vault.logins >= 3, "logged in three times")
    assert own_vault.renewals >= 1
    assert put(single, bucket, prefix + "later", b"x").status == 200
    assert "permission denied" not in single.proxy.log_text()


def test_a_revoked_token_is_replaced_by_one_login_for_all_that_wait(
    replica, own_vault, bucket, prefix
):
    key = own_vault.new_key()
    single = replica("revoked", "kek_objects = 1", at=own_vault, keys=[key])
    logins = own_vault.logins
    assert logins == 1
    wait_for_age(own_vault)
    own_vault.revoke_all()
    with ThreadPoolExecutor(8) as pool:
        keys = [f"{prefix}{number}" for number in range(8)]
        answers = pool.map(lambda key: put(single, bucket, key, b"x").status, keys)
        assert set(answers) == {200}
    assert own_vault.logins - logins == 1


def wait_for_age(vault):
    """A young token is not replaced: what refuses it is the policy, not its age."""
    wait_for(lambda: vault.seconds_since_login() > 1.5, "logged in long enough")


def test_a_refused_login_is_a_clear_error_and_is_tried_again(replica, own_vault, bucket, prefix):
    key = own_vault.new_key()
    single = replica("refused", "kek_objects = 1", at=own_vault, keys=[key])
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    wait_for_age(own_vault)
    right, own_vault.secret_id = own_vault.secret_id, "another"
    own_vault.revoke_all()
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    single.proxy.wait_for_log("invalid role or secret ID")
    assert_nothing_stored(single, bucket, prefix + "refused")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    assert right not in single.proxy.log_text()
    own_vault.secret_id = right
    assert put(single, bucket, prefix + "again", b"x").status == 200


def test_a_service_account_s_token_is_read_at_each_login(
    replica, own_vault, run_directory, bucket, prefix
):
    file = run_directory / f"service-account-{secrets.token_hex(4)}"
    file.write_text(own_vault.jwt + "\n")
    key = own_vault.new_key()
    login = f'auth = "kubernetes"\nrole = "{own_vault.role}"\njwt_file = "{file}"\n'
    single = replica("kubernetes", "kek_objects = 1", at=own_vault, keys=[key], login=login)
    assert put(single, bucket, prefix + "first", b"x").status == 200
    wait_for_age(own_vault)
    # The kubelet puts another token there, and the cluster forgets the one before.
    own_vault.jwt = secrets.token_hex(16)
    file.write_text(own_vault.jwt)
    own_vault.revoke_all()
    assert put(single, bucket, prefix + "second", b"x").status == 200
    assert own_vault.logins == 2


def test_a_token_that_has_ended_is_a_clear_error(replica, own_vault, bucket, prefix):
    key = own_vault.new_key()
    token = own_vault.new_token(key)
    single = replica("ended", "kek_objects = 1", at=own_vault, keys=[key], login=with_token(token))
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    own_vault.revoke_all()
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    single.proxy.wait_for_log("the token must be valid")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    assert token not in single.proxy.log_text()
