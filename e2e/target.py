"""A client's target: one S3 endpoint, with the client's credential."""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

DOMAIN = "s3.test.local"
"""The virtual-host domain of every server here; hosts.py makes its names resolve."""

SERVICE = "s3proxy.storage.svc.cluster.local"
"""A name of a proxy that its settings do not mention, such as that of a Kubernetes Service."""

PATH = "path"
VIRTUAL_HOST = "virtual-host"


@dataclass(frozen=True)
class Credential:
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Target:
    url: str
    credential: Credential
    region: str = "us-east-1"
    style: str = PATH
    ca_file: Path | None = None

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    @property
    def authority(self) -> str:
        """Host and port, as clients write them into the Host header."""
        return urlsplit(self.url).netloc

    def in_style(self, style: str) -> "Target":
        """The same endpoint, addressed by path or by one host name per bucket."""
        target = replace(self, style=style)
        return target.named(DOMAIN) if style == VIRTUAL_HOST else target

    def named(self, host: str) -> "Target":
        """The same endpoint under another name."""
        return replace(self, url=f"{self.scheme}://{host}:{self.port}")

    def known_as(self, credential: Credential) -> "Target":
        return replace(self, credential=credential)
