"""Names of servers and buckets: lines in /etc/hosts, as no resolver here answers for wildcards.

Each run adds a line with a mark of its own and takes that one away again, so that runs side by side
leave each other's names alone.
"""

import os
from contextlib import contextmanager
from pathlib import Path

HOSTS = Path("/etc/hosts")
_MARK = "# s3proxy end-to-end suite"


@contextmanager
def resolving(names: list[str]):
    """While it lasts, these names are 127.0.0.1."""
    line = f"127.0.0.1 {' '.join(names)} {_MARK} {os.getpid()}\n"
    before = HOSTS.read_text()
    # Written in place: where /etc/hosts is a mount, as in containers, it cannot be replaced.
    HOSTS.write_text(before + ("" if before.endswith("\n") else "\n") + line)
    try:
        yield
    finally:
        HOSTS.write_text(HOSTS.read_text().replace(line, ""))
