"""Every command in the documentation is run, and its output compared with the page.

`documents.py` describes the marks that tell how a reader uses a block. Blocks that cannot be run
here are in the snapshot `documents-not-run.txt`, with the reason; `S3PROXY_UPDATE=1` rewrites it.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import documents_names as names
from documents import CHECKED, FILE, GOES_ON, MARKS, NOT_RUN, RUNS_ON, Page, pages
from documents_steps import helm_is_here, steps_of
from documents_world import World
from repository import ROOT

PAGES = pages()
SNAPSHOT = Path(__file__).with_name("documents-not-run.txt")

RUN = ("sh", "console", "toml", "python")
"""Languages of blocks that are run, or at least checked; `yaml` needs a mark that says how."""

SHOWN = ("text", "mermaid", "json", "xml", "hcl", "dockerfile", "yaml", "promql", "http")
"""Languages of blocks that are only shown."""

COMMANDS = ("$", "s3proxy", "aws", "docker", "helm", "kubectl", "curl", "cargo", "export", "pip")


@pytest.fixture(scope="module")
def world(run_directory):
    world = World(run_directory / "documents")
    yield world
    world.stop()


@pytest.mark.parametrize("page", [page for page in PAGES if steps_of(page)], ids=lambda page: page.name)
def test_every_step_of_a_page_works_and_prints_the_shown_output(world, page):
    for step, printed in world.follow(page):
        if step.expected is not None:
            shown = _pattern(step.expected)
            assert re.fullmatch(shown, _tidied(printed)), (
                f"{step.place}\n$ {step.script}shows\n{step.expected}\nand printed\n{printed}"
            )


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("```sh\ntrue\nfalse\ntrue\n```", "line 3: status 1"),
        ("```sh\nno-such-program | cat\n```", "no-such-program: command not found"),
        ("```toml\n[limits]\nbody_memory = 5\n```", "limits.body_memory"),
        ("<!-- keeps running: http://127.0.0.1:4433/ -->\n```sh\necho ended\n```", "does not answer"),
        ("<!-- checked: image -->\n```sh\ndocker run --privileged s3proxy:1\n```", "--privileged"),
    ],
)
def test_a_step_that_does_not_work_is_noticed(world, tmp_path, block, found):
    page = tmp_path / f"{tmp_path.name}.md"
    page.write_text(f"# A page\n\n{block}\n")
    with pytest.raises(AssertionError, match=re.escape(found)):
        world.follow(Page(page))


def test_shown_output_is_compared_with_the_whole_output():
    shown = _pattern("at … s\n…\nend\n")
    for printed in ("at 0.1 s\nend\n", "at 0.1 s\nand\nmore\nend\n"):
        assert re.fullmatch(shown, printed)
    for printed in ("at 0.1 s\nend\nmore\n", "end\n", "at 0.1\nend\n", "first\nat 0.1 s\nend\n"):
        assert not re.fullmatch(shown, printed)


def test_the_chart_is_rendered_with_the_values_that_pages_show():
    if not helm_is_here():
        pytest.skip("helm is not installed; charts/check does that")
    page = Page(ROOT / "docs" / "deploy-helm.md")
    assert sum("helm " in step.script for step in steps_of(page)) > 3


def test_blocks_that_are_not_run_say_why_and_are_listed():
    left_out = [
        (page, block) for page in PAGES for block in page.blocks if block.mark(NOT_RUN) is not None
    ]
    for page, block in left_out:
        assert block.mark(NOT_RUN), f"{page.name}, line {block.line}: without a reason"
        if block.language == "sh":
            parsed = subprocess.run(["bash", "-n"], input=block.text, text=True, check=False)
            assert parsed.returncode == 0, f"{page.name}, line {block.line}: no shell can read it"
    listed = "".join(
        f"{page.name} #{block.section}: {block.mark(NOT_RUN)}\n    {block.text.splitlines()[0]}\n"
        for page, block in left_out
    )
    if os.environ.get("S3PROXY_UPDATE"):
        SNAPSHOT.write_text(listed)
    assert listed == SNAPSHOT.read_text()


def test_every_block_has_a_known_language_and_known_marks():
    for page in PAGES:
        for block in page.blocks:
            place = f"{page.name}, line {block.line}"
            assert block.language in RUN + SHOWN, f"{place}: a block in {block.language or 'no language'}"
            assert set(block.marks) - {GOES_ON} <= set(MARKS), f"{place}: {block.marks}"
            assert block.mark(CHECKED) in (None, "image", "helm"), place
            if block.language in ("hcl", "dockerfile", "yaml"):
                # Commands below use the file; the chart's own tests also render the values.
                used = block.mark(FILE) or block.mark(CHECKED) or block.mark(NOT_RUN)
                assert used, f"{place}: nobody checks it, and no mark says why"
            if block.mark(RUNS_ON) is not None:
                assert block.language == "sh", place


def test_json_that_pages_show_is_json():
    for page in PAGES:
        for block in page.blocks:
            if block.language == "json":
                try:
                    json.loads(block.text)
                except json.JSONDecodeError:
                    # A log, or a result of several lines, with one document per line.
                    for line in block.text.splitlines():
                        json.loads(line)


def test_no_command_hides_in_a_block_that_is_only_shown():
    for page in PAGES:
        for block in page.blocks:
            if block.language in SHOWN:
                first_words = {line.split(" ")[0] for line in block.text.splitlines()}
                assert not first_words & set(COMMANDS), f"{page.name}, line {block.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_have_targets(page):
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.is_relative_to(ROOT) and path.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in Page(path).anchors, f"{page.name}: {link}"


def test_every_page_is_in_the_table_of_contents():
    contents = Page(ROOT / "docs" / "README.md")
    linked = {(contents.path.parent / link.partition("#")[0]).resolve() for link in contents.links}
    for page in (ROOT / "docs").glob("*.md"):
        assert page in linked or page == contents.path, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_variables_and_metrics_that_a_page_names_exist(page):
    assert names.settings(page) - names.known_settings() == set()
    assert names.variables(page) - names.known_variables() == set()
    if names.known_metrics():
        assert names.metrics(page.text) - names.known_metrics() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_flags_that_a_page_names_exist(page):
    for command, flags in names.commands(page):
        described = names.help_of(command)
        assert described is not None, f"{page.name}: s3proxy {command}"
        for flag in flags:
            # `--no-tls[=<true|false>]`, `-v, --verbose`
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", described), f"{page.name}: s3proxy {command} {flag}"


@pytest.mark.parametrize("name", ["deploy-helm", "deploy-dns", "operations", "threat-model"])
def test_values_of_the_chart_that_a_page_names_exist(name):
    page = Page(ROOT / "docs" / f"{name}.md")
    assert [path for path in names.chart_values(page) if not names.is_chart_value(path)] == []


def test_names_in_pages_are_found():
    """Proves that the two tests above find names at all."""
    keys = Page(ROOT / "docs" / "keys.md")
    assert {"keys.active", "keys.cache_time"} <= names.settings(keys)
    assert "S3PROXY_KEYS_DECRYPT_KEYS" in names.variables(keys)
    assert ("verify", ["--heads"]) in names.commands(keys)
    assert ("keygen", []) in names.commands(keys)
    assert names.help_of("no-such-command") is None
    assert names.metrics("rate(s3proxy_request_seconds_bucket[5m])") == {"s3proxy_request_seconds"}


def _pattern(shown: str) -> str:
    """A pattern: `…` matches any text within its line, and alone in a line any lines."""
    lines = [
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line.rstrip()).replace("…", ".*") + r"\n"
        for line in shown.splitlines()
    ]
    return "".join(lines)


def _tidied(printed: str) -> str:
    """The output without trailing spaces, and with only the last line of progress bars."""
    lines = [line.rpartition("\r")[2].rstrip() for line in printed.replace("\r\n", "\n").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return "".join(f"{line}\n" for line in lines)
