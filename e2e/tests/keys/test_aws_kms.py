"""A key of AWS KMS as the key-encryption key; moto plays AWS.

key_services/aws_kms.py lists the gaps in moto's KMS and their substitutes.
"""

import datetime
import os
import secrets
import signal

import pytest

from content import LARGE, SMALL, content
from key_services.aws_kms import REGION, ContainerCredentials, KmsRelay, MotoKms
from key_services.drills import (
    KEK,
    SERVICE,
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
from servers import OWNER


@pytest.fixture(scope="module")
def moto(run_directory):
    moto = MotoKms(run_directory)
    yield moto
    moto.stop()


@pytest.fixture(scope="module")
def relay(moto):
    relay = KmsRelay(moto)
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def kms_key(moto):
    return moto.new_key()


BACKEND = f"""
[backend]
access_key_id = "{OWNER.access_key}"
secret_access_key = "{OWNER.secret_key}"
"""
"""The backend's credential is a setting, so the variables of AWS's chain serve KMS alone."""

KMS_LOGIN = {"AWS_ACCESS_KEY_ID": "AKIAKMSLOGIN", "AWS_SECRET_ACCESS_KEY": "secret-of-a-login"}


@pytest.fixture(scope="module")
def replica(deployments, relay, kms_key):
    """Starts proxies whose only keys are keys of KMS; the first key is the active one."""

    def start(
        name: str,
        *lines: str,
        keys: list[str] | None = None,
        endpoint: str = relay.target.url,
        login: dict[str, str | None] = KMS_LOGIN,
        **options,
    ):
        keys = keys or [kms_key]
        entries = "\n".join(
            f'[[keys.aws_kms]]\nkey = "{key}"\nregion = "{REGION}"\nendpoint = "{endpoint}"'
            for key in keys
        )
        active = f'active = "aws-kms:{keys[0]}"'
        return start_replica(
            deployments,
            f"aws-kms-{name}",
            'service_timeout = "1s"',
            active,
            *lines,
            more=entries + BACKEND,
            environment=SERVICE_ALONE | {"AWS_EC2_METADATA_DISABLED": "true"} | login,
            **options,
        )

    return start


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_another_replica_reads_what_one_wrote(
    deployment, replica, moto, kms_key, bucket, key, size
):
    name = f"aws-kms:{kms_key}"
    another_replica_reads(replica, deployment, bucket, key, size, name=name, kek=moto.kek)


def test_another_replica_goes_on_with_a_multipart_upload_and_reads_it(
    deployment, replica, kms_key, bucket, key
):
    name = f"aws-kms:{kms_key}"
    another_replica_continues_an_upload(replica, deployment, bucket, key, name=name)


def test_after_a_rotation_inside_kms_old_and_new_objects_open(
    replica, moto, kms_key, bucket, prefix
):
    """moto records a rotation but keeps the material; AWS documents that the old one stays."""
    before = replica("before", "kek_objects = 1")
    assert put(before, bucket, prefix + "old", content(SMALL, "old")).status == 200
    noted = len(moto.client.list_key_rotations(KeyId=kms_key)["Rotations"])
    moto.client.rotate_key_on_demand(KeyId=kms_key)
    assert len(moto.client.list_key_rotations(KeyId=kms_key)["Rotations"]) == noted + 1
    for name in ["new", "newer"]:
        assert put(before, bucket, prefix + name, content(SMALL, name)).status == 200
    after = replica("after")
    for name in ["old", "new", "newer"]:
        assert get(after, bucket, prefix + name).body == content(SMALL, name)


def test_the_next_key_seals_and_the_one_before_still_opens(replica, moto, kms_key, bucket, prefix):
    before = replica("before")
    assert put(before, bucket, prefix + "old", content(SMALL, "old")).status == 200
    next_key = moto.new_key()
    after = replica("after", keys=[next_key, kms_key])
    assert put(after, bucket, prefix + "new", content(SMALL, "new")).status == 200
    assert envelope(after, bucket, prefix + "new")[KEK] == f"aws-kms:{next_key}"
    for name in ["old", "new"]:
        assert get(after, bucket, prefix + name).body == content(SMALL, name)
    alone = replica("alone", keys=[next_key])
    answer = get(alone, bucket, prefix + "old")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert kms_key.encode() in answer.body and b"not configured" in answer.body


def test_an_outage_fails_only_requests_that_need_the_service_and_heals(
    replica, moto, kms_key, bucket, prefix
):
    """The process is suspended and resumed. No relay is between, so requests time out."""
    single = replica("single", "kek_objects = 1", endpoint=moto.target.url)
    outage_in_traffic(
        single,
        replica("other", endpoint=moto.target.url),
        bucket,
        prefix,
        name=kms_key,
        down=lambda: os.kill(moto.process.process_id, signal.SIGSTOP),
        up=lambda: os.kill(moto.process.process_id, signal.SIGCONT),
    )


@pytest.mark.parametrize(
    ("take_away", "logged"),
    [
        (MotoKms.disable, "DisabledException"),
        (MotoKms.schedule_deletion, "KMSInvalidStateException"),
    ],
    ids=["disabled", "pending-deletion"],
)
def test_a_key_that_was_taken_away_is_a_clear_error(
    replica, moto, bucket, prefix, take_away, logged
):
    key = moto.new_key()
    key_is_taken_away(
        replica("single", "kek_objects = 1", keys=[key]),
        replica("cold", keys=[key]),
        bucket,
        prefix,
        take_away=lambda: take_away(moto, key),
        give_back=lambda: moto.restore(key),
        logged=logged,
        named=key,
    )


def test_an_alias_names_a_key_and_a_missing_one_is_a_clear_error(replica, moto, bucket, prefix):
    alias = f"alias/{secrets.token_hex(4)}"
    moto.client.create_alias(AliasName=alias, TargetKeyId=moto.new_key())
    single = replica("single", "kek_objects = 1", keys=[alias])
    assert put(single, bucket, prefix + "old", content(SMALL)).status == 200
    assert envelope(single, bucket, prefix + "old")[KEK] == f"aws-kms:{alias}"
    moto.client.delete_alias(AliasName=alias)
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    single.proxy.wait_for_log("NotFoundException")
    # Under another key, the alias opens no object of the first key.
    moto.client.create_alias(AliasName=alias, TargetKeyId=moto.new_key())
    moved = replica("moved", keys=[alias])
    answer = get(moved, bucket, prefix + "old")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    moved.proxy.wait_for_log("AccessDeniedException")
    assert put(moved, bucket, prefix + "new", b"x").status == 200


def test_ciphertexts_of_others_are_refused(deployment, moto, kms_key, bucket, prefix):
    """Of another key, with another context, altered, or of another service."""
    own = {"KeySpec": "AES_256", "KeyId": kms_key}
    make = moto.client.generate_data_key
    altered = bytearray(make(**own, EncryptionContext={"s3proxy": "v1/kek"})["CiphertextBlob"])
    altered[-1] ^= 1
    foreign = {
        "key": make(
            KeySpec="AES_256", KeyId=moto.new_key(), EncryptionContext={"s3proxy": "v1/kek"}
        )["CiphertextBlob"],
        "context": make(**own, EncryptionContext={"s3proxy": "v2/kek"})["CiphertextBlob"],
        "no-context": make(**own)["CiphertextBlob"],
        "altered": bytes(altered),
        "service": b"vault:v1:AAAA",
        "object": make(**own, EncryptionContext={"s3proxy": "v1/kek"})["CiphertextBlob"],
    }
    for name, ciphertext in foreign.items():
        assert put(deployment, bucket, prefix + name, content(SMALL)).status == 200
        change_envelope(deployment, bucket, prefix + name, _7=ciphertext)
        answer = get(deployment, bucket, prefix + name)
        # For another key, moto returns AccessDeniedException where KMS returns
        # IncorrectKeyException.
        refused = (503, "ServiceUnavailable") if name == "key" else (500, "InternalError")
        assert (answer.status, answer.code) == refused, (name, answer.body)
    deployment.proxy.wait_for_log("InvalidCiphertextException")


def test_an_unknown_name_in_an_envelope_is_not_forwarded(
    deployment, relay, moto, bucket, key
):
    assert put(deployment, bucket, key, content(SMALL)).status == 200
    change_envelope(deployment, bucket, key, _2=f"aws-kms:{moto.new_key()}")
    uses = relay.uses()
    answer = get(deployment, bucket, key)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    assert relay.uses() == uses


def test_calls_to_the_service_are_few(replica, relay, bucket, prefix):
    count_calls(replica, relay.uses, bucket, prefix)


@pytest.fixture
def logins():
    """Logins that expire soon after they were issued."""
    endpoint = ContainerCredentials(datetime.timedelta(seconds=2))
    yield endpoint
    endpoint.stop()


def from_container(endpoint) -> dict[str, str | None]:
    return {
        "AWS_ACCESS_KEY_ID": None,
        "AWS_SECRET_ACCESS_KEY": None,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.url,
    }


def test_a_login_that_expires_is_replaced_before_it_does(replica, relay, logins, bucket, prefix):
    single = replica("expiring", "kek_objects = 1", login=from_container(logins))
    for number in range(4):
        assert put(single, bucket, f"{prefix}{number}", b"x").status == 200
    # The first KEK was created at start-up; each write but the last used up a KEK and caused a new
    # one.
    signers = relay.access_keys()[-4:]
    assert len(set(signers)) == 4, "no login served twice"
    assert set(signers) <= set(logins.given)
    assert relay.tokens()[-4:] == [f"token-of-{signer}" for signer in signers]

    lasting = ContainerCredentials(datetime.timedelta(hours=1))
    try:
        single = replica("lasting", "kek_objects = 1", login=from_container(lasting))
        for number in range(4):
            assert put(single, bucket, f"{prefix}{number}", b"x").status == 200
        assert len(lasting.given) == 1
    finally:
        lasting.stop()


def test_a_login_that_cannot_be_renewed_is_an_outage_until_it_can(
    replica, relay, logins, bucket, prefix
):
    single = replica("unrenewed", "kek_objects = 1", login=from_container(logins))
    assert put(single, bucket, prefix + "cached", content(SMALL)).status == 200
    logins.broken = True
    uses = relay.uses()
    answer = put(single, bucket, prefix + "refused", b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("the source of the AWS credentials failed")
    assert relay.uses() == uses
    assert get(single, bucket, prefix + "cached").body == content(SMALL)
    logins.broken = False
    assert put(single, bucket, prefix + "again", b"x").status == 200


def test_without_any_login_the_error_says_what_is_missing(replica, relay, bucket, key):
    nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    uses = relay.uses()
    single = replica("nobody", login=nobody, awaited="healthz")
    assert readiness(single).status == 503
    answer = put(single, bucket, key, b"x")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
    single.proxy.wait_for_log("no AWS credentials were found")
    assert relay.uses() == uses


def test_no_login_and_no_key_is_in_the_logs(replica, moto, logins, bucket, prefix):
    environment = from_container(logins) | {"S3PROXY_LOG_LEVEL": "debug"}
    talking = replica("talking", "kek_objects = 1", login=environment)
    assert put(talking, bucket, prefix + "object", content(SMALL)).status == 200
    logins.broken = True
    assert put(talking, bucket, prefix + "refused", b"x").status == 503
    wait_for(lambda: "credentials failed" in talking.proxy.log_text(), "logged")
    log = talking.proxy.log_text()
    kek = moto.kek(envelope(talking, bucket, prefix + "object")[SERVICE])
    for hidden in ["secret-of-a-login", "token-of-ASIA", kek.hex(), str(list(kek))[1:-1]]:
        assert hidden not in log
