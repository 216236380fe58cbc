"""Operations that would carry object data past the proxy, or that cannot work on sealed data.

Each gets the response NotImplemented, and no request about it reaches the backend: the proxy runs
before a recorder, so a leaked request shows even if a real server would have refused it.
"""

from dataclasses import dataclass, field

import pytest

import raw
from recorder import Recorder

BUCKET = "refused-operations"


@dataclass(frozen=True)
class Case:
    method: str
    key: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=edge"}
FORM = b'--edge\r\nContent-Disposition: form-data; name="key"\r\n\r\nposted\r\n--edge--\r\n'

CASES = {
    "a-form-signed-in-its-header": Case("POST", "", headers=FORM_TYPE, body=FORM),
    "SelectObjectContent": Case("POST", "key", "select&select-type=2", body=b"<x/>"),
    "GetObjectTorrent": Case("GET", "key", "torrent"),
    "CreateSession": Case("GET", "", "session"),
    "RenameObject": Case("PUT", "key", "renameObject", {"x-amz-rename-source": "other"}),
    "append": Case("PUT", "key", headers={"x-amz-write-offset-bytes": "5"}, body=b"more"),
    "unknown-subresource-of-a-bucket-read": Case("GET", "", "futureFeature"),
    "unknown-subresource-of-an-object-write": Case("PUT", "key", "futureFeature", body=b"x"),
    "unknown-subresource-of-a-bucket": Case("PUT", "", "futureFeature", body=b"<x/>"),
    "unknown-header-on-an-object-write": Case(
        "PUT", "key", headers={"x-amz-future-feature": "on"}, body=b"x"
    ),
}


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.stop()


@pytest.fixture(scope="module")
def proxy(deployments, recorder):
    return deployments.proxy(recorder, "proxy-before-recorder")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_operation_is_not_implemented_and_never_reaches_the_backend(proxy, recorder, case):
    answer = raw.ask(
        proxy.target,
        case.method,
        BUCKET,
        case.key,
        query=case.query,
        headers=case.headers,
        body=case.body,
    )
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert recorder.naming(BUCKET) == []


def test_recorder_sees_what_is_forwarded(proxy, recorder):
    bucket = "forwarded-operations"
    raw.ask(proxy.target, "GET", bucket, query="location")
    assert [one.method for one in recorder.naming(bucket)] == ["GET"]


@pytest.mark.parametrize(
    "key", [".s3proxy/uploads/x/state", "/.s3proxy/x", "//.s3proxy//x", ".s3proxy/", ".s3proxy"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_keys_of_the_proxys_own_state_are_refused(proxy, recorder, method, key):
    body = b"x" if method == "PUT" else b""
    answer = raw.ask(proxy.target, method, "state-keys", key, body=body)
    assert answer.status == 403
    assert recorder.naming("state-keys") == []


def test_metadata_that_poses_as_an_envelope_is_refused(proxy, recorder):
    for value in ("s3p1.AAAA", "00" * 40):
        headers = {"x-amz-meta-isec": value}
        answer = raw.ask(proxy.target, "PUT", "posing", "key", headers=headers, body=b"x")
        assert 400 <= answer.status < 500
    assert recorder.naming("posing") == []
