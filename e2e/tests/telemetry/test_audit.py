"""The audit log: one line per request, valid against the published schema, without secrets.

Lines are read from the proxy's file as they appear; at the end of the module, all of them are
validated against docs/audit.schema.json.
"""

import http.client
import json
import secrets
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from deployment import make_bucket
from known_clients import READING, credential_of, known_client
from legacy import CONSTELLATION, ZERO_KEK, Older
from processes import clean_environment, run
from proxy import VIRTUAL_HOSTS, new_key
from repository import ROOT
from sealed import key_name, raw_key
from servers import tools
from target import Credential
from uploads import FIVE_MIB, Upload, piece

CHECK = ROOT / "e2e/telemetry/check_lines.py"
SCHEMA = ROOT / "docs/audit.schema.json"

KEY, PHOTOS = new_key(), new_key()
OLDER = "what the older proxy was given"
KEEPER, READER = credential_of("keeper"), credential_of("reader")
SECRETS = [KEY, PHOTOS, OLDER, KEEPER.secret_key, READER.secret_key, "Signature=", "AWS4-HMAC"]

SETTINGS = f"""{VIRTUAL_HOSTS}
[keys]
decrypt_keys = ["{OLDER}"]
decryption_fallback = "allow"

[[keys.local]]
label = "photos"
key = "{PHOTOS}"

[[rules]]
prefixes = ["photos/*"]
key = "photos"

[[rules]]
prefixes = ["public/*"]
encryption = "off"

{known_client("keeper")}
{known_client("reader", READING)}
"""


class Audited:
    """A proxy and its audit log, from which a test reads the lines of one request at a time."""

    def __init__(self, deployment, path: Path):
        self.deployment, self.path = deployment, path
        self.keeper = deployment.target.known_as(KEEPER)
        self.reader = deployment.target.known_as(READER)

    def lines(self) -> list[dict]:
        text = self.path.read_text() if self.path.exists() else ""
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def about(self, number: int = 1, seconds: float = 20, **fields) -> list[dict]:
        """Waits for `count` lines that have these fields, and returns them."""
        deadline = time.monotonic() + seconds
        while True:
            found = [line for line in self.lines() if fields.items() <= line.items()]
            if len(found) >= number:
                assert len(found) == number, found
                return found
            assert time.monotonic() < deadline, (fields, self.lines()[-3:])
            time.sleep(0.02)

    def line(self, **fields) -> dict:
        return self.about(1, **fields)[0]


def local_name(key: str) -> str:
    return key_name(raw_key(key))


@pytest.fixture(scope="module")
def audited(deployments, run_directory):
    path = run_directory / "audit.log"
    environment = {
        "S3PROXY_ENCRYPT_KEY": KEY,
        "S3PROXY_AUDIT_OUTPUT": str(path),
        "S3PROXY_LISTEN_MAX_CONNECTIONS": "64",
    }
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(
        server, "proxy-audit", settings=SETTINGS, environment=environment
    )
    audited = Audited(deployment, path)
    yield audited
    text = path.read_text()
    for secret in SECRETS:
        assert secret not in text
    run([tools("telemetry") / "python", CHECK, SCHEMA, path], clean_environment(run_directory))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def bucket(audited):
    return make_bucket(audited.deployment)


@pytest.fixture
def s3(audited):
    return boto3_client(audited.keeper)


def test_a_write_and_a_read_name_client_object_and_key(audited, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    answer = s3.get_object(Bucket=bucket, Key=key)
    assert answer["Body"].read() == b"content"
    sealed = {"format": "v1", "key": local_name(KEY)}
    put = audited.line(operation="PutObject", object_key=key)
    assert (put["written"], put.get("read")) == (sealed, None)
    get = audited.line(operation="GetObject", object_key=key)
    assert (get["read"], get.get("written")) == (sealed, None)
    assert get["request_id"] == answer["ResponseMetadata"]["HTTPHeaders"]["x-s3proxy-request-id"]
    expected = {
        "client": "keeper",
        "access_key_id": KEEPER.access_key,
        "bucket": bucket,
        "remote_address": "127.0.0.1",
        "allowed": True,
        "status": 200,
        "outcome": "complete",
        "bytes_out": len(b"content"),
    }
    assert expected.items() <= get.items()
    assert "claimed_access_key_id" not in get


def test_a_copy_names_both_objects_and_both_keys(audited, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"content")
    s3.copy_object(Bucket=bucket, Key=f"photos/{key}", CopySource={"Bucket": bucket, "Key": key})
    copy = audited.line(operation="CopyObject", object_key=f"photos/{key}")
    assert copy["source"] == {"bucket": bucket, "object_key": key}
    assert copy["read"]["key"] == local_name(KEY)
    assert copy["written"]["key"] == local_name(PHOTOS)


def test_an_upload_in_parts_names_its_key_at_every_step(audited, s3, bucket, key):
    upload = Upload(s3, bucket, f"photos/{key}")
    upload.part(1, piece(FIVE_MIB, "1"))
    upload.part(2, piece(70_000, "2"))
    upload.complete()
    operations = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
    for operation, number in zip(operations, [1, 2, 1]):
        for line in audited.about(number, operation=operation, object_key=f"photos/{key}"):
            assert line["written"] == {"format": "v1", "key": local_name(PHOTOS)}


def test_a_read_logs_the_format_of_the_object(audited, s3, backend_s3, bucket, key):
    forms = {
        "plaintext": (None, None),
        "intrinsec": (Older.of_text(OLDER, "1"), "passphrase"),
        "constellation": (Older(CONSTELLATION, ZERO_KEK), "zero"),
    }
    for name, (older, key_kind) in forms.items():
        if older:
            older.put(backend_s3, bucket, f"{key}-{name}", b"content")
        else:
            backend_s3.put_object(Bucket=bucket, Key=f"{key}-{name}", Body=b"content")
        assert s3.get_object(Bucket=bucket, Key=f"{key}-{name}")["Body"].read() == b"content"
        line = audited.line(operation="GetObject", object_key=f"{key}-{name}")
        assert line["read"] == {"format": name} | ({"key": key_kind} if key_kind else {})


def test_a_write_that_a_rule_leaves_unsealed_is_logged(audited, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=f"public/{key}", Body=b"content")
    line = audited.line(operation="PutObject", object_key=f"public/{key}")
    assert line["written"] == {"format": "plaintext"}


def test_a_request_without_a_grant_is_logged_as_not_allowed(audited, bucket, key):
    answer = raw.ask(audited.reader, "PUT", bucket, key, body=b"content")
    assert answer.status == 403
    line = audited.line(object_key=key)
    assert (line["allowed"], line["client"], line["error_code"]) == (False, "reader", "AccessDenied")
    assert "written" not in line


def test_a_missing_object_is_logged_as_allowed_and_not_found(audited, s3, bucket, key):
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key=key)
    line = audited.line(object_key=key)
    assert (line["allowed"], line["status"], line["error_code"]) == (True, 404, "NoSuchKey")


def test_a_refused_signature_leaves_only_what_it_claims(audited, bucket, key):
    built = raw.sign(raw.request(audited.keeper, "GET", bucket, key), audited.keeper)
    authorization = built.header("Authorization")
    built.set_header("Authorization", authorization[:-4] + "0000")
    assert raw.send(built, audited.keeper).code == "SignatureDoesNotMatch"
    line = audited.line(object_key=key)
    assert line["allowed"] is False and line["claimed_access_key_id"] == KEEPER.access_key
    assert "access_key_id" not in line and "client" not in line
    assert authorization[-60:-4] not in audited.path.read_text()


def test_an_unknown_access_key_cannot_break_the_log(audited, bucket, key):
    made_up = "\x1b[2J\u009b" + "A" * 500
    impostor = audited.keeper.known_as(Credential(made_up, "whatever"))
    before = len(audited.lines())
    built = raw.presign(raw.request(impostor, "GET", bucket, key), impostor)
    assert raw.send(built, impostor).status in (400, 403)
    line = audited.line(object_key=key)
    assert line["allowed"] is False
    assert len(line.get("claimed_access_key_id", "").encode()) <= 128
    assert len(audited.lines()) == before + 1
    assert not any(ord(one) < 32 and one != "\n" for one in audited.path.read_text())


def test_each_object_of_a_batch_has_its_line(audited, s3, backend_s3, bucket, prefix):
    keys = [f"{prefix}{name}" for name in ("one", "two")]
    for key in keys:
        backend_s3.put_object(Bucket=bucket, Key=key, Body=b"")
    state = f".s3proxy/{prefix}"
    objects = [{"Key": key} for key in [*keys, state]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [error["Key"] for error in answer["Errors"]] == [state]
    request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-s3proxy-request-id"]
    request = audited.line(request_id=request_id, event="request")
    assert (request["objects"], request["allowed"]) == (3, True)
    lines = audited.about(3, request_id=request_id, event="object")
    told = {line["object_key"]: (line["allowed"], line.get("error_code")) for line in lines}
    assert told == dict.fromkeys(keys, (True, None)) | {state: (False, "AccessDenied")}
    assert all(line["client"] == "keeper" for line in lines)


def test_health_checks_are_no_requests(audited, s3, bucket, key):
    before = len(audited.lines())
    for path in ("healthz", "readyz"):
        assert raw.send(raw.request(audited.keeper, "GET", key=path), audited.keeper).status == 200
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    audited.line(object_key=key)
    assert len(audited.lines()) == before + 1


def test_a_moved_file_is_followed_by_another_and_no_line_is_lost(audited, s3, bucket, prefix):
    moved = audited.path.with_suffix(".moved")
    keys = [f"{prefix}{number}" for number in range(300)]
    for number, key in enumerate(keys):
        if number == 20:
            audited.path.rename(moved)
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        if number > 20 and audited.path.exists() and audited.lines():
            break
    audited.line(object_key=key)
    written = {json.loads(line).get("object_key") for line in moved.read_text().splitlines()}
    written |= {line.get("object_key") for line in audited.lines()}
    assert set(keys[: number + 1]) <= written
    # The check at the end of the module reads one file.
    whole = moved.read_text() + audited.path.read_text()
    audited.path.write_text(whole)


def test_the_last_lines_are_written_before_the_program_ends(deployments, run_directory):
    path = run_directory / "audit-ending.log"
    environment = {"S3PROXY_AUDIT_OUTPUT": str(path)}
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "proxy-audit-ending", environment=environment
    )
    keys = [f"missing-{secrets.token_hex(4)}" for _ in range(50)]
    for key in keys:
        raw.ask(deployment.target, "GET", "no-such-bucket", key)
    deployment.proxy.stop()
    written = [json.loads(line)["object_key"] for line in path.read_text().splitlines()]
    assert written == keys


def test_objects_are_not_named_if_the_settings_say_so(deployments, run_directory):
    path = run_directory / "audit-nameless.log"
    environment = {"S3PROXY_AUDIT_OUTPUT": str(path), "S3PROXY_AUDIT_OBJECT_KEYS": "off"}
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "proxy-audit-nameless", environment=environment
    )
    bucket, key = make_bucket(deployment), f"private-{secrets.token_hex(4)}"
    s3 = boto3_client(deployment.target)
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.copy_object(Bucket=bucket, Key=f"{key}-2", CopySource={"Bucket": bucket, "Key": key})
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key=key)
    deployment.proxy.stop()
    text = path.read_text()
    operations = [json.loads(line)["operation"] for line in text.splitlines()]
    assert operations == ["PutObject", "CopyObject", "DeleteObjects", "GetObject"]
    assert key not in text


def test_a_file_that_cannot_be_opened_keeps_the_proxy_from_starting(deployments, run_directory):
    environment = {"S3PROXY_AUDIT_OUTPUT": "/proc/no/audit.log"}
    with pytest.raises(RuntimeError, match="audit.output: /proc/no/audit.log cannot be opened"):
        deployments.proxy(
            deployments.server("seaweedfs"), "refused-audit", environment=environment
        )


def test_lines_go_to_standard_output_for_a_collector(deployments):
    environment = {"S3PROXY_AUDIT_OUTPUT": "stdout"}
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "proxy-audit-stdout", environment=environment
    )
    raw.ask(deployment.target, "GET", "no-such-bucket", "k")
    deployment.proxy.stop()
    lines = [json.loads(line) for line in deployment.proxy.log_text().splitlines()]
    lines = [line for line in lines if "schema" in line]
    assert [(line["schema"], line["object_key"]) for line in lines] == [("s3proxy.audit/1", "k")]


@pytest.mark.parametrize("on_failure", ["refuse", "drop"])
def test_a_full_disk_refuses_or_loses_as_the_settings_say(deployments, on_failure):
    environment = {
        "S3PROXY_AUDIT_OUTPUT": "/dev/full",
        "S3PROXY_AUDIT_ON_FAILURE": on_failure,
        "S3PROXY_LISTEN_MAX_CONNECTIONS": "4",
        "S3PROXY_LOG_LEVEL": "error",
    }
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), f"proxy-audit-{on_failure}", environment=environment
    )
    connection = http.client.HTTPConnection("127.0.0.1", deployment.target.port, timeout=60)

    def status() -> int:
        connection.request("GET", "/some-bucket/k")
        answer = connection.getresponse()
        answer.read()
        return answer.status

    # As many requests as the queue has slots get their ordinary response.
    statuses = [status() for _ in range(4200)]
    assert statuses[:4096] == [403] * 4096
    assert statuses[-10:] == [503 if on_failure == "refuse" else 403] * 10
    assert raw.send(raw.request(deployment.target, "GET", key="healthz"), deployment.target).status == 200
    log = deployment.proxy.log_text()
    assert 1 <= log.count("the audit log cannot be written; retrying") <= 2
    assert log.count("serving requests without audit lines") == (1 if on_failure == "drop" else 0)
