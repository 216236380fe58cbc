"""Envelopes altered, moved, stripped or with another layout: an error, never content.

The envelope is metadata, under the backend's control. An object is opened as it was sealed, under
the key for which it was sealed, or not at all. Only an object without an envelope is plaintext, and
`plaintext_reads = deny` refuses that too.
"""

import base64
import hashlib

import cbor2
import pytest

import raw
from content import LARGE, content
from refusal import assert_refused
from sealed import Stored, parse_envelope
from tampering import Vault, assert_only_plaintext

LAYOUT, KEK, DEK, HEAD, FLAGS, PRIVATE, SERVICE = 1, 2, 3, 4, 5, 6, 7
PLAINTEXT = content(LARGE)
SPANS = ["0-0", "-1", f"{LARGE // 2}-{LARGE // 2 + 20}"]


@pytest.fixture(scope="module")
def vault(debugging, touched):
    return Vault(debugging, touched)


@pytest.fixture(scope="module")
def sealed(vault):
    """A sealed object with every field of the envelope: the checksum goes into the private map."""
    headers = {"x-amz-checksum-sha256": plaintext_checksum()}
    return vault.seal("sealed", PLAINTEXT, **headers)


def plaintext_checksum():
    return base64.b64encode(hashlib.sha256(PLAINTEXT).digest()).decode()


def written(fields) -> str:
    """The text of an envelope with these fields."""
    return as_text(cbor2.dumps(fields, canonical=True))


def as_text(encoded: bytes) -> str:
    return "s3p1." + base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def flip(value: bytes, at: int = 0) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def without(fields, name):
    return {key: value for key, value in fields.items() if key != name}


FIELDS = {
    "layout-2": lambda f: f | {LAYOUT: 2},
    "layout-2-without-head": lambda f: without(f, HEAD) | {LAYOUT: 2},
    "layout-3": lambda f: f | {LAYOUT: 3},
    "layout-0": lambda f: f | {LAYOUT: 0},
    "no-layout": lambda f: without(f, LAYOUT),
    "unknown-kek": lambda f: f | {KEK: "local:0123456789abcdef"},
    "kek-of-a-service": lambda f: f | {KEK: "vault:transit/key"},
    "kek-as-bytes": lambda f: f | {KEK: f[KEK].encode()},
    "no-kek": lambda f: without(f, KEK),
    "dek-flipped-first": lambda f: f | {DEK: flip(f[DEK])},
    "dek-flipped-last": lambda f: f | {DEK: flip(f[DEK], 39)},
    "dek-cut": lambda f: f | {DEK: f[DEK][:32]},
    "dek-longer": lambda f: f | {DEK: f[DEK] + bytes(8)},
    "no-dek": lambda f: without(f, DEK),
    "salt-flipped": lambda f: f | {HEAD: flip(f[HEAD], 3)},
    "commitment-flipped": lambda f: f | {HEAD: flip(f[HEAD], 55)},
    "head-cut": lambda f: f | {HEAD: f[HEAD][:-1]},
    "no-head": lambda f: without(f, HEAD),
    "unbound": lambda f: f | {FLAGS: f[FLAGS] & ~1},
    "bucket-bound": lambda f: f | {FLAGS: f[FLAGS] | 4},
    "unknown-flag": lambda f: f | {FLAGS: f[FLAGS] | 8},
    "no-flags": lambda f: without(f, FLAGS),
    "private-flag-dropped": lambda f: without(f, PRIVATE) | {FLAGS: f[FLAGS] & ~2},
    "private-without-flag": lambda f: f | {FLAGS: f[FLAGS] & ~2},
    "flag-without-private": lambda f: without(f, PRIVATE),
    "unknown-field": lambda f: f | {8: b""},
}

UNSEEN = {
    "private-flipped": lambda f: f | {PRIVATE: flip(f[PRIVATE], len(f[PRIVATE]) - 1)},
    "private-empty": lambda f: f | {PRIVATE: b""},
    "kek-of-a-service-added": lambda f: f | {SERVICE: b"ciphertext"},
    "ignorable-field-added": lambda f: f | {99: b""},
}
"""Alterations that some reads do not notice; their content has to be right nevertheless."""


def test_envelope_written_again_is_the_same_text(sealed):
    fields = parse_envelope(sealed.metadata["isec"])
    assert sorted(fields) == [LAYOUT, KEK, DEK, HEAD, FLAGS, PRIVATE]
    assert written(fields) == sealed.metadata["isec"]


@pytest.mark.parametrize("name", FIELDS)
def test_altered_field_is_refused(vault, sealed, name):
    altered = written(FIELDS[name](parse_envelope(sealed.metadata["isec"])))
    vault.plant("sealed", Stored(sealed.body, {"isec": altered}))
    refused_in_every_read(vault, "sealed", sees_checksum=name not in HEAD_FIELDS)
    vault.plant("sealed", sealed)


@pytest.mark.parametrize("name", UNSEEN)
def test_altered_field_that_a_read_does_not_need_gives_no_wrong_byte(vault, sealed, name):
    altered = written(UNSEEN[name](parse_envelope(sealed.metadata["isec"])))
    vault.plant("sealed", Stored(sealed.body, {"isec": altered}))
    assert_only_plaintext(vault.read("sealed"), PLAINTEXT)
    assert_only_plaintext(vault.read("sealed", "0-0"), PLAINTEXT[:1])
    assert_only_plaintext(vault.read("sealed", "-1"), PLAINTEXT[-1:])
    head = vault.read("sealed", method="HEAD")
    assert head.headers["x-amz-checksum-sha256"] in (None, plaintext_checksum())
    vault.plant("sealed", sealed)


HEAD_FIELDS = ["salt-flipped", "commitment-flipped"]
"""HEAD opens no body, so it does not compare salt and commitment."""


def refused_in_every_read(vault, key, *, sees_checksum=True, status=(403, 500)):
    """Full and ranged GET, and HEAD with the checksum, which is a sealed value too. An altered key
    name is that of a missing key: 403."""
    for span in ("", *SPANS):
        answer = vault.read(key, span)
        assert answer.status in status, (span, answer.body)
        assert PLAINTEXT[:40] not in answer.body
    head = vault.read(key, method="HEAD")
    if sees_checksum:
        assert head.status in status
    else:
        assert head.headers["x-amz-checksum-sha256"] in (None, plaintext_checksum())


TEXTS = {
    "mark-alone": lambda text: "s3p1.",
    "no-mark": lambda text: text.removeprefix("s3p1."),
    "other-version": lambda text: text.replace("s3p1.", "s3p2."),
    "upper-case-mark": lambda text: text.replace("s3p1.", "S3P1."),
    "cut": lambda text: text[:-4],
    "character-more": lambda text: text + "A",
    "padded": lambda text: text + "=",
    "other-alphabet": lambda text: text.replace("-", "+").replace("_", "/") + "/",
    "space-inside": lambda text: text[:20] + " " + text[20:],
    "trailing-byte": lambda text: as_text(encoded(text) + b"\0"),
    "twice": lambda text: as_text(encoded(text) * 2),
    "doubled-field": lambda text: as_text(one_field_more(encoded(text), b"\x01\x01")),
    "indefinite-map": lambda text: as_text(b"\xbf" + encoded(text)[1:] + b"\xff"),
    "long-integer": lambda text: as_text(encoded(text).replace(b"\x01\x01", b"\x01\x18\x01", 1)),
    "no-map": lambda text: as_text(b"\x80"),
    "words": lambda text: "none",
    "older-value": lambda text: "9e" * 40,
    "nearly-older-value": lambda text: "9e" * 40 + "9",
}


def one_field_more(fields: bytes, field: bytes) -> bytes:
    return bytes([fields[0] + 1]) + fields[1:] + field


def encoded(text: str) -> bytes:
    data = text.removeprefix("s3p1.")
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


@pytest.mark.parametrize("name", TEXTS)
def test_altered_text_is_refused(vault, sealed, name):
    altered = TEXTS[name](sealed.metadata["isec"])
    assert altered != sealed.metadata["isec"]
    vault.plant("sealed", Stored(sealed.body, {"isec": altered}))
    refused_in_every_read(vault, "sealed", sees_checksum=name != "older-value")
    vault.plant("sealed", sealed)


def test_envelope_moved_to_another_key_is_refused(vault, sealed, key):
    vault.plant(key, sealed)
    refused_in_every_read(vault, key)
    other = vault.seal(key, content(LARGE, "other"))
    vault.plant(key, Stored(other.body, sealed.metadata))
    refused_in_every_read(vault, key)


def test_envelope_of_another_object_under_its_own_key_is_refused(vault, sealed, key):
    other = vault.seal(key, content(LARGE, "other"))
    vault.plant("sealed", Stored(sealed.body, other.metadata))
    refused_in_every_read(vault, "sealed")
    vault.plant("sealed", sealed)


def test_missing_key_is_named_by_its_id(vault, sealed):
    fields = parse_envelope(sealed.metadata["isec"]) | {KEK: "local:0123456789abcdef"}
    vault.plant("sealed", Stored(sealed.body, {"isec": written(fields)}))
    answer = vault.read("sealed")
    assert_refused(answer, 403, "AccessDenied")
    assert b"local:0123456789abcdef" in answer.body
    vault.plant("sealed", sealed)


def test_all_failed_checks_look_the_same(vault, sealed):
    said = set()
    # Not a weaker binding: the rule of the place refuses it before anything is opened, with its own
    # message.
    for name in ("dek-flipped-first", "salt-flipped", "no-head", "unknown-flag"):
        altered = written(FIELDS[name](parse_envelope(sealed.metadata["isec"])))
        vault.plant("sealed", Stored(sealed.body, {"isec": altered}))
        said.add(raw.Response(500, {}, vault.read("sealed").body).element("Message"))
    vault.plant("sealed", sealed)
    assert len(said) == 1


@pytest.fixture(scope="module")
def denying(deployments, debugging, touched):
    """The same keys and bucket with `plaintext_reads = deny`."""
    proxy = deployments.proxy(
        debugging.backend,
        "proxy-deny",
        environment={
            "S3PROXY_POLICY_PLAINTEXT_READS": "deny",
            "S3PROXY_POLICY_LEGACY_READS": "deny",
            "S3PROXY_ENCRYPT_KEY": debugging.proxy.key,
            "S3PROXY_LISTEN_DRAIN_DELAY": "0s",
        },
    )
    return Vault(proxy, touched)


def test_stripped_envelope_is_refused_if_plaintext_is_denied(denying, sealed):
    denying.plant("stripped", Stored(sealed.body, {}))
    for span in ("", *SPANS, f"{len(sealed.body)}-"):
        answer = denying.read("stripped", span)
        assert_refused(answer, 403, "AccessDenied")
    assert denying.read("stripped", method="HEAD").status == 403


def test_stripped_envelope_is_served_unchanged_if_plaintext_is_allowed(vault, sealed):
    vault.plant("stripped", Stored(sealed.body, {}))
    answer = vault.read("stripped")
    assert (answer.status, answer.body, answer.complete) == (200, sealed.body, True)
    answer = vault.read("stripped", "5-20")
    assert (answer.status, answer.body) == (206, sealed.body[5:21])


@pytest.mark.parametrize("metadata", [{"isec": "9e" * 40}, {"constellation-dek": "9e" * 40}])
def test_older_format_is_refused_if_it_is_denied(denying, sealed, metadata):
    denying.plant("older", Stored(sealed.body, metadata))
    for span in ("", "0-0"):
        assert_refused(denying.read("older", span), 403, "AccessDenied")
    assert denying.read("older", method="HEAD").status == 403


def test_plain_object_slipped_in_is_refused_if_plaintext_is_denied(denying, sealed):
    denying.plant("sealed", Stored(b"content of the backend's own", {"other": "metadata"}))
    assert_refused(denying.read("sealed"), 403, "AccessDenied")
    assert_refused(denying.read("sealed", "0-3"), 403, "AccessDenied")
    denying.plant("sealed", sealed)
    assert denying.read("sealed").body == PLAINTEXT


def test_untouched_object_is_read_again_after_all_this(vault, sealed):
    assert vault.read("sealed").body == PLAINTEXT
