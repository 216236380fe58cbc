"""Garage, if it is installed: no package that the suite can install contains it, and building it is
slow.

The path of the program comes from S3PROXY_GARAGE, or else from PATH. A one-node cluster keeps data
and metadata in the run's folder. Its region is Garage's default, which differs from the other
servers' region.
"""

import os
import re
import secrets
import shutil
from pathlib import Path

from processes import Process, clean_environment, free_port, run
from servers import answers
from target import DOMAIN, Credential, Target

_REGION = "garage"


def program() -> str | None:
    """The garage program, or None if there is none."""
    named = os.environ.get("S3PROXY_GARAGE")
    if named and not shutil.which(named):
        raise FileNotFoundError(f"S3PROXY_GARAGE is {named}, which is no program")
    return named or shutil.which("garage")


def version() -> str:
    """The version number, like 2.5.0."""
    printed = run([program(), "--version"], clean_environment(Path.home()))
    return re.search(r"\d+\.\d+\.\d+", printed)[0]


class Garage:
    """One node; `target` is its S3 endpoint, with a key that may create buckets."""

    name = "garage"

    def __init__(self, directory: Path):
        state = directory / "garage"
        state.mkdir()
        config, port = state / "garage.toml", free_port()
        config.write_text(_configuration(state, port))
        # Garage accepts no other form of keys.
        credential = Credential(f"GK{secrets.token_hex(12)}", secrets.token_hex(32))
        self.target = Target(f"http://127.0.0.1:{port}", credential, _REGION)
        environment = clean_environment(
            directory,
            GARAGE_DEFAULT_ACCESS_KEY=credential.access_key,
            GARAGE_DEFAULT_SECRET_KEY=credential.secret_key,
        )
        self._process = Process(
            self.name,
            [program(), "-c", config, "server", "--single-node", "--default-access-key"],
            environment,
            directory / "garage.log",
        )
        self._process.wait_until(lambda: answers(port), "answering S3 requests")

    def stop(self) -> None:
        self._process.stop()


def _configuration(state: Path, port: int) -> str:
    internal, web = free_port(), free_port()
    return f"""
metadata_dir = "{state}/meta"
data_dir = "{state}/data"
db_engine = "lmdb"
metadata_fsync = false
data_fsync = false
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{internal}"
rpc_public_addr = "127.0.0.1:{internal}"
rpc_secret = "{secrets.token_hex(32)}"

[s3_api]
s3_region = "{_REGION}"
api_bind_addr = "127.0.0.1:{port}"
root_domain = ".{DOMAIN}"

[s3_web]
bind_addr = "127.0.0.1:{web}"
root_domain = ".web.{DOMAIN}"
index = "index.html"
"""
