"""Checks that a request was refused correctly and that nothing of it was stored."""

from urllib.parse import quote

import raw
from content import MARKER


def assert_refused(answer, status: int, code: str) -> None:
    """S3's own status and code, with a request id, and without keys or content."""
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["x-s3proxy-request-id"]
    assert MARKER not in answer.body
    assert b"StringToSign" not in answer.body and b"CanonicalRequest" not in answer.body


def assert_nothing_stored(deployment, bucket: str, key: str = "") -> None:
    """Looks at the backend directly."""
    assert stored_keys(deployment, bucket, key) == []


def stored_keys(deployment, bucket: str, prefix: str = "") -> list[str]:
    """The object keys on the backend under a prefix."""
    target = deployment.backend.target
    query = f"list-type=2&prefix={quote(prefix, safe='')}"
    answer = raw.ask(target, "GET", bucket, query=query)
    assert answer.status == 200, answer.body
    return answer.elements("Key")


def put(target, bucket: str, key: str, body: bytes, headers: dict | None = None) -> raw.Request:
    """A PutObject, not yet signed."""
    return raw.request(target, "PUT", bucket, key, headers=headers, body=body)
