"""Content that can be found again: every 48 bytes carry a mark and their own position.

No two chunks of it are equal, so that exchanged ones show, and whoever finds the mark in a log or
on a backend knows that plaintext got there.
"""

MARKER = b"plaintext-of-the-suite-"
_PIECE = 48

SMALL = 100
"""Bytes of a body that the proxy holds whole."""

LARGE = 1024 * 1024 + 70_000
"""Bytes of a body that streams through the proxy."""


def content(size: int, name: str = "") -> bytes:
    """`size` bytes that differ by position, and by name where one is given."""
    pieces = -(-size // _PIECE)
    label = name.encode()
    text = b"".join(
        (MARKER + label + b"%d;" % number).ljust(_PIECE, b".") for number in range(pieces)
    )
    return text[:size]
