"""Tests of the recovery script: the format's known answers, and objects that the crate wrote.

The objects need `S3PROXY_SAMPLES`, a folder filled by `cargo run --example write_samples FOLDER`;
without it, the tests run cargo.
"""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest
from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

import s3proxy_recover as recover

ROOT = pathlib.Path(__file__).resolve().parent.parent
VECTOR_FILES = ROOT / "crates/envelope/tests/vectors"
VECTORS = json.loads((VECTOR_FILES / "v1.json").read_text())
OLDER = [known for name in ("legacy.json", "legacy-kek-version-1.json")
         for known in json.loads((VECTOR_FILES / name).read_text())["objects"]]
KEK = VECTORS["keys"][0]["encrypt_key"]


def plaintext(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


@pytest.mark.parametrize("known", VECTORS["keys"], ids=lambda known: known["key_id"])
def test_configured_keys_give_the_known_keks_and_names(known):
    kek = recover.kek_of(known["encrypt_key"])
    assert kek.hex() == known["kek"]
    assert recover.local_name(kek) == "local:" + known["key_id"]


@pytest.mark.parametrize("text", VECTORS["refused_encrypt_keys"])
def test_malformed_keys_are_refused(text):
    with pytest.raises(recover.Refused):
        recover.kek_of(text)


def test_lengths_map_both_ways():
    for known in VECTORS["lengths"]:
        assert recover.message_length(known["plaintext"]) == known["message"]
        assert recover.stored_length(known["plaintext"]) == known["stored"]
        assert recover.plaintext_length(known["stored"]) == known["plaintext"]
    for stored in VECTORS["invalid_stored_lengths"]:
        with pytest.raises(recover.Refused):
            recover.plaintext_length(stored)


@pytest.mark.parametrize("known", VECTORS["objects"], ids=lambda known: known["object_key"])
def test_known_objects_open(known, tmp_path):
    envelope = recover.read_envelope(known["envelope"])
    bucket, key = known["bucket"].encode(), known["object_key"].encode()
    binding = recover.binding_of(envelope, bucket, key)
    assert binding.hex() == known["binding"]
    assert recover.unwrap(envelope, recover.kek_of(KEK), binding).hex() == known["dek"]
    if "body" in known and known["body"]:
        stored, out = tmp_path / "stored", tmp_path / "out"
        stored.write_bytes(bytes.fromhex(known["body"]))
        recover.recover(stored, known["envelope"], bucket, key, KEK, out)
        assert out.read_bytes() == plaintext(known["plaintext_length"])


@pytest.mark.parametrize("known", VECTORS["multipart"], ids=lambda known: known["object_key"])
def test_known_multipart_tails_open(known):
    """The vectors have only tails: small objects are opened, of large ones only the seals."""
    envelope = recover.read_envelope(known["envelope"])
    binding = recover.binding_of(envelope, b"", known["object_key"].encode())
    dek = recover.unwrap(envelope, recover.kek_of(KEK), binding)
    assert dek.hex() == known["dek"]
    tail, stored = bytes.fromhex(known["body_tail"]), known["body_length"]
    plain = recover.plaintext_length(stored)
    if plain < recover.PADDED_FROM:
        out = io.BytesIO()
        recover.open_body(dek, envelope, io.BytesIO(tail), stored, out.write)
        assert out.getvalue() == plaintext(plain)
        return
    parts = recover.open_seal(dek, TailOf(tail, stored), stored, plain)
    listed = [(int.from_bytes(frame[:2], "big"), length) for frame, length, _ in parts]
    assert listed == [(part["number"], part["length"]) for part in known["parts"]]
    assert all(any(mark) == known["marks"] for _, _, mark in parts)


class TailOf(io.BytesIO):
    """A body of which only the end is known; the rest reads as zeros."""

    def __init__(self, tail, stored):
        super().__init__(tail)
        self.missing = stored - len(tail)

    def seek(self, position):
        self.before = max(0, self.missing - position)
        super().seek(max(0, position - self.missing))

    def read(self):
        return bytes(self.before) + super().read()


@pytest.mark.parametrize("known", VECTORS["malformed_objects"], ids=lambda known: known["name"])
def test_malformed_objects_are_refused(known):
    body = bytes.fromhex(known["body"])
    with pytest.raises(recover.Refused):
        recover.open_body(
            bytes.fromhex(known["dek"]), {1: 2}, io.BytesIO(body), len(body), lambda piece: len(piece)
        )


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    folder = os.environ.get("S3PROXY_SAMPLES")
    if folder:
        return pathlib.Path(folder)
    folder = tmp_path_factory.mktemp("samples")
    # Without --package, Cargo uses the dependencies that the README's test command compiled.
    command = ["cargo", "run", "--quiet", "--example", "write_samples", folder]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


SAMPLES = ["empty", "small", "chunk", "padded", "bound", "unbound",
           "multipart-small", "multipart-one", "multipart-three"]


def facts_of(samples, name):
    return json.loads((samples / f"{name}.json").read_text())


def run(samples, tmp_path, name, **changed):
    facts = facts_of(samples, name) | changed
    stored = facts.get("stored", samples / f"{name}.stored")
    return recover.recover(stored, facts["envelope"], facts["bucket"].encode(),
                           facts["key"].encode(), facts["kek"], tmp_path / "out")


@pytest.mark.parametrize("name", SAMPLES)
def test_what_the_crate_wrote_opens(samples, tmp_path, name):
    private = run(samples, tmp_path, name)
    assert (tmp_path / "out").read_bytes() == (samples / f"{name}.plain").read_bytes()
    if name == "bound":
        assert private == {1: {"CRC32": bytes([1, 2, 3, 4])}, 2: {"owner": b"somebody"},
                           4: "FULL_OBJECT"}


def assert_refused(samples, tmp_path, name, **changed):
    with pytest.raises(recover.Refused):
        run(samples, tmp_path, name, **changed)
    assert not list(tmp_path.glob("out")) and not list(tmp_path.glob(".s3proxy*"))


@pytest.mark.parametrize("name", ["small", "padded", "bound", "multipart-small", "multipart-three"])
def test_changed_bodies_are_refused_and_leave_nothing(samples, tmp_path, name):
    body = (samples / f"{name}.stored").read_bytes()
    changed = tmp_path / "changed"
    flips = [0, 30, 60, len(body) // 2, len(body) - 1, len(body) - 5, len(body) - 100]
    for at in [at for at in flips if 0 <= at]:
        changed.write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        assert_refused(samples, tmp_path, name, stored=changed)
    for other in [body[:-1], body[1:], body + b"\0", body[: len(body) // 2], b""]:
        changed.write_bytes(other)
        assert_refused(samples, tmp_path, name, stored=changed)


def test_another_place_key_or_envelope_is_refused(samples, tmp_path):
    assert_refused(samples, tmp_path, "small", key="dir/other")
    assert_refused(samples, tmp_path, "bound", bucket="another")
    assert_refused(samples, tmp_path, "bound", bucket="")
    assert_refused(samples, tmp_path, "small", kek=KEK)
    envelope = facts_of(samples, "small")["envelope"]
    for other in [envelope[:-1], envelope + "=", envelope + "A", "s3p2." + envelope[5:], "s3p1."]:
        assert_refused(samples, tmp_path, "small", envelope=other)
    assert_refused(samples, tmp_path, "chunk", envelope=facts_of(samples, "small")["envelope"])


def older_body(known):
    """The body of a known answer; if the vectors leave it out, made here and compared by digest."""
    if known["body"] is not None:
        body = bytes.fromhex(known["body"])
    else:
        nonce = bytes.fromhex(known["nonce"])
        sealer = AESGCMSIV(bytes.fromhex(known["dek"]))
        body = nonce + sealer.encrypt(nonce, plaintext(known["plaintext_length"]), None)
    assert hashlib.sha256(body).hexdigest() == known["body_sha256"]
    return body


def recover_older(known, body, tmp_path, **changed):
    (tmp_path / "stored").write_bytes(body)
    facts = {
        "configured": known["encrypt_key"] or "any", "kek_version": known.get("kek_version", ""),
        "zero_key": known.get("all_zero_kek", False),
    } | changed
    recover.recover(tmp_path / "stored", known["metadata_value"], b"", b"any",
                    out_path=tmp_path / "out", **facts)
    return (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("known", OLDER, ids=range(len(OLDER)))
def test_known_objects_of_intrinsecs_proxy_open_in_both_kek_versions(known, tmp_path):
    version = known.get("kek_version", "")
    if not known.get("all_zero_kek"):
        assert recover.older_kek(known["encrypt_key"], version).hex() == known["kek"]
    body = older_body(known)
    assert recover_older(known, body, tmp_path) == plaintext(known["plaintext_length"])


@pytest.mark.parametrize("known", [OLDER[1], OLDER[-3], OLDER[-1]], ids=["0", "1", "1 large"])
def test_older_objects_are_refused_under_another_key_or_version_and_when_changed(known, tmp_path):
    body, version = older_body(known), known.get("kek_version", "")
    other = "" if version else "1"
    for changed in [{"configured": "another"}, {"kek_version": other}, {"kek_version": "2"},
                    {"kek_version": "0"}, {"configured": ""}]:
        with pytest.raises(recover.Refused):
            recover_older(known, body, tmp_path, **changed)
    flips = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in (0, 12, len(body) - 1)]
    for wrong in [*flips, body[:-1], body + b"\0", body[:27], b""]:
        with pytest.raises(recover.Refused):
            recover_older(known, wrong, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stored"]


def test_the_command_takes_the_kek_version_beside_the_envelope(tmp_path):
    known = OLDER[-2]
    (tmp_path / "stored").write_bytes(older_body(known))
    (tmp_path / "kek").write_text(known["encrypt_key"], encoding="utf-8")
    script = [sys.executable, recover.__file__, "--stored", tmp_path / "stored", "--envelope",
              known["metadata_value"], "--key", "any", "--kek-file", tmp_path / "kek",
              "--out", tmp_path / "out"]
    refused = subprocess.run(script, capture_output=True, text=True)
    assert refused.returncode == 1 and "KEK version" in refused.stderr
    subprocess.run([*script, "--kek-version", known["kek_version"]], check=True)
    assert (tmp_path / "out").read_bytes() == plaintext(known["plaintext_length"])


def test_the_all_zero_key_opens_only_where_it_is_asked_for(tmp_path):
    [known, *_] = [known for known in OLDER if known.get("all_zero_kek")]
    body = older_body(known)
    with pytest.raises(recover.Refused):
        recover_older(known, body, tmp_path, zero_key=False)
    assert recover_older(known, body, tmp_path) == plaintext(known["plaintext_length"])


def test_cbor_that_is_not_deterministic_is_refused():
    recover.cbor_map(bytes.fromhex("a10102"), k1=int)
    for text in ["a1010200", "a201020102", "a202020102", "a1011802", "a1180102", "b8010102",
                 "bf0102ff", "a1015f4100ff", "a101c24102", "a101", "a1015b7fffffffffffffff", ""]:
        with pytest.raises(recover.Refused):
            recover.cbor_map(bytes.fromhex(text), k1=(int, bytes), k2=int)
    with pytest.raises(recover.Refused):
        recover.cbor_map(bytes.fromhex("a1181f00"), k1=int)
    recover.cbor_map(bytes.fromhex("a1182000"), k1=int)


def test_padding_other_than_zeros_is_refused():
    dek, plain = bytes(32), recover.PADDED_FROM
    context = b"s3proxy/v1/object\0" + plain.to_bytes(8, "big")
    encryptor = Cobblestone256Encryptor(dek, context=context)
    body = encryptor.update(bytes(plain)) + encryptor.finalize()
    zeros = bytes(recover.stored_length(plain) - len(body))
    digest = hashlib.sha256()
    write = lambda piece: digest.update(piece) or len(piece)
    recover.open_body(dek, {1: 1}, io.BytesIO(body + zeros), len(body + zeros), write)
    assert digest.digest() == hashlib.sha256(bytes(plain)).digest()
    wrong = body + zeros[1:] + b"\1"
    with pytest.raises(recover.Refused):
        recover.open_body(dek, {1: 1}, io.BytesIO(wrong), len(wrong), write)


def test_the_command_takes_the_key_from_a_file_or_the_environment_only(samples, tmp_path):
    facts = facts_of(samples, "small")
    script = [sys.executable, recover.__file__, "--stored", samples / "small.stored", "--envelope",
              facts["envelope"], "--key", facts["key"], "--out", tmp_path / "out"]
    bare = {name: value for name, value in os.environ.items() if name != "S3PROXY_ENCRYPT_KEY"}
    bare["PYTHONUTF8"] = "1"
    refused = subprocess.run(script, env=bare, capture_output=True, text=True)
    assert refused.returncode == 1 and "the encryption key is empty" in refused.stderr
    for extra, env in [
        (["--kek-file", tmp_path / "kek"], bare),
        ([], bare | {"S3PROXY_ENCRYPT_KEY": facts["kek"]}),
    ]:
        (tmp_path / "kek").write_text(facts["kek"] + "\n")
        subprocess.run([*script, *extra], env=env, check=True)
        assert (tmp_path / "out").read_bytes() == (samples / "small.plain").read_bytes()
        (tmp_path / "out").unlink()
