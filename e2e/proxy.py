"""The program under test, started as a user would start it: environment, flags, a settings file."""

import base64
import http.client
import os
import secrets
import signal
import subprocess
from pathlib import Path

import raw
from certificates import Certificates
from processes import Process, clean_environment, free_port, run
from target import DOMAIN, Target

VIRTUAL_HOSTS = f"""
[listen]
virtual_host_domains = ["{DOMAIN}"]
drain_delay = "0s"
"""


def new_key() -> str:
    """A raw key-encryption key in the configured form."""
    return "s3pk1." + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def binary() -> Path:
    return Path(os.environ["S3PROXY_BINARY"])


class Proxy:
    """A running s3proxy in front of one backend; its clients use `target`.

    The client's credential is the backend's, unless `settings` lists others. `settings` is the text
    of a TOML file. `environment` adds to the variables set here or replaces them; `None` removes
    one. `awaited` is the probe that has to answer 200 before the program counts as started.
    """

    def __init__(
        self,
        directory: Path,
        backend: Target,
        *,
        name: str,
        certificates: Certificates | None = None,
        settings: str = VIRTUAL_HOSTS,
        environment: dict[str, str | None] | None = None,
        awaited: str = "readyz",
    ):
        self.backend = backend
        self.key = (environment or {}).get("S3PROXY_ENCRYPT_KEY") or new_key()
        self._name = name
        self._awaited = awaited
        self._directory = directory
        self._variables = {
            "S3PROXY_HOST": backend.url,
            "S3PROXY_ENCRYPT_KEY": self.key,
            "AWS_ACCESS_KEY_ID": backend.credential.access_key,
            "AWS_SECRET_ACCESS_KEY": backend.credential.secret_key,
            "AWS_REGION": backend.region,
        } | (environment or {})
        self.port = free_port()
        self._config = directory / f"{name}.toml"
        self._config.write_text(settings)
        self._tls = ["--cert", certificates.directory] if certificates else ["--no-tls"]
        scheme = "https" if certificates else "http"
        self.target = Target(
            f"{scheme}://127.0.0.1:{self.port}",
            backend.credential,
            backend.region,
            ca_file=certificates.ca_file if certificates else None,
        )
        self.start()

    def start(self) -> None:
        """Starts the program, on the same port as in an earlier run."""
        listen = ["--ip", "127.0.0.1", "--port", self.port, *self._tls]
        self._process = Process(
            self._name,
            [binary(), "--config", self._config, *listen],
            self._environment(),
            self._directory / f"{self._name}.log",
        )
        try:
            self._process.wait_until(self._is_ready, "ready")
        except BaseException:
            self._process.stop()
            raise

    def command(self, name: str, *arguments: str) -> str:
        """Runs another command of the program with the same settings, and returns its output."""
        return run([binary(), name, "--config", self._config, *arguments], self._environment())

    def finish(self, name: str, *arguments) -> subprocess.CompletedProcess:
        """Runs another command of the program until it exits, with any status."""
        return subprocess.run(
            [binary(), name, "--config", self._config, *map(str, arguments)],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def write_settings(self, text: str) -> None:
        """Replaces the settings file, as editors do. The running program notices the change."""
        next_file = self._config.with_suffix(".next")
        next_file.write_text(text)
        next_file.rename(self._config)

    def write_settings_over(self, text: str) -> None:
        """Writes into the existing settings file, which is empty for a moment."""
        self._config.write_text(text)

    def hang_up(self) -> None:
        """Has the running program reload its configuration."""
        os.kill(self.process_id, signal.SIGHUP)

    def kill(self) -> None:
        """Kills the program at once, as if the machine had failed."""
        self._process.kill()

    def _environment(self) -> dict[str, str]:
        set_here = {name: value for name, value in self._variables.items() if value is not None}
        return clean_environment(self._directory, **set_here)

    def _is_ready(self) -> bool:
        try:
            probe = raw.request(self.target, "GET", key=self._awaited)
            return raw.send(probe, self.target).status == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def process_id(self) -> int:
        return self._process.process_id

    def log_text(self) -> str:
        """Complete lines only: a reader may see part of a line that is being written."""
        whole, newline, _ = self._process.log_text().rpartition("\n")
        return whole + newline

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Waits until the log contains a text `count` times."""
        self._process.wait_until(
            lambda: self.log_text().count(text) >= count, f"logging {text} {count} times", seconds=20
        )

    def terminate(self) -> None:
        """Asks the proxy to drain and end, and does not wait for it."""
        self._process.terminate()

    def stop(self, seconds: float = 20) -> int:
        """Has the proxy drain and exit, and returns its exit status; kills it after `seconds`."""
        return self._process.stop(seconds)
