"""Names of servers and buckets: lines in /etc/hosts, because no resolver here has wildcard names.

Each run adds a line with its own mark and removes that line again, so parallel runs leave each
other's names alone.
"""

import os
from contextlib import contextmanager
from pathlib import Path

HOSTS = Path("/etc/hosts")
_MARK = "# s3proxy end-to-end suite"


@contextmanager
def resolving(names: list[str]):
    """Inside the block, these names resolve to 127.0.0.1."""
    line = f"127.0.0.1 {' '.join(names)} {_MARK} {os.getpid()}\n"
    before = HOSTS.read_text()
    # Written in place: if /etc/hosts is a mount, as in containers, it cannot be replaced.
    HOSTS.write_text(before + ("" if before.endswith("\n") else "\n") + line)
    try:
        yield
    finally:
        HOSTS.write_text(HOSTS.read_text().replace(line, ""))
