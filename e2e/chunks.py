"""Bodies in `aws-chunked` framing, in which a test can break every piece on purpose.

`frame` signs the request's headers and every chunk as AWS documents it, with a trailer if one is
given, and lets the caller change each frame before they are joined. The unsigned form has no chunk
signatures.
"""

import base64
import hashlib
import zlib
from dataclasses import dataclass, field

import xxhash

import raw
from target import Target

SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
MODES = {
    "signed": raw.SIGNED_CHUNKS,
    "signed-trailer": SIGNED_CHUNKS_TRAILER,
    "unsigned-trailer": raw.UNSIGNED_CHUNKS_TRAILER,
}

_OTHER_SIGNATURE = "0" * 64


@dataclass(frozen=True)
class Wrong:
    """The intended faults: chunks by number (-1 is the last, empty one), trailer signature."""

    signature_of_chunks: frozenset[int] = field(default_factory=frozenset)
    content_of_chunks: frozenset[int] = field(default_factory=frozenset)
    trailer_signature: bool = False


NOTHING = Wrong()


def wrong_signature(chunk: int) -> Wrong:
    return Wrong(signature_of_chunks=frozenset([chunk]))


def wrong_content(chunk: int) -> Wrong:
    return Wrong(content_of_chunks=frozenset([chunk]))


def frame(
    built: raw.Request,
    target: Target,
    mode: str,
    *,
    trailer: tuple[str, str] | None = None,
    wrong: Wrong = NOTHING,
    chunk_bytes: int = 65536,
) -> raw.Request:
    """Frames the body and signs. `mode` is a name in `MODES`."""
    plain = built.body
    pieces = [plain[at : at + chunk_bytes] for at in range(0, len(plain), chunk_bytes)] + [b""]
    built.set_header("x-amz-decoded-content-length", str(len(plain)))
    if trailer:
        built.set_header("x-amz-trailer", trailer[0])
    raw.sign(built, target, payload=MODES[mode])
    chain = _Chain(built, target, "unsigned" if mode == "unsigned-trailer" else "signed")
    framed = []
    for number, piece in enumerate(pieces):
        number = -1 if number == len(pieces) - 1 else number
        framed.append(chain.chunk(piece, number, wrong))
    if trailer:
        framed.append(chain.trailer(trailer, wrong))
    # The last chunk ends with an empty line; trailers precede that line.
    framed.append(b"\r\n")
    built.body = b"".join(framed)
    built.set_header("Content-Length", str(len(built.body)))
    return built


class _Chain:
    def __init__(self, built: raw.Request, target: Target, kind: str):
        self._signed = kind == "signed"
        self._previous = built.header("Authorization").rpartition("Signature=")[2]
        self._signing = raw.Signing(
            built.header("x-amz-date"), target.region, target.credential.secret_key
        )

    def chunk(self, piece: bytes, number: int, wrong: Wrong) -> bytes:
        head = f"{len(piece):x}"
        if self._signed:
            digest = hashlib.sha256(piece).hexdigest()
            signature = self._sign("PAYLOAD", raw.EMPTY_HASH, digest)
            is_wrong = number in wrong.signature_of_chunks
            head += f";chunk-signature={_OTHER_SIGNATURE if is_wrong else signature}"
        if number in wrong.content_of_chunks:
            piece = bytes([piece[0] ^ 1]) + piece[1:]
        end = b"\r\n" if piece else b""
        return head.encode() + b"\r\n" + piece + end

    def trailer(self, trailer: tuple[str, str], wrong: Wrong) -> bytes:
        line = ":".join(trailer)
        text = line + "\r\n"
        if self._signed:
            signature = self._sign("TRAILER", hashlib.sha256((line + "\n").encode()).hexdigest())
            if wrong.trailer_signature:
                signature = _OTHER_SIGNATURE
            text += f"x-amz-trailer-signature:{signature}\r\n"
        return text.encode()

    def _sign(self, what: str, *digests: str) -> str:
        lines = [f"{raw.ALGORITHM}-{what}", self._signing.time, self._signing.scope, self._previous]
        self._previous = self._signing.signature("\n".join([*lines, *digests]))
        return self._previous


def checksum(algorithm: str, content: bytes) -> str:
    """The value of `x-amz-checksum-<algorithm>`; the CRCs in plain Python, for small content."""
    if algorithm in ("md5", "sha1", "sha256", "sha512"):
        value = hashlib.new(algorithm, content).digest()
    elif algorithm in _XXHASHES:
        value = _XXHASHES[algorithm](content)
    elif algorithm == "crc32":
        value = zlib.crc32(content).to_bytes(4, "big")
    elif algorithm == "crc32c":
        value = _reflected_crc(content, 0x82F63B78, 32)
    elif algorithm == "crc64nvme":
        value = _reflected_crc(content, 0x9A6C9329AC4BC9B5, 64)
    else:
        raise ValueError(f"{algorithm} is no checksum algorithm of S3's")
    return base64.b64encode(value).decode()


_XXHASHES = {
    "xxhash64": xxhash.xxh64_digest,
    "xxhash3": xxhash.xxh3_64_digest,
    "xxhash128": xxhash.xxh3_128_digest,
}

ALGORITHMS = ["crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512", *_XXHASHES]


def _reflected_crc(content: bytes, polynomial: int, bits: int) -> bytes:
    everything = (1 << bits) - 1
    value = everything
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return (value ^ everything).to_bytes(bits // 8, "big")
