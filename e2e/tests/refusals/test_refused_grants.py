"""Clients can do exactly what their grants allow; no client can touch the proxy's own keys.

The proxy here has a list of clients with one grant each, and keeps the backend's credential for
itself. A refusal is AccessDenied, and the backend is inspected for the objects that must still be
there.
"""

from urllib.parse import quote

import pytest

import raw
from content import LARGE, SMALL, content
from deployment import make_bucket
from known_clients import READING, credential_of, known_client
from refusal import assert_nothing_stored, assert_refused, stored_keys

TOKEN = "session-token-that-must-not-be-logged"

GRANTS = {
    "everything": {"operations": ["read", "write", "delete", "list", "admin"]},
    "reader": READING,
    "lister": {"operations": ["read", "list"], "prefixes": ["team/*"]},
    "writer": {"operations": ["write"], "prefixes": ["team/*"]},
    "deleter": {"operations": ["delete"], "prefixes": ["team/*"]},
    "admin": {"operations": ["admin"]},
    "elsewhere": {"buckets": ["another-*"]},
    "tokened": {"operations": ["read", "write"]},
}
MORE = {"tokened": {"session_token": TOKEN}}

STATE_KEYS = [
    ".s3proxy/uploads/x/state",
    ".s3proxy/",
    ".s3proxy",
    # Keys that a backend with keys as file names may map to the same file.
    "/.s3proxy/x",
    "//.s3proxy//x",
    ".s3proxy\\x",
    "./.s3proxy/x",
    "a/../.s3proxy/x",
]


@pytest.fixture(scope="module")
def granting(deployments):
    return deployments.proxy(
        deployments.server("seaweedfs"),
        "proxy-grants",
        settings="".join(
            known_client(name, grant, **MORE.get(name, {})) for name, grant in GRANTS.items()
        ),
        environment={"S3PROXY_LOG_LEVEL": "debug", "S3PROXY_LISTEN_DRAIN_DELAY": "0s"},
    )


@pytest.fixture(scope="module")
def bucket(granting):
    return make_bucket(granting)


@pytest.fixture
def ask(granting, bucket):
    """Sends one request as one of the clients."""

    def ask(client, method, key="", **parts):
        target = granting.target.known_as(credential_of(client))
        return raw.ask(target, method, parts.pop("bucket", bucket), key, **parts)

    return ask


@pytest.fixture
def present(ask, key):
    """A sealed object under the team's prefix."""
    key = f"team/{key}"
    assert ask("everything", "PUT", key, body=b"sealed").status == 200
    return key


def test_backends_own_credential_is_no_client_where_clients_are_listed(granting, bucket, key):
    answer = raw.ask(granting.target, "PUT", bucket, key, body=b"x")
    assert_refused(answer, 403, "InvalidAccessKeyId")
    assert_nothing_stored(granting, bucket, key)


@pytest.mark.parametrize("client", ["reader", "lister", "deleter", "admin", "elsewhere"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["held", "streamed"])
def test_client_without_write_cannot_write(granting, bucket, ask, key, client, size):
    answer = raw_or_reset(ask, client, f"team/{key}", content(size))
    assert answer is None or answer.code == "AccessDenied"
    assert_nothing_stored(granting, bucket, f"team/{key}")


def raw_or_reset(ask, client, key, body):
    """A body above a mebibyte is not read to its end, so its sender may see a reset."""
    try:
        return ask(client, "PUT", key, body=body)
    except ConnectionError:
        assert len(body) > 1024 * 1024
        return None


def test_client_writes_inside_its_prefix_only(granting, bucket, ask, key):
    for outside in (f"other/{key}", key, f"team{key}", f"/team/{key}"):
        assert_refused(ask("writer", "PUT", outside, body=b"x"), 403, "AccessDenied")
        assert_nothing_stored(granting, bucket, outside)
    assert ask("writer", "PUT", f"team/{key}", body=b"x").status == 200


def test_client_does_nothing_in_another_bucket(ask, present):
    for method in ("GET", "PUT", "DELETE"):
        answer = ask("elsewhere", method, present, body=b"x" if method == "PUT" else b"")
        assert_refused(answer, 403, "AccessDenied")
    assert ask("elsewhere", "HEAD", present).status == 403
    assert_refused(ask("elsewhere", "GET", query="list-type=2"), 403, "AccessDenied")


@pytest.mark.parametrize("client", ["writer", "deleter", "admin", "elsewhere"])
def test_client_without_read_cannot_read(ask, present, client):
    assert_refused(ask(client, "GET", present), 403, "AccessDenied")
    assert_refused(ask(client, "GET", present, query="tagging"), 403, "AccessDenied")
    assert ask(client, "HEAD", present).status == 403


@pytest.mark.parametrize("client", ["reader", "lister", "writer", "admin", "elsewhere"])
def test_client_without_delete_cannot_delete(granting, bucket, ask, present, client):
    assert_refused(ask(client, "DELETE", present), 403, "AccessDenied")
    assert stored_keys(granting, bucket, present) == [present]


def test_batch_is_judged_key_by_key(granting, bucket, ask, key):
    inside, outside = f"team/{key}", f"other/{key}"
    for each in (inside, outside):
        assert ask("everything", "PUT", each, body=b"x").status == 200
    answer = batch(ask, "deleter", [inside, outside, *STATE_KEYS])
    assert answer.status == 200
    assert sorted(answer.elements("Code")) == ["AccessDenied"] * (1 + len(STATE_KEYS))
    assert stored_keys(granting, bucket, inside) == []
    assert stored_keys(granting, bucket, outside) == [outside]


def test_batch_of_a_client_that_may_delete_nothing_deletes_nothing(granting, bucket, ask, present):
    answer = batch(ask, "reader", [present])
    assert answer.elements("Code") == ["AccessDenied"]
    assert answer.elements("Deleted") == []
    assert stored_keys(granting, bucket, present) == [present]


def batch(ask, client, keys, headers=None):
    objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    body = f"<Delete>{objects}</Delete>".encode()
    return ask(client, "POST", query="delete", headers=headers, body=body)


@pytest.mark.parametrize(
    "written",
    [
        "&#46;s3proxy/x",
        "<![CDATA[.s3proxy/x]]>",
        ".s3<!-- -->proxy/x",
        "team/x</Key><Key>.s3proxy/x",
        ".s3proxy/x</Key><Key>team/x",
    ],
)
def test_state_keys_are_refused_in_a_batch_however_they_are_written(granting, ask, written):
    bucket = make_bucket(granting)
    backend = granting.backend.target
    assert raw.ask(backend, "PUT", bucket, ".s3proxy/x", body=b"state").status == 200
    body = f"<Delete><Object><Key>{written}</Key></Object></Delete>".encode()
    answer = ask("everything", "POST", bucket=bucket, query="delete", body=body)
    assert answer.status in (200, 400)
    assert stored_keys(granting, bucket) == [".s3proxy/x"]


def test_governance_is_bypassed_in_a_batch_by_admins_only(granting, bucket, ask, present):
    headers = {"x-amz-bypass-governance-retention": "true"}
    answer = batch(ask, "deleter", [present], headers)
    assert answer.elements("Code") == ["AccessDenied"]
    assert stored_keys(granting, bucket, present) == [present]
    assert batch(ask, "everything", [present], headers).elements("Code") == []


@pytest.mark.parametrize("query", ["", "tagging", "acl"])
def test_reader_without_list_learns_of_no_key_through_sub_resources(ask, present, query):
    answers = [ask("reader", "GET", key, query=query) for key in (present + "-1", present + "-2")]
    assert [answer.code for answer in answers] == ["AccessDenied"] * 2


@pytest.mark.parametrize("token", [None, "", "another-token", TOKEN + "x"])
def test_session_token_other_than_the_configured_one_is_refused(ask, key, token):
    headers = {} if token is None else {"x-amz-security-token": token}
    assert_refused(ask("tokened", "GET", key, headers=headers), 400, "InvalidToken")


def test_configured_session_token_is_accepted_and_not_forwarded(granting, bucket, ask, key):
    headers = {"x-amz-security-token": TOKEN}
    # The backend knows no tokens and would refuse a request with one.
    assert ask("tokened", "PUT", key, headers=headers, body=content(SMALL)).status == 200
    assert ask("tokened", "GET", key, headers=headers).body == content(SMALL)
    target = granting.target.known_as(credential_of("tokened"))
    query = f"X-Amz-Security-Token={TOKEN}"
    url = raw.presign(raw.request(target, "GET", bucket, key, query=query), target)
    assert raw.send(url, target).body == content(SMALL)


LISTINGS = ["list-type=2", "max-keys=10", "versions"]


@pytest.mark.parametrize("query", LISTINGS)
def test_listing_stays_inside_the_granted_prefix(ask, present, query):
    assert ask("lister", "GET", query=f"{query}&prefix=team%2F").status == 200
    for prefix in ("", "&prefix=", "&prefix=t", "&prefix=team", "&prefix=other%2F"):
        assert_refused(ask("lister", "GET", query=query + prefix), 403, "AccessDenied")


def test_reader_without_list_cannot_tell_a_missing_key_from_a_forbidden_one(ask, present):
    missing = present + "-missing"
    assert ask("reader", "GET", present).body == b"sealed"
    assert_refused(ask("reader", "GET", missing), 403, "AccessDenied")
    assert ask("reader", "HEAD", missing).status == 403
    assert_refused(ask("lister", "GET", missing), 404, "NoSuchKey")
    assert ask("lister", "HEAD", missing).status == 404


@pytest.mark.parametrize("client", [name for name in GRANTS if name not in ("everything", "admin", "tokened")])
@pytest.mark.parametrize("query", ["acl", "policy", "lifecycle", "versioning", "cors"])
def test_configuration_of_a_bucket_is_for_admins(ask, client, query):
    assert_refused(ask(client, "GET", query=query), 403, "AccessDenied")
    assert_refused(ask(client, "PUT", query=query, body=b"<x/>"), 403, "AccessDenied")


@pytest.mark.parametrize("client", ["writer", "reader"])
def test_acls_are_for_admins(granting, bucket, ask, key, client):
    key = f"team/{key}"
    headers = {"x-amz-acl": "public-read"}
    assert_refused(ask(client, "PUT", key, headers=headers, body=b"x"), 403, "AccessDenied")
    assert_refused(ask(client, "PUT", key, query="acl", headers=headers), 403, "AccessDenied")
    assert_nothing_stored(granting, bucket, key)


def test_acl_in_the_query_of_a_presigned_url_is_for_admins(granting, bucket, key):
    target = granting.target.known_as(credential_of("writer"))
    key = f"team/{key}"
    built = raw.request(target, "PUT", bucket, key, query="x-amz-acl=public-read", body=b"x")
    assert_refused(raw.send(raw.presign(built, target), target), 403, "AccessDenied")
    assert_nothing_stored(granting, bucket, key)


def test_governance_is_bypassed_by_admins_only(granting, bucket, ask, present):
    headers = {"x-amz-bypass-governance-retention": "true"}
    assert_refused(ask("deleter", "DELETE", present, headers=headers), 403, "AccessDenied")
    assert stored_keys(granting, bucket, present) == [present]


@pytest.mark.parametrize("client", ["writer", "reader", "elsewhere"])
def test_copy_without_both_grants_stores_nothing(granting, bucket, ask, present, client):
    source = {"x-amz-copy-source": f"/{bucket}/{quote(present)}"}
    answer = ask(client, "PUT", present + "-copy", headers=source)
    assert_refused(answer, 403, "AccessDenied")
    assert_nothing_stored(granting, bucket, present + "-copy")


def test_copy_with_both_grants_is_made(granting, bucket, ask, present):
    source = {"x-amz-copy-source": f"/{bucket}/{quote(present)}"}
    answer = ask("tokened", "PUT", present + "-copy", headers=source | {"x-amz-security-token": TOKEN})
    assert answer.status == 200, answer.body
    assert ask("everything", "GET", present + "-copy").body == b"sealed"


def test_acls_in_a_copy_are_for_admins(granting, bucket, ask, present):
    headers = {"x-amz-copy-source": f"/{bucket}/{quote(present)}", "x-amz-acl": "public-read"}
    headers |= {"x-amz-security-token": TOKEN}
    answer = ask("tokened", "PUT", present + "-copy", headers=headers)
    assert_refused(answer, 403, "AccessDenied")
    assert_nothing_stored(granting, bucket, present + "-copy")


def test_copier_without_list_cannot_tell_a_missing_source_from_a_forbidden_one(
    granting, bucket, ask, present
):
    source = {"x-amz-copy-source": f"/{bucket}/{quote(present)}-missing"}
    headers = source | {"x-amz-security-token": TOKEN}
    answer = ask("tokened", "PUT", present + "-copy", headers=headers)
    assert_refused(answer, 403, "AccessDenied")
    answer = ask("everything", "PUT", present + "-copy", headers=source)
    assert_refused(answer, 404, "NoSuchKey")


def test_buckets_of_others_are_not_listed(ask, bucket):
    assert bucket in ask("reader", "GET", bucket="").elements("Name")
    assert ask("elsewhere", "GET", bucket="").elements("Name") == []


def test_buckets_are_made_and_deleted_by_admins_only(ask, bucket):
    answer = ask("writer", "PUT", bucket="made-by-a-writer")
    assert_refused(answer, 403, "AccessDenied")
    assert_refused(ask("deleter", "DELETE"), 403, "AccessDenied")
    assert "made-by-a-writer" not in ask("everything", "GET", bucket="").elements("Name")


@pytest.mark.parametrize("state_key", STATE_KEYS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "tagging", "acl", "retention", "legal-hold", "attributes"])
def test_state_keys_are_refused_whatever_the_grant(
    granting, bucket, ask, state_key, method, query
):
    body = b"<x/>" if method == "PUT" else b""
    answer = ask("everything", method, state_key, query=query, body=body)
    assert answer.status in ((403,) if not query else (403, 405, 501))
    assert stored_keys(granting, bucket, ".s3proxy") == []


@pytest.mark.parametrize("state_key", STATE_KEYS)
def test_state_keys_are_refused_as_copy_sources(granting, bucket, ask, present, state_key):
    source = {"x-amz-copy-source": f"/{bucket}/{quote(state_key)}"}
    answer = ask("everything", "PUT", present + "-copy", headers=source)
    assert_refused(answer, 403, "AccessDenied")
    assert_nothing_stored(granting, bucket, present + "-copy")


@pytest.mark.parametrize("query", LISTINGS)
@pytest.mark.parametrize("prefix", ["", ".s3proxy%2F", ".s3p", "%2F.s3proxy"])
def test_state_is_hidden_from_listings(granting, ask, query, prefix, deployments):
    hidden = make_bucket(granting)
    backend = granting.backend.target
    for key in (".s3proxy/uploads/x/state", "beside"):
        assert raw.ask(backend, "PUT", hidden, key, body=b"x").status == 200
    answer = ask("everything", "GET", bucket=hidden, query=f"{query}&prefix={prefix}")
    assert answer.status == 200
    assert answer.elements("Key") == (["beside"] if not prefix else [])
    folded = ask("everything", "GET", bucket=hidden, query=f"{query}&prefix={prefix}&delimiter=%2F")
    assert b"s3proxy/" not in folded.body.replace(b"<Prefix>.s3proxy/</Prefix>", b"", 1)
