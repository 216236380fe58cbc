"""Names for virtual-host style: lines in /etc/hosts, as no resolver here answers for wildcards.

Each run adds a line with a mark of its own and takes that one away again, so that runs side by side
leave each other's names alone.
"""

import os
from contextlib import contextmanager
from pathlib import Path

from target import DOMAIN

HOSTS = Path("/etc/hosts")
_MARK = "# s3proxy end-to-end suite"


@contextmanager
def resolving(buckets: list[str]):
    """While it lasts, the virtual-host domain and these buckets under it are 127.0.0.1."""
    names = " ".join([DOMAIN, *(f"{bucket}.{DOMAIN}" for bucket in buckets)])
    line = f"127.0.0.1 {names} {_MARK} {os.getpid()}\n"
    before = HOSTS.read_text()
    # Written in place: where /etc/hosts is a mount, as in containers, it cannot be replaced.
    HOSTS.write_text(before + ("" if before.endswith("\n") else "\n") + line)
    try:
        yield
    finally:
        HOSTS.write_text(HOSTS.read_text().replace(line, ""))
