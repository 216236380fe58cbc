"""Child processes of the suite: started with a clean environment, awaited, and always stopped.

Every child dies with the test runner, even if the runner is killed, and writes its output to its
own log file in the run's folder. There are no shells, no fixed ports and no hopeful sleeps here:
after a start, the caller waits for a condition.
"""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import needs

# Variables like these tell programs of a machine about its own certificate authority or proxy. A
# client that reads one of them would not trust the suite's CA.
_UNWANTED = ("AWS_", "OTEL_", "S3PROXY_", "RCLONE_", "SSL_CERT_")
_UNWANTED_ENDINGS = ("_CA_BUNDLE", "_CA_CERTS", "_PROXY", "_proxy")


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a child, without the machine's own S3, TLS or proxy settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_UNWANTED) and not name.endswith(_UNWANTED_ENDINGS)
    }
    return kept | {"HOME": str(home), "PYTHONWARNINGS": "ignore"} | extra


def free_port() -> int:
    """A port without a listener, below the range that the system uses for outgoing connections."""
    for _ in range(1000):
        port = random.randint(12000, 31000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 12000 and 31000 on 127.0.0.1")


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A running child with its log."""

    def __init__(self, name: str, arguments: list, environment: dict[str, str], log: Path):
        needs.starting(arguments[0])
        self.name = name
        self.log = log
        with log.open("ab") as output:
            # setpriv executes the program in its own process, so the process id is the program's.
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, arguments)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def process_id(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def wait_until(self, condition, what: str, seconds: float = 60) -> None:
        """Waits for a condition of this child. On failure, the error quotes the end of the log."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.is_running():
                raise RuntimeError(f"{self.name} ended with {self._child.returncode}, {self._tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: not {what} after {seconds} s, {self._tail()}")
            time.sleep(0.05)

    def terminate(self) -> None:
        """Asks the child to end, and does not wait for it."""
        if self.is_running():
            self._child.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 20) -> int:
        """Terminates the child, with SIGTERM first, and returns its exit status."""
        if self.is_running():
            self.terminate()
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()

    def kill(self) -> None:
        """Kills the child without a warning."""
        self._child.kill()
        self._child.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def _tail(self) -> str:
        return f"log {self.log} ends with:\n" + "\n".join(self.log_text().splitlines()[-20:])


def run(arguments: list, environment: dict[str, str], seconds: float = 120) -> str:
    """Runs a program and returns its standard output; raises CommandFailed if it fails."""
    needs.starting(arguments[0])
    done = subprocess.run(
        list(map(str, arguments)),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(arguments, done)
    return done.stdout


class CommandFailed(AssertionError):
    """A program failed; the text contains its output."""

    def __init__(self, arguments: list, done: subprocess.CompletedProcess):
        self.status = done.returncode
        self.output = done.stdout + done.stderr
        command = " ".join(map(str, arguments))
        super().__init__(f"{command} ended with {done.returncode}:\n{self.output}")
