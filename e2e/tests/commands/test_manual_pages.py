"""The manual pages and completion scripts that the program writes, as man and shells read them."""

import re
import shutil
import subprocess

import pytest

from processes import clean_environment, run
from proxy import binary

SHELLS = {"bash": ["bash", "-n"], "fish": ["fish", "--no-execute"], "zsh": ["zsh", "-n"]}
"""The command with which each shell checks a script without running it."""

COMPLETE = """
source "$1"
COMP_WORDS=(s3proxy verify --he) COMP_CWORD=2
_s3proxy s3proxy --he verify
printf '%s\\n' "${COMPREPLY[@]}"
COMP_WORDS=(s3proxy verify --po) COMP_CWORD=2
_s3proxy s3proxy --po verify
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_manual_pages_have_no_mistakes(tmp_path):
    if shutil.which("groff") is None:
        pytest.skip("there is no groff")
    run([binary(), "man", "--output", tmp_path / "man1"], clean_environment(tmp_path))
    pages = sorted((tmp_path / "man1").iterdir())
    assert tmp_path / "man1/s3proxy-verify.1" in pages
    for page in pages:
        done = subprocess.run(
            ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", page], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), page.name
        # A bold letter is printed twice, one over the other.
        assert "\nEXAMPLES\n" in re.sub(".\b", "", done.stdout), page.name


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_accept_their_completions(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "completions"
    script.write_text(run([binary(), "completions", shell], clean_environment(tmp_path)))
    run([*SHELLS[shell], script], clean_environment(tmp_path))


def test_bash_completes_the_options_of_a_command_and_no_others(tmp_path):
    script = tmp_path / "completions"
    script.write_text(run([binary(), "completions", "bash"], clean_environment(tmp_path)))
    completed = run(["bash", "-c", COMPLETE, "bash", script], clean_environment(tmp_path))
    assert sorted(completed.split()) == ["--heads", "--help"]
