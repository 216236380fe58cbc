"""Client programs built by the suite: SDKs for Java, JavaScript and Go, driven line by line.

A driver reads one command per line, words separated by tabs, and replies to each with a line: `ok`
and the requested words, or `failed` and the reason. A driver starts on first use and serves all
cells of a module at one endpoint, because a virtual machine is slow to start. Its other output goes
to its log.

    put, upload            BUCKET KEY FILE     in one request; in parts of 5 MiB, several at a time
    get, download          BUCKET KEY FILE     in one request; in parts or ranges, several at a time
    range                  BUCKET KEY FIRST LAST FILE
    vectored               BUCKET KEY (FIRST LAST FILE)...
    head                   BUCKET KEY          answers the size
    list, list-meta        BUCKET PREFIX       answers key and size of each object, in turn; the second
                                               asks for user metadata too
    copy, copy-parts       BUCKET FROM TO      in one request; in parts
    rename                 BUCKET FROM TO
    delete                 BUCKET KEY...       in one request
    delete-directory       BUCKET PREFIX
    presign-get, -put      BUCKET KEY          answers a URL, and the headers that have to be sent
    checksum               BUCKET KEY FILE ALGORITHM VALUE
                           in one request with a checksum, which is computed for the value `-`;
                           answers the one that the object has
    checksum-parts         BUCKET KEY FILE ALGORITHM
                           the same in parts of 5 MiB, with a checksum of each
"""

import os
import re
import select
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import needs
from cells import cell
from clients import aws_variables
from processes import clean_environment, run
from target import Target

_SECONDS = 100
"""Timeout of one command: shorter than a test's own timeout."""


@dataclass(frozen=True)
class Program:
    """A client of the matrix.

    `limits` names actions that a backend cannot do for this client, by action and backend;
    `direct_limits`, those that work only with the proxy in between.
    """

    name: str
    version: str
    command: tuple[str | Path, ...]
    actions: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    limits: dict[str, dict[str, str]] = field(default_factory=dict)
    direct_limits: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name in the form used in names of files and tests."""
        return "-".join(re.findall("[a-z0-9]+", self.name.lower()))


def trying(action: str, programs: list[Program]) -> pytest.MarkDecorator:
    """The parameter `program`: the programs that can do this, each as a cell of its own."""
    return pytest.mark.parametrize(
        "program",
        [
            pytest.param(
                program,
                id=program.slug,
                marks=cell(
                    program.name, action, version=program.version, without=program.limits.get(action)
                ),
            )
            for program in programs
            if action in program.actions
        ],
    )


def built(*parts: str) -> Path:
    """A file that one of the setup scripts built."""
    return Path(os.environ["S3PROXY_TEST_DIR"]).joinpath(*parts)


class Driver:
    """A running program, connected to one endpoint."""

    def __init__(
        self, program: Program, target: Target, home: Path, log: Path, trust: dict[str, str]
    ):
        needs.starting(program.command[0])
        self._log = log
        with log.open("ab") as errors:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, program.command)],
                env=clean_environment(
                    home,
                    S3_ENDPOINT=target.url,
                    **aws_variables(target),
                    **program.environment,
                    **trust,
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def do(self, command: str, *words: str | int | Path) -> list[str]:
        """Executes a command. A failure reported by the client becomes the exception's text."""
        line = "\t".join([command, *map(str, words)])
        try:
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()
            outcome, *answer = self._answer(command)
        except BrokenPipeError:
            raise AssertionError(f"the client is gone, its log ends with:\n{self._tail()}") from None
        assert outcome == "ok", f"{command} failed: {' '.join(answer)}"
        return answer

    def _answer(self, command: str) -> list[str]:
        ready, _, _ = select.select([self._child.stdout], [], [], _SECONDS)
        if not ready:
            # A late reply would be taken for the reply to the next command.
            self.stop()
            raise AssertionError(f"{command} took more than {_SECONDS} s")
        line = self._child.stdout.readline().decode().rstrip("\r\n")
        assert line, f"the client ended, its log ends with:\n{self._tail()}"
        return line.split("\t")

    def is_running(self) -> bool:
        return self._child.poll() is None

    def stop(self) -> None:
        self._child.kill()
        self._child.communicate()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


class Drivers:
    """Starts programs on first use, and restarts those that have exited."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._running: dict[tuple[str, str], Driver] = {}

    def driver(self, program: Program, target: Target) -> Driver:
        wanted = program.name, target.url
        if wanted not in self._running or not self._running[wanted].is_running():
            home = self._directory / f"home-{program.slug}"
            home.mkdir(exist_ok=True)
            log = self._directory / f"client-{program.slug}.log"
            self._running[wanted] = Driver(program, target, home, log, self._trust(target))
        return self._running[wanted]

    def _trust(self, target: Target) -> dict[str, str]:
        """The variables that make Node, Go and Java trust the authority of a target over TLS."""
        if not target.ca_file:
            return {}
        store, password = self._directory / "trusted.p12", "nothing-secret"
        if not store.exists():
            arguments = ["-importcert", "-noprompt", "-storepass", password, "-keystore", store]
            run(
                ["keytool", *arguments, "-alias", "suite", "-file", target.ca_file],
                clean_environment(self._directory),
            )
        return {
            "NODE_EXTRA_CA_CERTS": str(target.ca_file),
            "SSL_CERT_FILE": str(target.ca_file),
            "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={store}"
            f" -Djavax.net.ssl.trustStorePassword={password}",
        }

    def stop(self) -> None:
        for driver in self._running.values():
            driver.stop()
