"""Objects as the two older proxies wrote them, made from the description of their format.

A body is a nonce, AES-256-GCM-SIV of the whole content, and the tag; the data key lies in the
metadata, wrapped by AES-256-KWP, in hexadecimal. It shares no code with the proxy, and seals at once
what it is given, so contents end below 2 GiB.
"""

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from sealed import Stored

INTRINSEC = "isec"
CONSTELLATION = "constellation-dek"
TAGS = [INTRINSEC, CONSTELLATION]

ZERO_KEK = bytes(32)
"""What faulty versions of both used."""

NONCE = 12
OVERHEAD = NONCE + 16
"""Bytes by which a stored body is longer than its content."""


def passphrase_kek(text: str) -> bytes:
    """Intrinsec's: whatever text was configured, hashed."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class Older:
    """One of the two proxies with one key: where it keeps wrapped keys, and what wraps them."""

    tag: str
    kek: bytes

    def seal(self, content: bytes) -> Stored:
        dek, nonce = secrets.token_bytes(32), secrets.token_bytes(NONCE)
        wrapped = aes_key_wrap_with_padding(self.kek, dek)
        body = nonce + AESGCMSIV(dek).encrypt(nonce, content, None)
        return Stored(body, {self.tag: wrapped.hex()})

    def put(self, backend, bucket: str, key: str, content: bytes, **parameters) -> Stored:
        """Stores an object through boto3 for the backend, with further metadata where given."""
        stored = self.seal(content)
        metadata = parameters.pop("Metadata", {}) | stored.metadata
        backend.put_object(
            Bucket=bucket, Key=key, Body=stored.body, Metadata=metadata, **parameters
        )
        return stored


def noise(size: int) -> bytes:
    """Content that never repeats, made as fast as hundreds of megabytes need it."""
    stream = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    return stream.update(bytes(size))
