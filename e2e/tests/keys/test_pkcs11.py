"""A key in a PKCS#11 token as the key-encryption key; SoftHSM is the token.

PKCS#11 has no versions of a key and cannot disable one: rotation means another label, and a
disabled key is one that was deleted or does not permit the operation. Its login is a PIN, which
does not expire; a session ends when the token is unplugged.
"""

import secrets

import pytest

from content import LARGE, SMALL, content
from key_services.drills import (
    KEK,
    SERVICE_ALONE,
    another_replica_continues_an_upload,
    another_replica_reads,
    change_envelope,
    count_calls,
    envelope,
    get,
    key_is_taken_away,
    outage_in_traffic,
    put,
    readiness,
    start_replica,
    wait_for,
)
from key_services.softhsm import PIN, SPY, HangingSpy, SoftHSM, Spy
from refusal import assert_nothing_stored

LABEL = "s3proxy"


@pytest.fixture(scope="module")
def hsm(run_directory):
    hsm = SoftHSM(run_directory)
    hsm.new_key(LABEL)
    return hsm


@pytest.fixture
def own_hsm(run_directory):
    """A token that a test may unplug."""
    hsm = SoftHSM(run_directory)
    hsm.new_key(LABEL)
    return hsm


@pytest.fixture(scope="module")
def replica(deployments, hsm, run_directory):
    """Starts proxies whose only keys are the token's; the first label is the active key's."""

    def start(
        name: str,
        *lines: str,
        at: SoftHSM = hsm,
        labels: list[str] | None = None,
        pin: str = PIN,
        spy: Spy | HangingSpy | None = None,
        local_key: bool = False,
    ):
        labels = labels or [LABEL]
        entries = "\n".join(
            f'[[keys.pkcs11]]\nmodule = "{SPY}"\ntoken = "{at.token}"\nkey = "{label}"\n'
            f'pin = "{pin}"\n'
            for label in labels
        )
        name = f"pkcs11-{name}"
        spy = spy or Spy(at, run_directory / f"{name}-{secrets.token_hex(2)}.calls")
        active = "encrypt_key" if local_key else envelope_name(at, labels[0])
        return start_replica(
            deployments,
            name,
            'service_timeout = "1s"',
            f'active = "{active}"',
            *lines,
            more=entries,
            environment=spy.environment | ({} if local_key else SERVICE_ALONE),
        )

    return start


def envelope_name(hsm: SoftHSM, label: str) -> str:
    return f"pkcs11:{hsm.token}/{label}"


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_another_replica_reads_what_one_wrote(deployment, replica, hsm, bucket, key, size):
    another_replica_reads(
        replica,
        deployment,
        bucket,
        key,
        size,
        name=envelope_name(hsm, LABEL),
        kek=lambda ciphertext: hsm.kek(LABEL, ciphertext),
    )


def test_another_replica_goes_on_with_a_multipart_upload_and_reads_it(
    deployment, replica, hsm, bucket, key
):
    name = envelope_name(hsm, LABEL)
    another_replica_continues_an_upload(replica, deployment, bucket, key, name=name)


def test_the_next_key_seals_and_the_one_before_still_opens(replica, hsm, bucket, prefix):
    before = replica("before")
    assert put(before, bucket, prefix + "old", content(SMALL, "old")).status == 200
    label = hsm.new_key(f"next-{secrets.token_hex(2)}")
    # Two keys of one token share the library and its login.
    after = replica("after", labels=[label, LABEL])
    assert put(after, bucket, prefix + "new", content(SMALL, "new")).status == 200
    assert envelope(after, bucket, prefix + "new")[KEK] == envelope_name(hsm, label)
    for name in ["old", "new"]:
        assert get(after, bucket, prefix + name).body == content(SMALL, name)


def test_a_key_replaced_under_its_own_label_does_not_open_what_the_old_one_encrypted(
    replica, own_hsm, bucket, prefix
):
    before = replica("before", at=own_hsm)
    assert put(before, bucket, prefix + "old", content(SMALL)).status == 200
    own_hsm.delete_key(LABEL)
    own_hsm.new_key(LABEL)
    after = replica("after", at=own_hsm)
    answer = get(after, bucket, prefix + "old")
    assert (answer.status, answer.code) == (500, "InternalError"), answer.body
    after.proxy.wait_for_log("it was not encrypted by the key")
    assert put(after, bucket, prefix + "new", content(SMALL, "new")).status == 200
    assert get(after, bucket, prefix + "new").body == content(SMALL, "new")


def test_an_unplugged_token_fails_requests_that_need_it_until_it_is_back(
    replica, own_hsm, bucket, prefix
):
    outage_in_traffic(
        replica("single", "kek_objects = 1", at=own_hsm),
        replica("other", at=own_hsm),
        bucket,
        prefix,
        name=LABEL,
        down=own_hsm.unplug,
        up=own_hsm.plug_in,
    )


@pytest.fixture
def hanging_spy(hsm, run_directory):
    spy = HangingSpy(hsm, run_directory / f"spy-{secrets.token_hex(2)}.pipe")
    yield spy
    spy.stop()


def test_a_token_that_hangs_delays_only_requests_that_need_it(replica, hanging_spy, bucket, prefix):
    single = replica("single", "kek_objects = 1", spy=hanging_spy)
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    with hanging_spy.hanging():
        answer = put(single, bucket, prefix + "refused", b"x")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
        assert get(single, bucket, prefix + "cached").body == content(SMALL)
        single.proxy.wait_for_log("PKCS#11: encrypt timed out after")
    wait_for(
        lambda: put(single, bucket, prefix + "again", b"x").status == 200, "writing objects again"
    )
    assert_nothing_stored(single, bucket, prefix + "refused")


def test_a_deleted_key_is_a_clear_error(replica, own_hsm, bucket, prefix):
    key_is_taken_away(
        replica("single", "kek_objects = 1", at=own_hsm),
        replica("cold", at=own_hsm),
        bucket,
        prefix,
        take_away=lambda: own_hsm.delete_key(LABEL),
        logged=f"no secret key labelled \\\"{LABEL}\\\"",
    )


@pytest.mark.parametrize(
    ("lengths", "logged"),
    [([16], "an AES key whose length is not 256 bits"), ([32, 32], "more than one secret key")],
    ids=["short", "twice"],
)
def test_an_unsuitable_key_is_a_clear_error(replica, hsm, bucket, key, lengths, logged):
    label = f"unfit-{secrets.token_hex(2)}"
    for length in lengths:
        hsm.new_key(label, length)
    reader = replica("reader", labels=[LABEL, label])
    assert put(reader, bucket, key, content(SMALL)).status == 200
    change_envelope(reader, bucket, key, _2=envelope_name(hsm, label))
    answer = get(reader, bucket, key)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    reader.proxy.wait_for_log(logged)


def test_ciphertexts_of_others_are_refused(deployment, hsm, own_hsm, bucket, prefix):
    """Of another token, another key, for another purpose, altered, or of another service."""
    other = hsm.new_key(f"other-{secrets.token_hex(2)}")
    own = hsm.encrypt(LABEL, secrets.token_bytes(32))
    foreign = {
        "token": own_hsm.encrypt(LABEL, secrets.token_bytes(32)),
        "key": hsm.encrypt(other, secrets.token_bytes(32)),
        "purpose": hsm.encrypt(LABEL, secrets.token_bytes(32), b"s3proxy/v2/kek"),
        "altered": own[:-1] + bytes([own[-1] ^ 1]),
        "length": hsm.encrypt(LABEL, secrets.token_bytes(33)),
        "service": b"vault:v1:AAAA",
        "object": own,
    }
    for name, ciphertext in foreign.items():
        assert put(deployment, bucket, prefix + name, content(SMALL)).status == 200
        change_envelope(deployment, bucket, prefix + name, _7=ciphertext)
        answer = get(deployment, bucket, prefix + name)
        assert (answer.status, answer.code) == (500, "InternalError"), (name, answer.body)
    deployment.proxy.wait_for_log("it was not encrypted by the key", count=4)
    deployment.proxy.wait_for_log("it was not sent", count=2)


def test_a_refused_pin_is_tried_once_and_says_so(replica, hsm, run_directory, bucket, key):
    assert put(replica("writer"), bucket, key, content(SMALL)).status == 200
    spy = Spy(hsm, run_directory / f"pin-{secrets.token_hex(2)}.calls")
    wrong = replica("wrong", pin="wrong-pin", spy=spy, local_key=True)
    for _ in range(5):
        answer = get(wrong, bucket, key)
        assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
        assert "refused the PIN" in readiness(wrong).body.decode()
    wrong.proxy.wait_for_log("refused the PIN")
    assert PIN not in wrong.proxy.log_text() and "wrong-pin" not in wrong.proxy.log_text()
    assert spy.logins() == 1, "a token locks itself after a few wrong PINs"
    assert get(replica("right"), bucket, key).body == content(SMALL)


def test_calls_to_the_token_are_few(replica, hsm, run_directory, bucket, prefix):
    spy = Spy(hsm, run_directory / f"counted-{secrets.token_hex(2)}.calls")
    count_calls(
        lambda name, *lines: replica(name, *lines, spy=spy), spy.uses, bucket, prefix
    )
    assert spy.logins() == 4, "one for each replica"
