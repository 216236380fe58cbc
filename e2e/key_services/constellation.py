"""Constellation's key service for tests: a process that can be stopped and reconfigured."""

import hashlib
import hmac
import secrets
from pathlib import Path

from certificates import Certificates
from processes import Process, accepts_connections, clean_environment, free_port
from servers import tools

SERVER = Path(__file__).with_name("constellation_server.py")
NAME = "constellation:s3proxy-kek"
ID_PREFIX = "s3proxy-kek/v1/"


class ConstellationService:
    """Listens on one loopback port while it runs, with or without TLS."""

    def __init__(self, directory: Path, name: str, certificates: Certificates | None = None):
        self._directory, self._name = directory, name
        self._certificates = certificates
        self.port = free_port()
        self.master_secret = secrets.token_bytes(32)
        self._asked = directory / f"{name}.asked"
        self._asked.touch()
        self.start()

    @property
    def scheme(self) -> str:
        return "https" if self._certificates else "http"

    def start(self, *options: str) -> None:
        """`options` are options of the test server: wrong lengths, refusals."""
        arguments = ["--port", self.port, "--master-secret", self.master_secret.hex()]
        if self._certificates:
            arguments += ["--certificates", self._certificates.directory]
        python = tools("grpc") / "python"
        self._process = Process(
            self._name,
            [python, SERVER, *arguments, "--asked", self._asked, *options],
            clean_environment(self._directory),
            self._directory / f"{self._name}.log",
        )
        self._process.wait_until(lambda: accepts_connections(self.port), "accepting connections")

    def stop(self) -> None:
        self._process.stop(seconds=0.1)

    def restart(self, *options: str) -> None:
        self.stop()
        self.start(*options)

    def asked(self) -> list[str]:
        """The ids of the keys requested so far, in order."""
        return self._asked.read_text().splitlines()

    def uses(self) -> int:
        return len(self.asked())

    def kek(self, ciphertext: bytes) -> bytes:
        """The key that the service derives from the id in an envelope, computed here."""
        extracted = hmac.digest(bytes(32), self.master_secret, hashlib.sha256)
        return hmac.digest(extracted, b"key-" + ciphertext + b"\x01", hashlib.sha256)
