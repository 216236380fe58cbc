"""Real S3 servers on loopback: the proxy's backends, and the reference for its responses.

A server listens on free ports of 127.0.0.1 and keeps its data in the run's folder. All but the
embedded store and moto accept both path style and virtual-host style. Ceph's gateway has its own
file, radosgw.py.
"""

import http.client
import json
import os
import re
import secrets
from pathlib import Path

from processes import Process, clean_environment, free_port
from target import DOMAIN, Credential, Target

OWNER = Credential("E2EOWNERACCESSKEY001", secrets.token_urlsafe(30))
"""The backend's credential, and that of the proxy's only client unless a test lists clients."""


def tools(venv: str = "test") -> Path:
    """The programs that e2e/setup installed, by the virtual environment that contains them."""
    return Path(os.environ["S3PROXY_TEST_DIR"]) / f"venv-{venv}" / "bin"


class SeaweedFS:
    """SeaweedFS in one process: master, volume, filer and the S3 gateway."""

    name = "seaweedfs"

    def __init__(self, directory: Path):
        data = directory / "seaweedfs"
        data.mkdir(parents=True)
        identities = directory / "seaweedfs-identities.json"
        identities.write_text(json.dumps({"identities": [_identity("owner", OWNER)]}))
        port = free_port()
        self.target = Target(f"http://127.0.0.1:{port}", OWNER)
        self._process = Process(
            self.name,
            [
                *(tools() / "weed", "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *(f"-dir={data}", "-master.telemetry=false", "-volume.max=5000"),
                *("-master.volumeSizeLimitMB=64", "-filer", "-s3", f"-s3.config={identities}"),
                *(f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                f"-s3.domainName={DOMAIN}",
                # The defaults are another port plus 10000, even if that port is taken.
                *(f"-{part}={free_port()}" for part in _SEAWEEDFS_PORTS),
            ],
            # One volume per bucket instead of seven: the suite creates hundreds of buckets.
            clean_environment(directory, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
            directory / "seaweedfs.log",
        )
        self._process.wait_until(lambda: answers(port), "answering S3 requests")

    def stop(self) -> None:
        # A clean shutdown takes half a minute, for data that is thrown away here.
        self._process.stop(seconds=0.1)


class EmbeddedStore:
    """The store inside `s3proxy dev`, behind a proxy of the suite instead of its own."""

    name = "embedded"

    def __init__(self, directory: Path):
        folder = directory / "dev"
        arguments = ["dev", folder, "--ip", "127.0.0.1", "--port", free_port()]
        self._process = Process(
            "s3proxy-dev",
            [os.environ["S3PROXY_BINARY"], *arguments],
            clean_environment(directory),
            directory / "s3proxy-dev.log",
        )
        try:
            self._process.wait_until(lambda: self._url() is not None, "printing its store's address")
        except BaseException:
            self._process.stop()
            raise
        secret_key = (folder / "secret").read_text().strip()
        self.target = Target(self._url().group(1), Credential("dev", secret_key))

    def stop(self) -> None:
        self._process.stop()

    def _url(self) -> re.Match | None:
        return re.search(r"store itself listens on (http://[0-9.:]+)", self._process.log_text())


class Moto:
    """moto's server: it imitates AWS, checks no signatures, and keeps objects in memory, or in
    the run's temporary files if they are large."""

    name = "moto"

    def __init__(self, directory: Path):
        port = free_port()
        self.target = Target(f"http://127.0.0.1:{port}", OWNER)
        temporary = directory / "moto"
        temporary.mkdir()
        self._process = Process(
            self.name,
            [tools("moto") / "moto_server", "-H", "127.0.0.1", "-p", port],
            clean_environment(directory, TMPDIR=str(temporary)),
            directory / "moto.log",
        )
        self._process.wait_until(lambda: answers(port), "answering S3 requests")

    def stop(self) -> None:
        self._process.stop()


_SEAWEEDFS_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
)


def _identity(name: str, credential: Credential) -> dict:
    return {
        "name": name,
        "account": {"id": f"{name}-id", "displayName": name},
        "credentials": [
            {"accessKey": credential.access_key, "secretKey": credential.secret_key},
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging", "ReadAcp", "WriteAcp"],
    }


def answers(port: int) -> bool:
    """Whether an S3 server listens there: an unsigned ListBuckets gets any response but a 5xx."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
