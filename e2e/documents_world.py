"""A reader's machine: pages are followed here, command by command, as they stand.

It is a network of its own, in which the addresses that the pages use are free and mean something:
SeaweedFS answers on `http://seaweedfs:8333` to the credential `storage-key` and `storage-secret`, and
whatever listens on 4433 is the reader's. Each page gets an empty home, one shell for all of its blocks,
and its own `/etc/hosts`, `/etc/s3proxy` and `/run/secrets`. Nothing outlives the page.

The same server answers over HTTPS as `s3.eu-west-1.amazonaws.com`, as far as `/etc/hosts` tells nothing else,
and the machine trusts its certificate.

`s3proxy`, `aws` and `python3` are those of the suite; `docker` is a stand-in that starts the same program
as the image would, and `helm` one that renders the chart. Everything else is the machine's.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from certificates import make_certificates
from documents import CHECKED, FILE, NOT_RUN, ROOT, RUNS_ON, Block, Page
from processes import Process, clean_environment
from proxy import binary, new_key
from servers import tools

CREDENTIAL = {"accessKey": "storage-key", "secretKey": "storage-secret"}
STORAGE = "http://seaweedfs:8333"
AWS = "s3.eu-west-1.amazonaws.com"
HOSTS = f"127.0.0.1 localhost\n127.0.0.1 seaweedfs s3proxy\n127.0.0.1 {AWS}\n"

STAND_INS = Path(__file__).with_name("documents_programs")

_STEP = "\x1e"
"""Begins the line that tells the steps of a page apart in what its shell prints."""

_PRELUDE = f"""\
set -e -o pipefail
mount --bind .hosts /etc/hosts
mkdir -p /etc/s3proxy /run/secrets
mount -t tmpfs tmpfs /etc/s3proxy
mount -t tmpfs tmpfs /run/secrets
mount -t tmpfs -o mode=755 tmpfs /mnt
touch /mnt/s3proxy
mount --bind "$(readlink -f "$(command -v s3proxy)")" /mnt/s3proxy
mount -t proc proc /proc
cd work
__step() {{ printf '\\n{_STEP}%s\\n' "$1"; }}
__stop() {{
    if [[ -n ${{__job:-}} ]]; then kill -KILL -- "-$__job"; wait "$__job" 2>/dev/null || :; __job=; fi
}}
__await() {{
    local url=$1 log=$2
    for _ in $(seq 200); do
        if curl --silent --insecure --fail --max-time 5 --output /dev/null "$url"; then return; fi
        if ! kill -0 "$__job" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "$url does not answer:"
    cat "$log"
    return 1
}}
"""


@dataclass(frozen=True)
class Step:
    """A command of a page, or several: what they are, what they printed, what the page shows."""

    page: Page
    block: Block
    script: str
    expected: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.name}, line {self.block.line}"


class World:
    """The machine; `follow` does what a page says."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._programs = directory / "bin"
        self._programs.mkdir(parents=True)
        for name, program in {"s3proxy": binary(), "aws": tools("awscli") / "aws"}.items():
            (self._programs / name).symlink_to(program)
        # By a link, Python would not find the packages beside it.
        python = self._programs / "python3"
        python.write_text(f'#!/bin/sh\nexec {tools() / "python"} "$@"\n')
        python.chmod(0o755)
        for program in STAND_INS.iterdir():
            (self._programs / program.name).symlink_to(program)
        identities = directory / "identities.json"
        owner = {"name": "owner", "credentials": [CREDENTIAL], "actions": ["Admin"]}
        identities.write_text(json.dumps({"identities": [owner]}))
        hosts = directory / "hosts"
        hosts.write_text(HOSTS)
        (directory / "seaweedfs").mkdir()
        self._certificates = make_certificates(directory / "certificates", [AWS, f"*.{AWS}"])
        server = [
            *(tools() / "weed", "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-dir={directory / 'seaweedfs'}", "-master.telemetry=false", "-volume.max=200"),
            *("-master.volumeSizeLimitMB=64", "-filer", "-s3", f"-s3.config={identities}"),
            *("-s3.port=8333", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.port.https=443"),
            f"-s3.cert.file={self._certificates.directory / 's3proxy.crt'}",
            f"-s3.key.file={self._certificates.directory / 's3proxy.key'}",
        ]
        started = f"ip link set lo up; mount --bind {hosts} /etc/hosts; exec {shlex.join(map(str, server))}"
        self._storage = Process(
            "seaweedfs",
            ["unshare", "--net", "--mount", "bash", "-ec", started],
            clean_environment(directory, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
            directory / "seaweedfs.log",
        )
        self._storage.wait_until(self._storage_answers, "answering S3 requests")

    def stop(self) -> None:
        self._storage.stop(seconds=0.1)

    def follow(self, page: Page) -> list[tuple[Step, str]]:
        """Runs all of a page and returns what each step printed. A step that fails ends it."""
        home = self._directory / re.sub(r"\W+", "-", page.name)
        work = home / "work"
        work.mkdir(parents=True)
        if page.path.parent not in (ROOT, ROOT / "docs"):
            shutil.copytree(page.path.parent, work, dirs_exist_ok=True)
        for hosts in (".hosts", ".hosts-there"):
            (home / hosts).write_text(HOSTS)
        steps = steps_of(page)
        (home / ".script").write_text(_script(steps))
        done = self._enter(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", ".script"], home
        )
        printed = _by_step(done.stdout)
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
                *("nsenter", f"--net=/proc/{process}/ns/net", f"--mount=/proc/{process}/ns/mnt"),
                f"--wdns={folder}",
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
            timeout=120,
            check=False,
        )

    def _storage_answers(self) -> bool:
        asked = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", STORAGE]
        return self._enter(asked, self._directory).stdout == "403"


def helm() -> Path:
    """Where the chart's checks install it."""
    return Path(os.environ["S3PROXY_TEST_DIR"]) / "chart-tools" / "bin" / "helm"


def helm_is_here() -> bool:
    return helm().exists() and (ROOT / "charts" / "s3proxy").exists()


def steps_of(page: Page) -> list[Step]:
    """What is run when somebody follows a page, what it goes on from first."""
    steps = []
    if page.goes_on_from:
        earlier, section = page.goes_on_from
        before = Page((page.path.parent / earlier).resolve())
        steps += [step for block in before.section(section) for step in _steps_of_block(before, block)]
    return steps + [step for block in page.blocks for step in _steps_of_block(page, block)]


def _steps_of_block(page: Page, block: Block) -> list[Step]:
    if block.mark(NOT_RUN) is not None:
        return []
    if name := block.mark(FILE):
        # Quoted, so that the shell takes the text as it is.
        return [Step(page, block, f"cat > {shlex.quote(name)} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n")]
    if block.language == "console":
        return [Step(page, block, command, shown) for command, shown in _console(page, block)]
    if block.language == "python":
        return [Step(page, block, f"python3 - <<'END-OF-FILE'\n{block.text}END-OF-FILE\n")]
    if block.language == "toml":
        return [Step(page, block, _checked_settings(block))]
    if block.language != "sh" or (block.mark(CHECKED) == "helm" and not helm_is_here()):
        return []
    if url := block.mark(RUNS_ON):
        return [Step(page, block, _in_terminal_of_its_own(block, url))]
    return [Step(page, block, block.text)]


def _in_terminal_of_its_own(block: Block, url: str) -> str:
    """What was started in that terminal before is ended: the page's `Ctrl-C`.

    It stands for another machine as well, which does not see what becomes of `/etc/hosts` here.
    """
    log = f"../.terminal-{block.line}"
    there = f"mount --bind ../.hosts-there /etc/hosts\n{block.text}"
    return (
        f"__stop\nset -m\nunshare --mount bash -ec {shlex.quote(there)} >{log} 2>&1 &\n__job=$!\nset +m\n"
        f"__await {shlex.quote(url)} {log}\n"
    )


def _console(page: Page, block: Block) -> list[tuple[str, str]]:
    """Commands, each behind a `$`, with what is shown below them."""
    found: list[tuple[str, str]] = []
    continued = False
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ ") + "\n", ""))
        elif not found:
            raise ValueError(f"{page.name}, line {block.line}: output without a command")
        elif continued:
            found[-1] = (found[-1][0] + line + "\n", "")
        else:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
        continued = line.endswith("\\")
    return found


def _script(steps: list[Step]) -> str:
    numbered = (f"__step {number}\n{step.script}" for number, step in enumerate(steps))
    return _PRELUDE + "".join(numbered) + f"__stop\n__step {len(steps)}\n"


def _by_step(output: str) -> list[str]:
    """What each step printed, up to the one that failed, or with an empty one behind the last."""
    return [part.partition("\n")[2] for part in output.split(f"\n{_STEP}")[1:]]


def _checked_settings(block: Block) -> str:
    """`check-config`, with nothing set but what the block leaves to the environment.

    Secrets that it names as files are made up where they would lie; TLS is off, as no page shows a
    certificate.
    """
    settings = tomllib.loads(block.text)
    files = [path for path in _secret_files(settings) if path.startswith(("/run/secrets/", "/etc/s3proxy/"))]
    keys = settings.get("keys", {})
    given = {"S3PROXY_TLS": "off"}
    if not keys.keys() & {"encrypt_key", "encrypt_key_file", "kms", "vault", "aws_kms", "pkcs11"}:
        given["S3PROXY_ENCRYPT_KEY"] = new_key()
    return "\n".join(
        [
            "(",
            'unset "${!S3PROXY_@}" "${!AWS_@}"',
            *(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
            *(f"[[ -e {path} ]] || (umask 077; s3proxy keygen > {path})" for path in map(shlex.quote, files)),
            f"s3proxy check-config --config <(cat <<'END-OF-FILE'\n{block.text}END-OF-FILE\n)",
            ")\n",
        ]
    )


def _secret_files(settings) -> list[str]:
    if isinstance(settings, list):
        return [path for item in settings for path in _secret_files(item)]
    if not isinstance(settings, dict):
        return []
    named = [value for name, value in settings.items() if name.endswith("_file") and isinstance(value, str)]
    return named + [path for value in settings.values() for path in _secret_files(value)]
