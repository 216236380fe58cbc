"""A reader's machine: pages are followed here, command by command, as they are written.

The machine is a network namespace in which the addresses in the pages are free and have a meaning:
SeaweedFS answers on `http://seaweedfs:8333` to the credential `storage-key` and `storage-secret`,
and the reader's own programs listen on 4433. Each page gets an empty home, one shell for all of its
blocks, and its own `/etc/hosts`, `/etc/s3proxy` and `/run/secrets`. Nothing outlives the page.

The same server answers over HTTPS as `s3.eu-west-1.amazonaws.com`, unless a page changes
`/etc/hosts`, and the machine trusts its certificate.

`s3proxy`, `aws`, `bao` and `python3` are the suite's; `docker` is a stand-in that starts the same
program as the image would, and `helm` one that renders the chart. All other programs are the
host's.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from certificates import make_certificates
from documents import Page
from documents_steps import Step, by_step, helm, script, steps_of
from processes import Process, clean_environment
from proxy import binary
from repository import ROOT
from servers import tools

CREDENTIAL = {"accessKey": "storage-key", "secretKey": "storage-secret"}
STORAGE = "http://seaweedfs:8333"
AWS = "s3.eu-west-1.amazonaws.com"
HOSTS = f"127.0.0.1 localhost\n127.0.0.1 seaweedfs s3proxy\n127.0.0.1 {AWS}\n"

SECONDS = 140
"""Longer than any page takes, even on a busy machine."""

STAND_INS = Path(__file__).with_name("documents_programs")


class World:
    """The machine; `follow` runs a page."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._programs = directory / "bin"
        self._programs.mkdir(parents=True)
        self._put_programs()
        self._certificates = make_certificates(directory / "certificates", [AWS, f"*.{AWS}"])
        hosts = directory / "hosts"
        hosts.write_text(HOSTS)
        server = shlex.join(map(str, self._server()))
        self._storage = Process(
            "seaweedfs",
            [
                *("unshare", "--net", "--mount", "bash", "-ec"),
                f"ip link set lo up; mount --bind {hosts} /etc/hosts; exec {server}",
            ],
            clean_environment(directory, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
            directory / "seaweedfs.log",
        )
        self._storage.wait_until(self._storage_answers, "answering S3 requests")

    def _put_programs(self) -> None:
        links = {"s3proxy": binary(), "aws": tools("awscli") / "aws", "bao": tools("openbao") / "bao"}
        links |= {program.name: program for program in STAND_INS.iterdir()}
        for name, program in links.items():
            (self._programs / name).symlink_to(program)
        # A script, not a symlink: through a symlink Python would not find the packages installed
        # beside it.
        python = self._programs / "python3"
        python.write_text(f'#!/bin/sh\nexec {tools() / "python"} "$@"\n')
        python.chmod(0o755)

    def _server(self) -> list:
        identities = self._directory / "identities.json"
        owner = {"name": "owner", "credentials": [CREDENTIAL], "actions": ["Admin"]}
        identities.write_text(json.dumps({"identities": [owner]}))
        data = self._directory / "seaweedfs"
        data.mkdir()
        return [
            *(tools() / "weed", "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-dir={data}", "-master.telemetry=false", "-volume.max=200", "-filer"),
            *("-master.volumeSizeLimitMB=64", "-s3", f"-s3.config={identities}", "-s3.port=8333"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.port.https=443"),
            f"-s3.cert.file={self._certificates.directory / 's3proxy.crt'}",
            f"-s3.key.file={self._certificates.directory / 's3proxy.key'}",
        ]

    def stop(self) -> None:
        self._storage.stop(seconds=0.1)

    def follow(self, page: Page) -> list[tuple[Step, str]]:
        """Runs a whole page and returns the output of each step. A failed step ends the page."""
        home = self._directory / re.sub(r"\W+", "-", page.name)
        work = home / "work"
        work.mkdir(parents=True)
        if page.path.parent not in (ROOT, ROOT / "docs"):
            shutil.copytree(page.path.parent, work, dirs_exist_ok=True)
        for hosts in (".hosts", ".hosts-there"):
            (home / hosts).write_text(HOSTS)
        steps = steps_of(page)
        (home / ".script").write_text(script(steps))
        done = self._enter(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", ".script"], home
        )
        printed = by_step(done.stdout)
        if done.returncode != 0:
            assert printed, done.stdout
            failed = steps[min(len(printed), len(steps)) - 1]
            raise AssertionError(
                f"{failed.place}: status {done.returncode} after\n{failed.script}\n{printed[-1]}"
            )
        return list(zip(steps, printed[:-1], strict=True))

    def _enter(self, arguments: list, folder: Path) -> subprocess.CompletedProcess:
        process = self._storage.process_id
        return subprocess.run(
            [
                # `timeout` exits with 124 if the page hangs, and ends all processes that it
                # started.
                *("timeout", "--kill-after=5", str(SECONDS), "nsenter", f"--wdns={folder}"),
                *(f"--net=/proc/{process}/ns/net", f"--mount=/proc/{process}/ns/mnt"),
                *map(str, arguments),
            ],
            env=clean_environment(
                folder,
                PATH=f"{self._programs}:{os.environ['PATH']}",
                LC_ALL="C.UTF-8",
                HELM=str(helm()),
                SSL_CERT_FILE=str(self._certificates.ca_file),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )

    def _storage_answers(self) -> bool:
        asked = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", STORAGE]
        return self._enter(asked, self._directory).stdout == "403"


