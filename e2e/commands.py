"""Commands on stored objects, as tests run them: arguments in, JSON and status out."""

import json
import subprocess
from dataclasses import dataclass

from proxy import Proxy


@dataclass(frozen=True)
class Ran:
    """The result of a command with --json."""

    status: int
    objects: list[dict]
    summary: dict
    errors: str

    def by_key(self) -> dict[str, dict]:
        """The output lines of current objects, by key."""
        return {line["key"]: line for line in self.objects if line["current"]}


def command(proxy: Proxy, name: str, *arguments) -> Ran:
    """Runs a command with --json until it exits, with any status."""
    done = proxy.finish(name, "--json", *arguments)
    return ran(done)


def ran(done: subprocess.CompletedProcess) -> Ran:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    summary = lines[-1]
    assert summary["type"] == "summary"
    objects = [line for line in lines if line["type"] == "object"]
    return Ran(done.returncode, objects, summary, done.stderr)
