"""Seals multipart objects without the proxy, with only the published format and common libraries.

The objects go to a backend directly, so that reading is tested against the format and not against
the proxy's own writing, and so that a test can break every piece on purpose.
"""

import base64
import secrets
import struct
from dataclasses import dataclass, field, replace

import cbor2
from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

import sealed
from sealed import Stored, stored_length

FIVE_MIB = 5 * 1024 * 1024
FOOTER = 12
UNKNOWN_MARK = bytes(8)
_MULTIPART, _KEY_BOUND, _PRIVATE = 2, 1, 2


@dataclass
class Part:
    """`sealed` is the part's message; its `mark` is its own or that of another part."""

    number: int
    plaintext: bytes
    sealed: bytes
    mark: bytes
    checksum: bytes = b""

    @property
    def frame(self) -> bytes:
        return frame(self.number, len(self.plaintext))


@dataclass
class Sample:
    """A multipart object before it is assembled. Tests first change fields."""

    dek: bytes
    parts: list[Part]
    fields: dict = field(default_factory=dict)
    private: dict = field(default_factory=dict)

    @property
    def plaintext(self) -> bytes:
        return b"".join(part.plaintext for part in self.parts)

    def stored(self, encrypt_key: str, bucket: str, key: str) -> Stored:
        return Stored(self.body(), {"isec": self.envelope(encrypt_key, bucket, key)})

    def body(self) -> bytes:
        plaintext = self.plaintext
        if len(plaintext) < FIVE_MIB:
            context = b"s3proxy/v1/object\0" + len(plaintext).to_bytes(8, "big")
            return message(self.dek, context, plaintext)
        body = b"".join(part.sealed for part in self.parts)
        seal = message(self.dek, b"s3proxy/v1/seal", self.list())
        footer = len(seal).to_bytes(4, "big") + b"s3p1seal"
        padding = stored_length(len(plaintext)) - len(body) - len(seal) - FOOTER
        return body + bytes(padding) + seal + footer

    def list(self) -> bytes:
        fields = cbor2.dumps(self.fields, canonical=True)
        entries = [part.frame + part.mark + part.checksum for part in self.parts]
        return len(fields).to_bytes(2, "big") + fields + b"".join(entries)

    def envelope(self, encrypt_key: str, bucket: str, key: str) -> str:
        kek = sealed.raw_key(encrypt_key)
        flags = _KEY_BOUND | (_PRIVATE if self.private else 0)
        binding = sealed.binding(_MULTIPART, flags, bucket, key)
        wrapped = aes_key_wrap_with_padding(sealed.expand(kek, binding), self.dek)
        envelope = {1: _MULTIPART, 2: sealed.key_name(kek), 3: wrapped, 5: flags}
        if self.private:
            private = cbor2.dumps(self.private, canonical=True)
            envelope[6] = message(self.dek, b"s3proxy/v1/private\0" + binding, private)
        return sealed.envelope_text(envelope)


def sample(plaintexts: dict[int, bytes], **fields) -> Sample:
    """Parts by number, each with its own mark; `fields` are those of [`Sample`]."""
    dek = secrets.token_bytes(32)
    return Sample(dek, [part(dek, *numbered) for numbered in plaintexts.items()], **fields)


def part(dek: bytes, number: int, plaintext: bytes) -> Part:
    context = b"s3proxy/v1/part\0" + frame(number, len(plaintext))
    sealed_part = message(dek, context, plaintext)
    return Part(number, plaintext, sealed_part, mark=sealed_part[24:32])


def changed(original: Sample, parts: list[Part]) -> Sample:
    """The same object with other parts."""
    return replace(original, parts=parts)


def frame(number: int, length: int) -> bytes:
    return struct.pack(">H", number) + length.to_bytes(6, "big")


def message(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(plaintext) + encryptor.finalize()


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
