"""Objects as the two older proxies wrote them, made from the description of their format.

A body is a nonce, AES-256-GCM-SIV of the whole content, and the tag. The data key is in the
metadata, wrapped by AES-256-KWP, in hexadecimal. Intrinsec's proxy derives the wrapping key from a
passphrase in one of two ways, its KEK versions, and records the second version beside the data key.
Nothing here shares code with the proxy. Content is sealed in one call, so it has to be shorter than
2 GiB.
"""

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from sealed import Stored

INTRINSEC = "isec"
CONSTELLATION = "constellation-dek"
TAGS = [INTRINSEC, CONSTELLATION]

ZERO_KEK = bytes(32)
"""The key that faulty versions of both proxies used."""

NONCE = 12
OVERHEAD = NONCE + 16
"""The bytes that a stored body adds to its content."""


def passphrase_kek(text: str) -> bytes:
    """The key of Intrinsec's proxy up to 1.7, KEK version 0: any configured text, hashed."""
    return hashlib.sha256(text.encode()).digest()


def hkdf_kek(text: str) -> bytes:
    """The key of Intrinsec's proxy from 1.8.0 on, KEK version 1."""
    salt = hashlib.sha256(b"s3proxy-kek-salt-v1").digest()
    derivation = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"s3proxy/kek/v1")
    return derivation.derive(text.encode())


DERIVATIONS = {"0": passphrase_kek, "1": hkdf_kek}
KEK_VERSIONS = list(DERIVATIONS)


@dataclass(frozen=True)
class Older:
    """One of the two proxies with one key: its metadata name, and the wrapping key."""

    tag: str
    kek: bytes
    recorded_version: str | None = None

    @classmethod
    def of_text(cls, text: str, version: str, tag: str = INTRINSEC) -> "Older":
        """Intrinsec's proxy with a passphrase and a KEK version. Version 0 is not recorded."""
        return cls(tag, DERIVATIONS[version](text), None if version == "0" else version)

    @property
    def version_name(self) -> str:
        return f"{self.tag}-kek-ver"

    def seal(self, content: bytes) -> Stored:
        dek, nonce = secrets.token_bytes(32), secrets.token_bytes(NONCE)
        wrapped = aes_key_wrap_with_padding(self.kek, dek)
        body = nonce + AESGCMSIV(dek).encrypt(nonce, content, None)
        metadata = {self.tag: wrapped.hex()}
        if self.recorded_version is not None:
            metadata[self.version_name] = self.recorded_version
        return Stored(body, metadata)

    def put(self, backend, bucket: str, key: str, content: bytes, **parameters) -> Stored:
        """Stores an object through a boto3 client of the backend, with additional metadata."""
        stored = self.seal(content)
        metadata = parameters.pop("Metadata", {}) | stored.metadata
        backend.put_object(
            Bucket=bucket, Key=key, Body=stored.body, Metadata=metadata, **parameters
        )
        return stored


def noise(size: int) -> bytes:
    """Content that never repeats, generated fast enough for hundreds of megabytes."""
    stream = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    return stream.update(bytes(size))
