"""A deployment: a backend, the proxy in front of it, and a test's view of both."""

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from certificates import Certificates
from clients import boto3_client
from garage import Garage
from hosts import Names
from proxy import Proxy
from radosgw import RadosGateway
from sealed import Stored
from servers import EmbeddedStore, Moto, SeaweedFS
from target import SERVICE, Target

SERVERS = {
    "seaweedfs": SeaweedFS,
    "radosgw": RadosGateway,
    "moto": Moto,
    "garage": Garage,
    "embedded": EmbeddedStore,
}


class Server(Protocol):
    target: Target

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Deployment:
    """`target` is for clients, `backend` is the server behind; no `proxy` with --direct."""

    target: Target
    backend: Server
    proxy: Proxy | None

    def known_by(self, name: str) -> "Deployment":
        """The same deployment under another host name."""
        return replace(self, target=self.target.named(name))

    def stored(self, bucket: str, key: str) -> Stored:
        """An object as stored on the backend, read without the proxy."""
        answer = boto3_client(self.backend.target).get_object(Bucket=bucket, Key=key)
        return Stored(answer["Body"].read(), answer["Metadata"])


class Deployments:
    """Starts servers and proxies on first use, and keeps them for the session."""

    def __init__(
        self,
        directory: Path,
        certificates: Certificates,
        started: ExitStack,
        names: Names,
        *,
        direct: bool,
    ):
        self.direct = direct
        self._directory = directory
        self._certificates = certificates
        self._started = started
        self._names = names
        self._servers: dict[str, Server] = {}
        self._proxies: list[Proxy] = []
        self._deployments: dict[tuple[str, str], Deployment] = {}
        self._failures: dict[tuple[str, str], Exception] = {}

    def server(self, name: str) -> Server:
        if name not in self._servers:
            server = SERVERS[name](self._directory)
            self._started.callback(server.stop)
            self._servers[name] = server
        return self._servers[name]

    def get(self, backend: str, scheme: str) -> Deployment:
        """The proxy over `http` or `https` in front of a backend."""
        wanted = backend, scheme
        if wanted in self._failures:
            raise self._failures[wanted]
        if wanted not in self._deployments:
            try:
                self._deployments[wanted] = self._start(backend, scheme)
            except Exception as error:
                # A server that failed to start once fails at once for the other tests that want it.
                self._failures[wanted] = error
                raise
        return self._deployments[wanted]

    def proxy(self, server: Server, name: str, **options) -> Deployment:
        """An additional proxy with its own settings; `name` names its log."""
        proxy = Proxy(self._directory, server.target, name=name, **options)
        self._proxies.append(proxy)
        return Deployment(proxy.target, server, proxy)

    def stop_proxies(self) -> None:
        """Ends all proxies at the same time, and kills those that drain for seconds: drains have
        their own tests."""
        for proxy in self._proxies:
            proxy.terminate()
        deadline = time.monotonic() + 1
        for proxy in self._proxies:
            proxy.stop(max(0.01, deadline - time.monotonic()))

    def _start(self, backend: str, scheme: str) -> Deployment:
        # Half of all clients use a host name, the others an address.
        by_name = scheme == "https" or backend == "radosgw"
        if by_name and not self.direct:
            self._names.resolve()
        server = self.server(backend)
        if self.direct:
            return Deployment(server.target, server, proxy=None)
        certificates = self._certificates if scheme == "https" else None
        deployment = self.proxy(server, f"proxy-{backend}-{scheme}", certificates=certificates)
        return deployment.known_by(SERVICE) if by_name else deployment


def make_bucket(deployment: Deployment) -> str:
    """A bucket with a name of its own, made without the proxy."""
    name = f"e2e-{secrets.token_hex(4)}"
    boto3_client(deployment.backend.target).create_bucket(Bucket=name)
    return name
