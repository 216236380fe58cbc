"""The blocks of a page as steps of one shell script, run as if somebody followed the page.

The output of each step can be distinguished afterwards. A step that fails ends the script.
"""

import os
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from documents import CHECKED, FILE, NOT_RUN, ROOT, RUNS_ON, Block, Page
from proxy import new_key

_STEP = "\x1e"
"""Begins the line that separates the output of a page's steps."""

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
declare -A __jobs
__stop() {{
    local job=${{__jobs[$1]:-}}
    if [[ -n $job ]]; then kill -KILL -- "-$job"; wait "$job" 2>/dev/null || :; fi
    unset "__jobs[$1]"
}}
__await() {{
    local url=$1 log=$2 job=$3
    for _ in $(seq 200); do
        if curl --silent --insecure --fail --max-time 5 --output /dev/null "$url"; then return; fi
        if ! kill -0 "$job" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "$url does not answer:"
    cat "$log"
    return 1
}}
"""


@dataclass(frozen=True)
class Step:
    """One or several commands of a page: place, script, and the output shown in the page."""

    page: Page
    block: Block
    script: str
    expected: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.name}, line {self.block.line}"


def helm() -> Path:
    """The path where the chart's checks install helm."""
    return Path(os.environ["S3PROXY_TEST_DIR"]) / "chart-tools" / "bin" / "helm"


def helm_is_here() -> bool:
    return helm().exists() and (ROOT / "charts" / "s3proxy").exists()


def steps_of(page: Page) -> list[Step]:
    """The steps of a page, after the steps of the section from which the page goes on."""
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
        # Quoted, so that the shell leaves the text unchanged.
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
    """Runs a block in a terminal of its own, after ending the same program there: the page's
    `Ctrl-C`.

    The terminal also represents another machine, which does not see changes of `/etc/hosts` here.
    """
    log = f"../.terminal-{block.line}"
    program = block.text.replace("\\\n", " ").strip().splitlines()[-1].split()[0]
    there = f"mount --bind ../.hosts-there /etc/hosts\n{block.text}"
    return (
        f"__stop {program}\nset -m\nunshare --mount bash -ec {shlex.quote(there)} >{log} 2>&1 &\n"
        f"__jobs[{program}]=$!\nset +m\n"
        f"__await {shlex.quote(url)} {log} \"${{__jobs[{program}]}}\"\n"
    )


def _console(page: Page, block: Block) -> list[tuple[str, str]]:
    """Commands, each after a `$`, with the output shown below them."""
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


def script(steps: list[Step]) -> str:
    numbered = (f"__step {number}\n{step.script}" for number, step in enumerate(steps))
    return _PRELUDE + "".join(numbered) + f"__step {len(steps)}\n"


def by_step(output: str) -> list[str]:
    """The output of each step up to the one that failed; an empty entry follows the last step."""
    return [part.partition("\n")[2] for part in output.split(f"\n{_STEP}")[1:]]


def _checked_settings(block: Block) -> str:
    """Runs `check-config` with only the settings that the block leaves to the environment, and a
    credential.

    Secret files that the block names are created at their paths. TLS is off, because no page shows
    a certificate.
    """
    settings = tomllib.loads(block.text)
    files = [path for path in _secret_files(settings) if path.startswith(("/run/secrets/", "/etc/s3proxy/"))]
    keys = settings.get("keys", {})
    given = {"S3PROXY_LISTEN_TLS": "off", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    if not keys.keys() & {"encrypt_key", "encrypt_key_file", "kms", "vault", "aws_kms", "pkcs11"}:
        given["S3PROXY_ENCRYPT_KEY"] = new_key()
    return "\n".join(
        [
            "(",
            'unset "${!S3PROXY_@}" "${!AWS_@}"',
            *(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
            *(f"[[ -e {path} ]] || (umask 077; s3proxy keygen > {path})" for path in map(shlex.quote, files)),
            *(f"mkdir -p {shlex.quote(str(folder))}" for folder in _folders(settings)),
            # `check-config` loads the module, and only machines with that hardware have it.
            *(f"[[ -e {shlex.quote(token['module'])} ]] || exit 0" for token in keys.get("pkcs11", [])),
            f"s3proxy check-config --config <(cat <<'END-OF-FILE'\n{block.text}END-OF-FILE\n)",
            ")\n",
        ]
    )


def _folders(settings) -> list[Path]:
    """The folders of files that the program writes."""
    output = settings.get("audit", {}).get("output", "stdout")
    return [Path(output).parent] if output.startswith("/") else []


def _secret_files(settings) -> list[str]:
    if isinstance(settings, list):
        return [path for item in settings for path in _secret_files(item)]
    if not isinstance(settings, dict):
        return []
    named = [value for name, value in settings.items() if name.endswith("_file") and isinstance(value, str)]
    return named + [path for value in settings.values() for path in _secret_files(value)]
