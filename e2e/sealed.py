"""Opens stored objects without the proxy, with only the published format and common libraries.

This is the suite's own implementation of the object format, for single uploads only, and it shares
no code with the proxy. Objects that it opens were sealed as documented and have the documented
lengths.
"""

import base64
import hashlib
from dataclasses import dataclass

import cbor2
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

_MARK = "s3p1."
_KEY_MARK = "s3pk1."
_KEY_BOUND, _PRIVATE_MAP, _BUCKET_BOUND = 1, 2, 4
_FIVE_MIB = 5 * 1024 * 1024
_CHUNK = 16384
_MOST_PIECES = 32


@dataclass(frozen=True)
class Stored:
    """An object on the backend: body and user metadata, names in lower case."""

    body: bytes
    metadata: dict[str, str]


def stored_length(plaintext: int) -> int:
    """The length on the backend of an object with `plaintext` bytes."""
    if plaintext < _FIVE_MIB:
        return 72 + plaintext + 16 * (plaintext // _CHUNK)
    tail = 160 * min(plaintext // _FIVE_MIB + 1, 10000) + 512
    return plaintext + 16 * (plaintext // _CHUNK) + tail


def open_sealed(stored: Stored, encrypt_key: str, bucket: str, key: str, length: int) -> bytes:
    """The plaintext of a sealed single upload; fails on any deviation from the format."""
    kek = raw_key(encrypt_key)
    return open_under(stored, kek, key_name(kek), bucket, key, length)


def open_under(
    stored: Stored, kek: bytes, name: str, bucket: str, key: str, length: int
) -> bytes:
    """The plaintext of a single upload under any KEK; `name` is the KEK's name in envelopes."""
    envelope = parse_envelope(stored.metadata["isec"])
    assert envelope[1] == 1, "layout 1 is that of single uploads"
    assert envelope[2] == name
    assert len(stored.body) == stored_length(length)
    assert envelope[4] == stored.body[:56], "salt and commitment stand in envelope and body"
    dek = aes_key_unwrap_with_padding(
        expand(kek, binding(envelope[1], envelope[5], bucket, key)), envelope[3]
    )
    message = 72 + length + 16 * (length // _CHUNK)
    assert stored.body[message:] == bytes(len(stored.body) - message), "padding is zeros"
    context = b"s3proxy/v1/object\0" + length.to_bytes(8, "big")
    opener = Cobblestone256Decryptor(dek, context)
    return opener.update(stored.body[:message]) + opener.finalize()


def parse_envelope(text: str) -> dict:
    assert text.startswith(_MARK), f"an envelope starts with {_MARK}"
    return cbor2.loads(_from_base64url(text.removeprefix(_MARK)))


def envelope_text(envelope: dict) -> str:
    encoded = cbor2.dumps(envelope, canonical=True)
    return _MARK + base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def raw_key(encrypt_key: str) -> bytes:
    """The raw bytes of a configured key-encryption key."""
    return _from_base64url(encrypt_key.removeprefix(_KEY_MARK))


def key_name(kek: bytes) -> str:
    return "local:" + expand(kek, b"s3proxy/v1/key-id")[:8].hex()


def leaks(stored: bytes, plaintext: bytes) -> bool:
    """Whether stored bytes contain a piece of the plaintext, or its digest."""
    # Every piece is searched everywhere, so their number is limited: large objects would take
    # minutes.
    step = max(_CHUNK, len(plaintext) // _MOST_PIECES)
    pieces = [plaintext[at : at + 32] for at in range(0, len(plaintext), step)]
    digests = [hashlib.md5(plaintext), hashlib.sha256(plaintext)]
    return any(len(piece) >= 16 and piece in stored for piece in pieces) or any(
        digest.digest() in stored for digest in digests
    )


def binding(layout: int, flags: int, bucket: str, key: str) -> bytes:
    name = bucket.encode()
    return (
        b"s3proxy/v1/wrap\0"
        + bytes([layout, flags])
        + (bytes([len(name)]) + name if flags & _BUCKET_BOUND else b"")
        + (key.encode() if flags & _KEY_BOUND else b"")
    )


def expand(key: bytes, info: bytes) -> bytes:
    return HKDFExpand(hashes.SHA512(), 32, info).derive(key)


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
