"""Recognisable content: every 48 bytes contain a mark and their own position.

No two chunks are equal, so swapped chunks show; and the mark in a log or on a backend proves that
plaintext leaked there.
"""

from functools import lru_cache

MARKER = b"plaintext-of-the-suite-"
_PIECE = 48

SMALL = 100
"""Bytes of a body that the proxy holds in memory as a whole."""

LARGE = 1024 * 1024 + 70_000
"""Bytes of a body that streams through the proxy."""


@lru_cache(maxsize=64)
def content(size: int, name: str = "") -> bytes:
    """`size` bytes that differ by position, and by name if one is given."""
    pieces = -(-size // _PIECE)
    label = name.encode()
    text = b"".join(
        (MARKER + label + b"%d;" % number).ljust(_PIECE, b".") for number in range(pieces)
    )
    return text[:size]
