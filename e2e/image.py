"""The image, built around the program under test, and containers of it as `docker run` starts them.

PROXY_IMAGE names an existing image, for example that of a release. `podman` takes the place of
docker: it accepts the same arguments and needs no daemon. The code that starts a container also
stops and removes it, even if the start fails.
"""

import contextlib
import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from processes import free_port, run
from proxy import binary

HERE = Path(__file__).resolve().parent
PODMAN = HERE / "podman"
GIVEN = os.environ.get("PROXY_IMAGE")
NAME = GIVEN or f"localhost/s3proxy-e2e:{secrets.token_hex(4)}"
PROGRAM = "/s3proxy"


@contextlib.contextmanager
def built():
    """The image around the suite's program, as it was compiled for the tests."""
    if GIVEN:
        yield
        return
    build = [HERE.parent / "image/build", "--binary", binary(), "--features", "workspace"]
    run([*build, "--tag", NAME], dict(os.environ), seconds=240)
    try:
        yield
    finally:
        podman("rmi", "--force", NAME)


def podman(*arguments, seconds: float = 120) -> subprocess.CompletedProcess:
    """Runs podman until it exits, with any status."""
    return subprocess.run(
        [PODMAN, *map(str, arguments)],
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def configuration() -> dict:
    """The image's configuration, as `podman image inspect` prints it."""
    return json.loads(podman("image", "inspect", NAME).stdout)[0]


@contextlib.contextmanager
def mounted():
    """The folder in which the image's files are mounted."""
    shown = podman("image", "mount", NAME)
    assert shown.returncode == 0, shown.stderr
    try:
        yield Path(shown.stdout.strip())
    finally:
        podman("image", "umount", NAME)


class Container:
    """A container that runs in the background.

    `port` on loopback is mapped to 4433 in the container. With `network="host"` the program listens
    on `port` itself, and reaches the suite's servers on loopback.
    """

    def __init__(self, *options, arguments=(), network="bridge", ca_file: Path | None = None):
        self.name = f"s3proxy-e2e-{secrets.token_hex(4)}"
        self.port = free_port()
        self.url = f"{'https' if ca_file else 'http'}://127.0.0.1:{self.port}"
        self._ca_file = ca_file
        if network == "host":
            options = (*options, "--network", "host", "-e", f"S3PROXY_LISTEN_PORT={self.port}")
        else:
            options = (*options, "--publish", f"127.0.0.1:{self.port}:4433")
        started = podman(
            "run", "--detach", "--no-healthcheck", "--name", self.name, *options, NAME, *arguments
        )
        assert started.returncode == 0, started.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        podman("rm", "--force", "--time", "5", self.name)

    def logs(self) -> str:
        shown = podman("logs", self.name)
        return shown.stdout + shown.stderr

    def execute(self, *arguments) -> subprocess.CompletedProcess:
        return podman("exec", self.name, PROGRAM, *arguments)

    def wait_until_alive(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self._status("healthz") != 200:
            state = podman("inspect", "--format", "{{.State.Status}}", self.name).stdout.strip()
            assert state == "running", f"the container is {state}:\n{self.logs()}"
            assert time.monotonic() < deadline, f"not alive after {seconds} s:\n{self.logs()}"
            time.sleep(0.1)

    def _status(self, probe: str) -> int | None:
        context = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else None
        try:
            with urllib.request.urlopen(f"{self.url}/{probe}", timeout=5, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None
