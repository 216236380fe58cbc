"""One user of Transit, set up as the operators of an OpenBao server would do it.

A tenant has keys in a Transit engine, a policy as given in docs/keys.md, and logins with that
policy and no other. Tenants share a server and do not see each other.
"""

import base64
import secrets
from datetime import datetime, timezone
from pathlib import Path

from key_services.kubernetes import NAMESPACE, SERVICE_ACCOUNT, Cluster
from key_services.openbao import OpenBao


class Tenant:
    """`uses`, `logins` and `renewals` come from the server's audit log."""

    role = "s3proxy"

    def __init__(
        self,
        server: OpenBao,
        *,
        mount: str = "transit",
        login_mount: str | None = None,
        namespace: str = "",
    ):
        self.server, self.mount, self.namespace = server, mount, namespace
        self._policy = f"policy-{secrets.token_hex(4)}"
        self._allowed: dict[str, tuple[str, ...]] = {}
        self._backups: dict[str, str] = {}
        self._tokens: list[str] = []
        self._make_namespace()
        server.enable("mounts", mount, "transit", namespace)
        self.login_mount = login_mount or f"approle-{secrets.token_hex(4)}"
        server.enable("auth", self.login_mount, "approle", namespace)
        self.set_up_logins()
        role_id = self._ask("GET", f"auth/{self.login_mount}/role/{self.role}/role-id")
        self.role_id = role_id["data"]["role_id"]
        self.secret_id = secrets.token_hex(8)
        self.accept_secret_id()

    def _make_namespace(self) -> None:
        parents: list[str] = []
        for name in filter(None, self.namespace.split("/")):
            self.server.ask("POST", f"sys/namespaces/{name}", namespace="/".join(parents))
            parents.append(name)

    def _ask(self, method: str, path: str, body: dict | None = None) -> dict:
        return self.server.ask(method, path, body, self.namespace)

    # Keys

    def new_key(self, name: str | None = None, kind: str = "aes256-gcm96", **settings) -> str:
        name = name or f"key-{secrets.token_hex(4)}"
        self._ask("POST", f"{self.mount}/keys/{name}", {"type": kind} | settings)
        self.allow(name, "encrypt", "decrypt")
        return name

    def allow(self, key: str, *operations: str) -> None:
        """Allows the logins exactly these operations with a key."""
        self._allowed[key] = operations
        rules = [
            f'path "{self.mount}/{operation}/{name}" {{ capabilities = ["update"] }}'
            for name, operations in self._allowed.items()
            for operation in operations
        ]
        self._ask("POST", f"sys/policies/acl/{self._policy}", {"policy": "\n".join(rules)})

    def rotate(self, key: str) -> None:
        self._ask("POST", f"{self.mount}/keys/{key}/rotate")

    def configure(self, key: str, **settings) -> None:
        self._ask("POST", f"{self.mount}/keys/{key}/config", settings)

    def disable(self, key: str) -> None:
        """Disables a key; OpenBao calls it a soft deletion."""
        self._ask("DELETE", f"{self.mount}/keys/{key}/soft-delete")

    def enable(self, key: str) -> None:
        self._ask("POST", f"{self.mount}/keys/{key}/soft-delete-restore")

    def delete(self, key: str) -> None:
        self.configure(key, deletion_allowed=True, exportable=True, allow_plaintext_backup=True)
        self._backups[key] = self._ask("GET", f"{self.mount}/backup/{key}")["data"]["backup"]
        self._ask("DELETE", f"{self.mount}/keys/{key}")

    def restore(self, key: str) -> None:
        self._ask("POST", f"{self.mount}/restore/{key}", {"backup": self._backups[key]})

    def encrypt(self, key: str, plaintext: bytes) -> bytes:
        body = {"plaintext": base64.b64encode(plaintext).decode()}
        return self._ask("POST", f"{self.mount}/encrypt/{key}", body)["data"]["ciphertext"].encode()

    def kek(self, key: str, ciphertext: bytes) -> bytes:
        body = {"ciphertext": ciphertext.decode()}
        answer = self._ask("POST", f"{self.mount}/decrypt/{key}", body)
        return base64.b64decode(answer["data"]["plaintext"])

    def envelope_name(self, key: str) -> str:
        return f"vault:{self.mount}/{key}"

    # Logins

    def set_up_logins(self, **settings) -> None:
        """Changes settings of the role, such as `token_ttl`; all others keep their values."""
        wanted = {"token_policies": self._policy} | settings
        self._ask("POST", f"auth/{self.login_mount}/role/{self.role}", wanted)

    def accept_secret_id(self) -> None:
        path = f"auth/{self.login_mount}/role/{self.role}/custom-secret-id"
        self._ask("POST", path, {"secret_id": self.secret_id})

    def forget_secret_id(self) -> None:
        path = f"auth/{self.login_mount}/role/{self.role}/secret-id/destroy"
        self._ask("POST", path, {"secret_id": self.secret_id})

    def trust(self, cluster: Cluster) -> None:
        """From here on, the tenant's logins are those of a service account of this cluster."""
        self.login_mount = "kubernetes"
        self.server.enable("auth", self.login_mount, "kubernetes", self.namespace)
        configuration = {
            "kubernetes_host": cluster.address,
            "kubernetes_ca_cert": cluster.ca,
            "token_reviewer_jwt": cluster.reviewer,
            "disable_local_ca_jwt": True,
        }
        self._ask("POST", f"auth/{self.login_mount}/config", configuration)
        self.set_up_logins(
            bound_service_account_names=SERVICE_ACCOUNT,
            bound_service_account_namespaces=NAMESPACE,
        )

    def new_token(self, **settings) -> str:
        """A token created without a login, with settings such as `ttl`."""
        wanted = {"policies": [self._policy]} | settings
        token = self._ask("POST", "auth/token/create", wanted)["auth"]["client_token"]
        self._tokens.append(token)
        return token

    def is_valid(self, token: str) -> bool:
        status, _ = self.server.answer("POST", "auth/token/lookup", {"token": token})
        return status == 200

    def revoke_all(self) -> None:
        self._ask("PUT", f"sys/leases/revoke-prefix/auth/{self.login_mount}/login", {"sync": True})
        while self._tokens:
            self._ask("POST", "auth/token/revoke", {"token": self._tokens.pop()})

    # The audit log

    def uses(self, key: str) -> int:
        paths = [f"{self.mount}/{operation}/{key}" for operation in ("encrypt", "decrypt")]
        return sum(asked.path in paths for asked in self._asked())

    @property
    def logins(self) -> int:
        return len(self._logins())

    @property
    def renewals(self) -> int:
        return sum(
            asked.path == "auth/token/renew-self" and self._policy in asked.policies
            for asked in self._asked()
        )

    def seconds_since_login(self) -> float:
        latest = max(asked.at for asked in self._logins())
        return (datetime.now(timezone.utc) - latest).total_seconds()

    def _logins(self):
        return [asked for asked in self._asked() if asked.path == f"auth/{self.login_mount}/login"]

    def _asked(self):
        return [
            asked
            for asked in self.server.asked()
            if asked.namespace.rstrip("/") == self.namespace
        ]


def key_entry(vault: Tenant, key: str, login: str | None = None, *, trusting: bool = True) -> str:
    """The proxy's settings for a key; settings at their defaults are left out."""
    lines = ["[[keys.vault]]", f'address = "{vault.server.address}"', f'key = "{key}"']
    if vault.server.ca_file and trusting:
        lines.append(f'ca = "{vault.server.ca_file}"')
    if vault.mount != "transit":
        lines.append(f'mount = "{vault.mount}"')
    if vault.namespace:
        lines.append(f'namespace = "{vault.namespace}"')
    return "\n".join([*lines, login or approle_login(vault), ""])


def approle_login(vault: Tenant) -> str:
    lines = ['auth = "approle"', f'role_id = "{vault.role_id}"', f'secret_id = "{vault.secret_id}"']
    if vault.login_mount != "approle":
        lines.append(f'auth_mount = "{vault.login_mount}"')
    return "\n".join(lines)


def kubernetes_login(vault: Tenant, token_file: Path) -> str:
    return f'auth = "kubernetes"\nrole = "{vault.role}"\njwt_file = "{token_file}"'


def token_login(token: str) -> str:
    return f'token = "{token}"'
