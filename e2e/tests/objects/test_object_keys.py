"""Object keys arrive as the client wrote them, byte for byte.

Ceph's gateway accepts any key, so every key has to work there. Other servers refuse or rewrite
some; the proxy may then neither repair nor break anything: each step ends as it does without the
proxy.
"""

from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

import raw
from deployment import make_bucket

KEYS = {
    "space": "with space and  two",
    "leading-space": " leading",
    "plus": "a+b",
    "percent": "100%",
    "encoded-slash": "a%2Fb",
    "encoded-space": "a%20b",
    "doubled-slash": "a//b",
    "leading-slash": "/a",
    "two-leading-slashes": "//a",
    "trailing-slash": "folder/",
    "dot": ".",
    "dot-dot": "..",
    "parent": "../x",
    "parent-inside": "a/../b",
    "dot-inside": "a/./b",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "emoji": "\U0001f980/\u2603",
    "quotes": "it's \"quoted\" `here`",
    "reserved": "a?b#c&d=e;f:g@h,i$j!k*l(m)n[o]p{q}r|s^t~u",
    "backslash": "a\\b",
    "markup": "<a>&amp;]]>",
    "newline": "line\nbreak\r\ttab",
    "control": "\x01\x02\x1f\x7f",
    "query-like": "?acl",
    "longest": "k" * 1024,
    "longest-in-segments": "/".join(["segment-23-bytes-long-x"] * 42),
}
TOO_LONG = "k" * 1025


@pytest.fixture(scope="module", params=["radosgw", "seaweedfs", "embedded"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def buckets(deployment):
    """One bucket for the proxy, one for the same requests without it."""
    return make_bucket(deployment), make_bucket(deployment)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_key_behaves_as_without_the_proxy(deployment, buckets, key):
    proxied, direct = buckets
    through_proxy = trace(deployment.target, proxied, key)
    assert through_proxy == trace(deployment.backend.target, direct, key)
    if deployment.backend.name == "radosgw":
        assert through_proxy == works(key)


def test_key_beyond_1024_bytes_is_refused_by_name(deployment, buckets):
    answer = raw.ask(deployment.target, "PUT", buckets[0], TOO_LONG, body=b"x")
    assert (answer.status, answer.code) == (400, "KeyTooLongError")


def test_key_that_is_not_utf8_is_refused(deployment, buckets):
    answer = raw.ask(deployment.target, "PUT", buckets[0], b"bad-\xff-byte", body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidURI")


def trace(target, bucket, key):
    """The result of each step in an object's life: status, code, whether the content came back."""
    content = f"content of {key!r}".encode()

    def ask(method, **parts):
        try:
            answer = raw.ask(target, method, bucket, key, **parts)
        except ConnectionError:
            # A server that breaks off instead of responding counts as unreachable at the proxy. If
            # a body was in flight, the system may report a reset or a broken pipe.
            return 503, "ServiceUnavailable" if method != "HEAD" else "", ""
        # Some keys turn a GET into a listing of the bucket, and listings necessarily differ.
        returned = "content" if answer.body == content else ""
        code = answer.code if method != "HEAD" else ""
        return answer.status, code, returned

    put, get = ask("PUT", body=content), ask("GET")
    steps = {
        "put": put,
        # A failed PUT may leave an object, sealed or not, which necessarily differs.
        "get": get if put[0] == 200 else get[:2],
        "head": ask("HEAD"),
        "listed": listed_keys(target, bucket),
        "delete": ask("DELETE"),
        "gone": ask("GET"),
    }
    # Leftovers of a key that a server cannot delete would show in the listing for the next key.
    for left in listed_keys(target, bucket):
        raw.ask(target, "DELETE", bucket, left)
    return steps


def works(key):
    return {
        "put": (200, "", ""),
        "get": (200, "", "content"),
        "head": (200, "", ""),
        "listed": [key],
        "delete": (204, "", ""),
        "gone": (404, "NoSuchKey", ""),
    }


def listed_keys(target, bucket):
    answer = raw.ask(target, "GET", bucket, query="encoding-type=url&list-type=2")
    assert answer.status == 200
    try:
        keys, encoding = answer.elements("Key"), answer.element("EncodingType")
    except ElementTree.ParseError:
        return ["a listing that is no XML"]
    return [unquote(key) for key in keys] if encoding == "url" else keys
