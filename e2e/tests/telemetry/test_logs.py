"""The content of logs, and the secrets that no log may contain. Runs last, over the logs of the
whole run.

Each request is one JSON line, with the id in the response. Secrets, signatures, query strings and
content are in no line of any proxy, at any level; object keys only at debug.
"""

import json
import re

import pytest

import raw
from content import LARGE, MARKER, SMALL, content
from deployment import make_bucket
from refusal import put
from servers import OWNER

KEY_MARK = "object-key-of-the-log-test"
QUERY_MARK = "query-of-the-log-test"
METADATA_MARK = "metadata-of-the-log-test"


@pytest.fixture(scope="module")
def logged(deployments):
    """A proxy at the default log level, and a bucket."""
    environment = {"S3PROXY_LISTEN_DRAIN_DELAY": "0s"}
    server = deployments.server("seaweedfs")
    deployment = deployments.proxy(server, "proxy-logged", environment=environment)
    return deployment, make_bucket(deployment)


def ask_everything(deployment, bucket):
    """Sends requests of every outcome; returns the responses by name."""
    target = deployment.target
    key = f"{KEY_MARK}/object"
    headers = {"x-amz-meta-mark": METADATA_MARK}
    altered = raw.sign(put(target, bucket, key, content(SMALL)), target)
    altered.set_header("x-amz-meta-added", METADATA_MARK)
    wrong = raw.sign(put(target, bucket, key, content(SMALL)), target)
    wrong.path += "x"
    url = raw.presign(raw.request(target, "GET", bucket, key), target)
    expired = raw.presign(raw.request(target, "GET", bucket, key), target, seconds=0)
    late = raw.request(target, "GET", bucket, key, query=f"response-content-type={QUERY_MARK}")
    return {
        "PutObject": raw.ask(target, "PUT", bucket, key, headers=headers, body=content(LARGE)),
        "GetObject": raw.ask(target, "GET", bucket, key),
        "presigned": raw.send(url, target),
        "expired": raw.send(expired, target),
        "query": raw.send(raw.sign(late, target), target),
        "HeadObject": raw.ask(target, "HEAD", bucket, key),
        "missing": raw.ask(target, "GET", bucket, key + "-missing"),
        "unsigned header": raw.send(altered, target),
        "wrong signature": raw.send(wrong, target),
        "list": raw.ask(target, "GET", bucket, query=f"list-type=2&prefix={KEY_MARK}"),
        "DeleteObject": raw.ask(target, "DELETE", bucket, key),
    }


def requests_in(text):
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["target"] == "s3proxy::request" and "status" in line]


def test_each_request_is_one_json_line_under_the_id_of_its_answer(logged):
    deployment, bucket = logged
    answers = ask_everything(deployment, bucket)
    ids = {answer.headers["x-s3proxy-request-id"]: answer for answer in answers.values()}
    assert len(ids) == len(answers)
    for request_id in ids:
        deployment.proxy.wait_for_log(request_id)
    lines = {line["request_id"]: line for line in requests_in(deployment.proxy.log_text())}
    assert len(lines) == len(requests_in(deployment.proxy.log_text())), "one line a request"
    for request_id, answer in ids.items():
        line = lines[request_id]
        assert (line["status"], line["bucket"]) == (answer.status, bucket)
        assert line["peer"] == "127.0.0.1"
        assert line["milliseconds"] >= 0
        if answer.code:
            assert answer.element("RequestId") == request_id

    put_line = lines[answers["PutObject"].headers["x-s3proxy-request-id"]]
    assert (put_line["operation"], put_line["bytes_in"]) == ("PutObject", LARGE)
    assert put_line["client"] == OWNER.access_key
    got = lines[answers["GetObject"].headers["x-s3proxy-request-id"]]
    assert (got["operation"], got["bytes_out"]) == ("GetObject", LARGE)


def test_keys_and_metadata_are_not_logged_at_info(logged):
    deployment, bucket = logged
    ask_everything(deployment, bucket)
    text = deployment.proxy.log_text()
    for mark in (KEY_MARK, QUERY_MARK, METADATA_MARK):
        assert mark not in text


def test_keys_are_logged_at_debug(debugging, touched):
    answer = raw.ask(debugging.target, "GET", touched, KEY_MARK)
    debugging.proxy.wait_for_log(answer.headers["x-s3proxy-request-id"], count=2)
    assert KEY_MARK in debugging.proxy.log_text()


def test_control_characters_of_a_client_cannot_forge_a_line(debugging, touched):
    key = 'forged"\n{"level":"INFO","message":"forged"}\r\x1b[31m'
    answer = raw.ask(debugging.target, "GET", touched, key)
    debugging.proxy.wait_for_log(answer.headers["x-s3proxy-request-id"], count=2)
    lines = [json.loads(line) for line in debugging.proxy.log_text().splitlines()]
    assert not [line for line in lines if line.get("message") == "forged"]
    assert "\x1b" not in debugging.proxy.log_text()


FORBIDDEN = {
    "64 hexadecimal digits (a signature or a digest)": re.compile(r"\b[0-9a-f]{64}\b"),
    "a header of authentication": re.compile(r"(Credential|Signature)=\w", re.I),
    "a parameter of authentication": re.compile(r"X-Amz-[A-Za-z-]+=", re.I),
    "an envelope": re.compile(r"s3p1\.[A-Za-z0-9_-]"),
    "a key": re.compile(r"s3pk1\.[A-Za-z0-9_-]"),
    "content": re.compile(re.escape(MARKER.decode())),
    "a client's secret": re.compile(r"(client-secret|session-token)-that-must-not"),
    "metadata": re.compile(METADATA_MARK),
    "a query": re.compile(QUERY_MARK + r"|list-type=|response-content-type="),
    "the backend's secret": re.compile(re.escape(OWNER.secret_key)),
}


def test_no_log_of_the_whole_run_has_a_secret_in_it(run_directory, logged, debugging):
    logs = sorted(run_directory.glob("proxy-*.log"))
    assert len(logs) >= 2
    ask_everything(debugging, logged[1])
    found = [
        (log.name, what, line[:300])
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]
    assert found == []


def test_every_line_of_every_proxy_is_json(run_directory, logged):
    for log in run_directory.glob("proxy-*.log"):
        for line in log.read_text().splitlines():
            json.loads(line)
