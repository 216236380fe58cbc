"""The program under test, started as a user would start it: environment, flags, a settings file."""

import base64
import http.client
import os
import secrets
import ssl
from pathlib import Path

from certificates import Certificates
from processes import Process, clean_environment, free_port
from sealed import Stored
from target import DOMAIN, Credential, Target

VIRTUAL_HOSTS = f"""
[listen]
virtual_host_domains = ["{DOMAIN}"]
"""


def new_key() -> str:
    """A raw key-encryption key in the configured form."""
    return "s3pk1." + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def binary() -> Path:
    return Path(os.environ["S3PROXY_BINARY"])


class Proxy:
    """A running s3proxy in front of one backend; `target` is what its clients use.

    The client's credential is the backend's, unless `settings` lists others. `settings` is the text
    of a TOML file, `environment` holds further variables or replaces those set here.
    """

    def __init__(
        self,
        directory: Path,
        backend: Target,
        *,
        name: str,
        certificates: Certificates | None = None,
        settings: str = VIRTUAL_HOSTS,
        environment: dict[str, str] | None = None,
    ):
        self.backend = backend
        self.key = new_key()
        variables = {
            "S3PROXY_HOST": backend.url,
            "S3PROXY_ENCRYPT_KEY": self.key,
            "AWS_ACCESS_KEY_ID": backend.credential.access_key,
            "AWS_SECRET_ACCESS_KEY": backend.credential.secret_key,
            "AWS_REGION": backend.region,
        } | (environment or {})
        self._start(directory, ["serve"], name, certificates, settings, variables)
        self.target = self._target(backend.credential, backend.region, certificates)

    def _start(
        self,
        directory: Path,
        command: list,
        name: str,
        certificates: Certificates | None,
        settings: str,
        variables: dict[str, str],
    ) -> None:
        self._port = free_port()
        config = directory / f"{name}.toml"
        config.write_text(settings)
        tls = ["--cert", certificates.directory] if certificates else ["--no-tls"]
        self._process = Process(
            name,
            [
                *(binary(), *command, "--config", config),
                *("--ip", "127.0.0.1", "--port", self._port, *tls),
            ],
            clean_environment(directory, **variables),
            directory / f"{name}.log",
        )
        try:
            self._process.wait_until(lambda: self._is_ready(certificates), "ready")
        except BaseException:
            self._process.stop()
            raise

    def _target(
        self, credential: Credential, region: str, certificates: Certificates | None
    ) -> Target:
        scheme = "https" if certificates else "http"
        ca_file = certificates.ca_file if certificates else None
        return Target(f"{scheme}://127.0.0.1:{self._port}", credential, region, ca_file=ca_file)

    def _is_ready(self, certificates: Certificates | None) -> bool:
        if certificates:
            context = ssl.create_default_context(cafile=certificates.ca_file)
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, timeout=5, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    @property
    def process_id(self) -> int:
        return self._process.process_id

    def log_text(self) -> str:
        return self._process.log_text()

    def stop(self) -> int:
        """Asks the proxy to drain and end, and returns its exit status."""
        return self._process.stop()


class DevProxy(Proxy):
    """`s3proxy dev`: the proxy with the store that it embeds, objects as files in a folder."""

    def __init__(self, directory: Path, *, name: str, certificates: Certificates | None = None):
        self.key = new_key()
        self._store = directory / f"{name}-store"
        credential = Credential("E2EDEVELOPERACCESSKEY", secrets.token_urlsafe(30))
        variables = {
            "S3PROXY_ENCRYPT_KEY": self.key,
            "AWS_ACCESS_KEY_ID": credential.access_key,
            "AWS_SECRET_ACCESS_KEY": credential.secret_key,
            "AWS_REGION": "us-east-1",
        }
        command = ["dev", self._store]
        self._start(directory, command, name, certificates, VIRTUAL_HOSTS, variables)
        self.target = self._target(credential, "us-east-1", certificates)

    def stored(self, bucket: str, key: str) -> Stored:
        raise NotImplementedError("reading the embedded store's files")
