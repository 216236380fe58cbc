"""Folders of files with fixed content, and whether two of them hold the same bytes."""

import os
import random
from pathlib import Path

from content import MARKER

KIB = 1024
MIB = 1024 * KIB

_EVERY = 64 * KIB
_WRITTEN_AT = 1_700_000_000

MULTIPART_SIZES = [0, 1, 16 * KIB + 1, 5 * MIB, 5 * MIB + 1, 12 * MIB + 345]
"""Sizes around a chunk and a part of 5 MiB, on both sides of multipart thresholds."""


def content(seed: int, size: int) -> bytes:
    """Incompressible bytes, the same for one seed and size, with the mark of content.py."""
    filled = bytearray(random.Random(f"{seed}/{size}").randbytes(size))
    for at in range(0, size - len(MARKER) + 1, _EVERY):
        filled[at : at + len(MARKER)] = MARKER
    return bytes(filled)


def write_files(directory: Path, sizes: dict[str, int]) -> None:
    """Writes a file of each size under its name, with an old modification time; names may contain
    folders.

    The time is old because some clients count a file as changed if it is as young as its upload.
    """
    for seed, (name, size) in enumerate(sizes.items()):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(seed, size))
        os.utime(path, (_WRITTEN_AT, _WRITTEN_AT))


def read_files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def assert_same_files(received: Path, expected: Path) -> None:
    """Fails with the names that are missing, unexpected or different, never with their bytes."""
    left, right = read_files(received), read_files(expected)
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name]] == []
