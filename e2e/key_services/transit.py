"""A stand-in for the server of OpenBao: what the proxy uses of Transit, tokens, AppRole, Kubernetes.

OpenBao itself could not be installed where this was written: its Go module was refused. So this is
written from its published documentation and the messages that its sources have, and shows that the
proxy speaks that protocol as understood, not that OpenBao does. What is kept to, since tests rest on
it:

- ciphertexts are `vault:v<version>:<base64>`, of AES-256-GCM under the named version; versions below
  `min_decryption_version` and above the newest are 400 with Transit's words, and so is a failed tag;
- policies give `update` on one key's two paths, so encrypting under a missing key is 403, since it
  would create the key, and decrypting under one is 400;
- tokens have a lease, renewable up to a maximum, belong to a namespace, and are 403 once they end;
- a sealed server answers 503, on `sys/health` too.

In place of the TokenReview of a Kubernetes cluster, one service account's token is known here.
"""

import base64
import json
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certificates import Certificates


@dataclass
class TransitKey:
    kind: str = "aes256-gcm96"
    versions: list[bytes] = field(default_factory=lambda: [secrets.token_bytes(32)])
    oldest_usable: int = 1

    def encrypt(self, plaintext: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(self.versions[-1]).encrypt(nonce, plaintext, None)
        return f"vault:v{len(self.versions)}:{base64.b64encode(sealed).decode()}".encode()

    def decrypt(self, ciphertext: str) -> bytes:
        if not ciphertext.startswith("vault:v"):
            raise Refusal(400, "invalid ciphertext: no prefix")
        version, _, encoded = ciphertext.removeprefix("vault:v").partition(":")
        if int(version) > len(self.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        if int(version) < self.oldest_usable:
            raise Refusal(
                400, "ciphertext or signature version is disallowed by policy (too old)"
            )
        sealed = base64.b64decode(encoded)
        try:
            return AESGCM(self.versions[int(version) - 1]).decrypt(sealed[:12], sealed[12:], None)
        except (InvalidTag, ValueError):
            raise Refusal(400, "cipher: message authentication failed") from None


@dataclass
class Token:
    namespace: str
    keys: set[str] | None
    """Those that its policy is about; all where it is about all."""
    lease: float | None
    ends: float | None
    last_end: float | None

    def seconds_left(self) -> int:
        return 0 if self.ends is None else max(0, round(self.ends - time.monotonic()))

    def has_ended(self) -> bool:
        return self.ends is not None and self.ends <= time.monotonic()

    def renew(self) -> None:
        self.ends = min(time.monotonic() + self.lease, self.last_end)


@dataclass
class Lease:
    """Of the tokens that logins give, in seconds."""

    length: float = 3600
    longest: float = 7200


class Refusal(Exception):
    def __init__(self, status: int, error: str):
        self.status, self.error = status, error


class Transit:
    """One server with one Transit engine; `uses`, `logins` and `renewals` are its audit log."""

    def __init__(
        self,
        *,
        mount: str = "transit",
        login_mounts: tuple[str, str] = ("approle", "kubernetes"),
        namespace: str = "",
        certificates: Certificates | None = None,
    ):
        self.mount, self.namespace = mount, namespace
        self.keys: dict[str, TransitKey] = {}
        self.lease = Lease()
        self.role_id, self.secret_id = secrets.token_hex(8), secrets.token_hex(8)
        self.role, self.jwt = "s3proxy", secrets.token_hex(16)
        self.sealed = False
        self.uses_of: list[tuple[str, str]] = []
        self.logins = self.renewals = 0
        self._last_login = time.monotonic()
        self._approle, self._kubernetes = login_mounts
        self._tokens: dict[str, Token] = {}
        self._lock = threading.RLock()
        self._certificates = certificates
        self._connections: set[socket.socket] = set()
        self._port = 0
        self.start()
        scheme = "https" if certificates else "http"
        self.address = f"{scheme}://127.0.0.1:{self._port}"

    # What an operator does

    def new_key(self, kind: str = "aes256-gcm96") -> str:
        name = f"key-{secrets.token_hex(4)}"
        self.keys[name] = TransitKey(kind)
        return name

    def rotate(self, key: str) -> None:
        self.keys[key].versions.append(secrets.token_bytes(32))

    def new_token(self, *keys: str, lease: float | None = None) -> str:
        """A token of its own, for these keys; without a lease it does not end."""
        with self._lock:
            return self._issue(set(keys), Lease(lease, 1e9) if lease else None)

    def revoke_all(self) -> None:
        with self._lock:
            self._tokens.clear()

    def seconds_since_login(self) -> float:
        return time.monotonic() - self._last_login

    def uses(self, key: str) -> int:
        return sum(name == key for _, name in self.uses_of)

    def kek(self, key: str, ciphertext: bytes) -> bytes:
        return self.keys[key].decrypt(ciphertext.decode())

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_port
        if self._certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            folder = self._certificates.directory
            context.load_cert_chain(folder / "s3proxy.crt", folder / "s3proxy.key")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more, and connections are cut."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            connection.close_now()
        self._connections.clear()

    # What the proxy asks

    def answer(self, method: str, path: str, headers, body: dict) -> dict:
        if headers.get("X-Vault-Request") != "true":
            raise Refusal(412, "required header is missing")
        pieces = path.partition("?")[0].removeprefix("/v1/").split("/")
        if pieces == ["sys", "health"]:
            if self.sealed:
                raise Refusal(503, "")
            return {"initialized": True, "sealed": False}
        if self.sealed:
            raise Refusal(503, "Vault is sealed")
        with self._lock:
            namespace = headers.get("X-Vault-Namespace", "")
            if pieces == ["auth", self._approle, "login"]:
                return self._log_in(namespace, body, self._approle_matches(body))
            if pieces == ["auth", self._kubernetes, "login"]:
                return self._log_in(namespace, body, self._kubernetes_matches(body))
            token = self._tokens.get(headers.get("X-Vault-Token", ""))
            if token is None or token.has_ended() or token.namespace != namespace:
                raise Refusal(403, "permission denied")
            if (method, pieces) == ("GET", ["auth", "token", "lookup-self"]):
                renewable = token.lease is not None
                return {"data": {"ttl": token.seconds_left(), "renewable": renewable}}
            if (method, pieces) == ("POST", ["auth", "token", "renew-self"]):
                return self._renew(headers["X-Vault-Token"], token)
            return self._use(token, method, pieces, body)

    def _use(self, token: Token, method: str, pieces: list[str], body: dict) -> dict:
        *mount, operation, name = pieces
        if "/".join(mount) != self.mount or operation not in ("encrypt", "decrypt"):
            raise Refusal(403, "permission denied")
        self.uses_of.append((operation, name))
        key = self.keys.get(name)
        covered = token.keys is None or name in token.keys
        if not covered or (key is None and operation == "encrypt"):
            raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")
        if key is None:
            raise Refusal(400, "encryption key not found")
        if key.kind != "aes256-gcm96":
            raise Refusal(400, f"message {operation}ion not supported for key type {key.kind}")
        if operation == "encrypt":
            ciphertext = key.encrypt(base64.b64decode(body["plaintext"])).decode()
            return {"data": {"ciphertext": ciphertext, "key_version": len(key.versions)}}
        plaintext = key.decrypt(body["ciphertext"])
        return {"data": {"plaintext": base64.b64encode(plaintext).decode()}}

    def _approle_matches(self, body: dict) -> bool:
        return (body["role_id"], body["secret_id"]) == (self.role_id, self.secret_id)

    def _kubernetes_matches(self, body: dict) -> bool:
        return (body["role"], body["jwt"]) == (self.role, self.jwt)

    def _log_in(self, namespace: str, body: dict, matches: bool) -> dict:
        self.logins += 1
        self._last_login = time.monotonic()
        if namespace != self.namespace or not matches:
            raise Refusal(400, "invalid role or secret ID")
        return self._auth(self._issue(None, self.lease))

    def _issue(self, keys: set[str] | None, lease: Lease | None) -> str:
        text = "s." + secrets.token_hex(12)
        now = time.monotonic()
        self._tokens[text] = Token(
            self.namespace,
            keys,
            lease and lease.length,
            lease and now + min(lease.length, lease.longest),
            lease and now + lease.longest,
        )
        return text

    def _renew(self, text: str, token: Token) -> dict:
        if token.lease is None:
            raise Refusal(400, "lease is not renewable")
        self.renewals += 1
        token.renew()
        return self._auth(text)

    def _auth(self, text: str) -> dict:
        token = self._tokens[text]
        return {
            "auth": {
                "client_token": text,
                "lease_duration": token.seconds_left(),
                "renewable": token.lease is not None,
            }
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """A connection that was cut is no error here."""


def _handler(transit: Transit):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            transit._connections.add(self)

        def finish(self):
            transit._connections.discard(self)
            super().finish()

        def close_now(self):
            self.connection.shutdown(socket.SHUT_RDWR)

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status = 200
                answer = transit.answer(
                    self.command, self.path, self.headers, json.loads(body or b"{}")
                )
            except Refusal as refusal:
                status, answer = refusal.status, {"errors": [refusal.error]}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = handle_any

        def log_message(self, format, *arguments):
            """Silent: the lists of the server are the log."""

    return Handler
