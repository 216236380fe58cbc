"""Names of servers and buckets: lines in /etc/hosts, because no resolver here has wildcard names.

Each run adds a line with its own mark and removes that line again, so parallel runs leave each
other's names alone. The line is added when the first test needs a name: most tests use addresses,
and run without root.
"""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

HOSTS = Path("/etc/hosts")
_MARK = "# s3proxy end-to-end suite"


class Names:
    """Names that resolve to 127.0.0.1 from `resolve` to `release`."""

    def __init__(self, names: list[str]):
        self._line = f"127.0.0.1 {' '.join(names)} {_MARK} {os.getpid()}\n"
        self._are_resolved = False

    def resolve(self) -> None:
        if self._are_resolved:
            return
        if not os.access(HOSTS, os.W_OK):
            pytest.skip(f"this test needs names in {HOSTS}, which only root can add")
        with _locked() as hosts:
            before = hosts.read()
            hosts.write(("" if before.endswith("\n") else "\n") + self._line)
        self._are_resolved = True

    def release(self) -> None:
        if self._are_resolved:
            with _locked() as hosts:
                others = hosts.read().replace(self._line, "")
                hosts.seek(0)
                hosts.write(others)
                hosts.truncate()


@contextmanager
def _locked():
    """The file, without another run writing it meanwhile. It is written in place: if /etc/hosts is
    a mount, as in containers, it cannot be replaced."""
    with HOSTS.open("r+") as hosts:
        fcntl.flock(hosts, fcntl.LOCK_EX)
        yield hosts
