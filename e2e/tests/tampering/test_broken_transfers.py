"""A backend that breaks off inside a response: resumed unnoticed, or passed on as a break."""

import pytest

import raw
from aws_stub import AwsStub, Kept, Reply, ranged
from content import LARGE, SMALL, content
from tampering import FIVE_MIB, Vault, assert_detected, assert_refused_outright

SIZES = {"small": SMALL, "streamed": LARGE, "padded": FIVE_MIB + 1000}
QUICK = """
[backend]
retry_base_delay = "10ms"
response_timeout = "5s"
body_timeout = "5s"

[listen]
drain_delay = "0s"
"""


@pytest.fixture(scope="module")
def stub():
    stub = AwsStub()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def proxy(deployments, stub):
    return deployments.proxy(stub, "proxy-before-breaking-stub", settings=QUICK)


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def sealed(request, proxy, stub, key):
    """A sealed object on the stub: its vault, key, path and plaintext."""
    vault = Vault(proxy, "bucket")
    plaintext = content(request.param)
    assert raw.ask(proxy.target, "PUT", "bucket", key, body=plaintext).status == 200
    return vault, key, f"/bucket/{key}", plaintext


def breaking(stub, path, lengths):
    """Each GET in turn breaks after this many bytes of its body; later ones are served."""
    left = list(lengths)

    def rule(seen):
        if seen.method != "GET" or seen.path != path or not left:
            return None
        whole = stub.serve(seen)
        return Reply(whole.status, whole.headers, whole.body, breaks_after=left.pop(0))

    return rule


@pytest.mark.parametrize("span", ["", "10-70", "-50"])
@pytest.mark.parametrize("breaks", [[1], [60], [0], [70, 10, 1]], ids=str)
def test_broken_answer_is_resumed_unseen(stub, sealed, span, breaks):
    vault, key, path, plaintext = sealed
    expected = {"": plaintext, "10-70": plaintext[10:71], "-50": plaintext[-50:]}[span]
    before = len(stub.about(path))
    with stub.answering(breaking(stub, path, breaks)):
        answer = vault.read(key, span)
    assert (answer.status, answer.complete) == (206 if span else 200, True)
    assert answer.body == expected
    assert len(stub.about(path)) == before + 1 + len(breaks)


@pytest.mark.parametrize("sealed", [LARGE, FIVE_MIB + 1000], indirect=True)
def test_break_deep_inside_is_resumed_with_a_pinned_range(stub, sealed):
    vault, key, path, plaintext = sealed
    etag = stub.objects[path].etag
    with stub.answering(breaking(stub, path, [700_000])):
        assert vault.read(key).body == plaintext
    resumed = stub.about(path)[-1]
    total = len(stub.objects[path].body)
    assert resumed.headers["range"] == f"bytes=700000-{total - 1}"
    assert resumed.headers["if-match"] == etag


@pytest.mark.parametrize("change", ["another-object", "deleted", "longer", "same-name-other-bytes"])
@pytest.mark.parametrize("breaks_after", [100, 700_000])
def test_object_that_changed_inside_an_answer_breaks_it_off(
    stub, proxy, key, change, breaks_after
):
    vault, path, plaintext = Vault(proxy, "bucket"), f"/bucket/{key}", content(LARGE)
    assert raw.ask(proxy.target, "PUT", "bucket", key, body=plaintext).status == 200
    assert raw.ask(proxy.target, "PUT", "bucket", "other", body=content(LARGE, "x")).status == 200
    old = stub.objects[path]

    def alter():
        other = stub.objects["/bucket/other"]
        if change == "another-object":
            stub.objects[path] = other
        elif change == "deleted":
            del stub.objects[path]
        elif change == "longer":
            stub.objects[path] = Kept(old.body + b"\0", old.metadata)

    def rule(seen):
        if seen.method != "GET" or seen.path != path:
            return None
        if "if-match" in seen.headers and change == "same-name-other-bytes":
            # A lying backend: another body under the requested ETag.
            mixed = Kept(stub.objects["/bucket/other"].body, old.metadata)
            reply = ranged(mixed, seen.headers["range"])
            return Reply(reply.status, reply.headers | {"ETag": old.etag}, reply.body)
        if "if-match" in seen.headers:
            return None
        whole = stub.serve(seen)
        alter()
        return Reply(whole.status, whole.headers, whole.body, breaks_after=breaks_after)

    with stub.answering(rule):
        answer = vault.read(key)
    if breaks_after < 10_000:
        # Not even one chunk had arrived, so the status line was not sent yet.
        assert answer.status in (500, 503), answer.body
        assert answer.code in ("InternalError", "ServiceUnavailable")
    else:
        assert answer.status == 200
        assert_detected(answer, plaintext)


def test_break_on_every_attempt_breaks_the_answer_off(stub, proxy, key):
    vault, path, plaintext = Vault(proxy, "bucket"), f"/bucket/{key}", content(LARGE)
    assert raw.ask(proxy.target, "PUT", "bucket", key, body=plaintext).status == 200
    with stub.answering(breaking(stub, path, [400_000] + [0] * 50)):
        answer = vault.read(key)
    assert answer.status == 200
    assert_detected(answer, plaintext)


def test_answer_of_another_length_than_the_object_is_refused(stub, proxy, key):
    vault, path, plaintext = Vault(proxy, "bucket"), f"/bucket/{key}", content(LARGE)
    assert raw.ask(proxy.target, "PUT", "bucket", key, body=plaintext).status == 200

    def short(seen):
        if seen.path != path:
            return None
        whole = stub.serve(seen)
        return Reply(whole.status, whole.headers, whole.body[:-1])

    with stub.answering(short):
        assert_refused_outright(vault.read(key))
