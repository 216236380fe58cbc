"""Logins at OpenBao's own server: renewed, replaced, refused, ended."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from content import SMALL, content
from key_services.drills import get, put, start_replica, wait_for
from key_services.kubernetes import Cluster
from key_services.transit import Tenant, key_entry, kubernetes_login, token_login
from refusal import assert_nothing_stored


@pytest.fixture
def vault(openbao):
    """A tenant whose logins a test may count, end and refuse."""
    return Tenant(openbao)


@pytest.fixture(scope="module")
def replica(deployments):
    """Starts proxies whose only key is a Transit key, and which call Transit for every write."""

    def start(name: str, vault: Tenant, key: str, login: str | None = None):
        keys = ['service_timeout = "1s"', "kek_objects = 1"]
        more = key_entry(vault, key, login)
        return start_replica(deployments, f"vault-{name}", *keys, more=more)

    return start


def test_a_token_is_renewed_in_time(replica, vault, bucket, prefix):
    key = vault.new_key()
    token = vault.new_token(period="3s")
    single = replica("renewed", vault, key, token_login(token))
    # Without the renewals, its lease of 3 s would have ended by then.
    wait_for(lambda: vault.renewals >= 3, "renewed three times")
    assert put(single, bucket, prefix + "later", b"x").status == 200
    assert vault.logins == 0


@pytest.mark.parametrize("token_type", ["service", "batch"])
def test_a_login_that_cannot_be_renewed_further_is_replaced(
    replica, vault, bucket, prefix, token_type
):
    """Service tokens are renewed up to their maximum lifetime; batch tokens have no renewals."""
    key = vault.new_key()
    vault.set_up_logins(token_type=token_type, token_ttl="2s", token_max_ttl="3s")
    single = replica(token_type, vault, key)
    wait_for(lambda: vault.logins >= 3, "logged in three times")
    assert (vault.renewals > 0) == (token_type == "service")
    assert put(single, bucket, prefix + "later", b"x").status == 200
    for words in ["permission denied", "could not renew the login"]:
        assert words not in single.proxy.log_text()


def test_a_revoked_token_is_replaced_by_one_login_for_all_that_wait(
    replica, vault, bucket, prefix
):
    key = vault.new_key()
    single = replica("revoked", vault, key)
    logins = vault.logins
    assert logins == 1
    wait_for_age(vault)
    vault.revoke_all()
    with ThreadPoolExecutor(8) as pool:
        keys = [f"{prefix}{number}" for number in range(8)]
        answers = pool.map(lambda key: put(single, bucket, key, b"x").status, keys)
        assert set(answers) == {200}
    assert vault.logins - logins == 1


def wait_for_age(vault):
    """A young token is not replaced: a refusal then means that the policy is wrong."""
    wait_for(lambda: vault.seconds_since_login() > 1.5, "logged in long enough")


def test_a_refused_login_is_a_clear_error_and_is_tried_again(replica, vault, bucket, prefix):
    key = vault.new_key()
    single = replica("refused", vault, key)
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    wait_for_age(vault)
    vault.forget_secret_id()
    vault.revoke_all()
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("invalid role or secret ID")
    assert_nothing_stored(single, bucket, prefix + "refused")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    assert vault.secret_id not in single.proxy.log_text()
    vault.accept_secret_id()
    assert put(single, bucket, prefix + "again", b"x").status == 200


def test_a_policy_without_the_permission_is_a_clear_error_and_no_reason_to_log_in_again(
    replica, vault, bucket, prefix
):
    key = vault.new_key()
    writer = replica("writer", vault, key)
    for name in "ab":
        assert put(writer, bucket, prefix + name, content(SMALL)).status == 200
    vault.allow(key, "encrypt")
    reader = replica("reader", vault, key)
    logins = vault.logins
    for name in "abab":
        answer = get(reader, bucket, prefix + name)
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    reader.proxy.wait_for_log("its policy needs `update` on the path")
    assert vault.logins - logins <= 1
    vault.allow(key, "encrypt", "decrypt")
    assert get(reader, bucket, prefix + "a").body == content(SMALL)


def test_a_service_accounts_token_is_read_at_each_login(
    replica, vault, certificates, run_directory, bucket, prefix
):
    cluster = Cluster(certificates)
    try:
        vault.trust(cluster)
        file = run_directory / f"service-account-{secrets.token_hex(4)}"
        file.write_text(cluster.new_token() + "\n")
        key = vault.new_key()
        single = replica("kubernetes", vault, key, kubernetes_login(vault, file))
        assert put(single, bucket, prefix + "first", b"x").status == 200
        wait_for_age(vault)
        # The cluster invalidates the token; later, the kubelet writes a new one.
        new = cluster.new_token()
        vault.revoke_all()
        answer = put(single, bucket, prefix + "refused", b"x")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
        single.proxy.wait_for_log("log in: status 403")
        file.write_text(new)
        assert put(single, bucket, prefix + "second", b"x").status == 200
        # An account to which the role does not apply.
        wait_for_age(vault)
        file.write_text(cluster.new_token("another"))
        vault.revoke_all()
        answer = put(single, bucket, prefix + "foreign", b"x")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
        single.proxy.wait_for_log("service account name not authorized")
    finally:
        cluster.stop()


def test_a_token_that_was_revoked_is_a_clear_error(replica, vault, bucket, prefix):
    key = vault.new_key()
    token = vault.new_token()
    single = replica("ended", vault, key, token_login(token))
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    vault.revoke_all()
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("the token must be valid")
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    assert token not in single.proxy.log_text()


def test_a_token_at_its_maximum_lifetime_is_a_clear_error(replica, vault, bucket, prefix):
    key = vault.new_key()
    token = vault.new_token(ttl="3s", explicit_max_ttl="8s")
    single = replica("last-end", vault, key, token_login(token))
    # This write uses the KEK created when the proxy became ready.
    assert put(single, bucket, prefix + "first", b"x").status == 200
    wait_for(lambda: not vault.is_valid(token), "ended")
    assert vault.renewals >= 1
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("its token is used until it is refused")
    assert token not in single.proxy.log_text()
