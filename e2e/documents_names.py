"""Names in pages - settings, variables, flags, metrics - and the names that exist."""

import json
import re
import subprocess
from functools import cache

from documents import Page
from proxy import binary
from repository import ROOT

TABLES = ("listen", "backend", "clients", "keys", "policy", "rules", "limits", "log", "audit", "traces", "reload")
"""The settings' tables: code in a page that begins with one of these is a setting."""

NOT_SETTINGS = {
    "S3PROXY_CONFIG",
    "S3PROXY_TEST_DIR",
    "S3PROXY_TEST_LOG",
    "S3PROXY_BINARY",
    "S3PROXY_RUST_CLIENT",
    "S3PROXY_SAMPLES",
    "S3PROXY_UPDATE",
}
"""Variables that are not settings: the file's own name, and those of the test suites."""

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


_CALL = re.compile(r"(?:^|[$(;|&]) *(?:[A-Z0-9_]+=\S* +)*s3proxy((?: +[^ |;&)#>]+)*)")
"""The program at the beginning of a command, with its arguments."""


def variables(page: Page) -> set[str]:
    return set(re.findall(r"\bS3PROXY_[A-Z][A-Z_]*[A-Z]\b", page.text)) - NOT_SETTINGS


def known_variables() -> set[str]:
    text = (ROOT / "docs" / "configuration.md").read_text()
    return set(re.findall(r"\bS3PROXY_[A-Z_]+[A-Z]\b", text))


def settings(page: Page) -> set[str]:
    """Paths of settings in code spans, with or without a value after them."""
    found = set()
    for code in _CODE.findall(page.prose):
        path = re.match(rf"(?:{'|'.join(TABLES)})(?:\[\])?(?:\.[a-z0-9_]+(?:\[\])?)+(?!\S*[/(])", code)
        if path and not code.endswith((".md", ".rs", ".toml", ".py")):
            found.add(path[0])
    return found


def known_settings() -> set[str]:
    """All settings, and all tables that contain one."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    found = set(re.findall(r"^### `([^`]+)`$", text, re.MULTILINE))
    tables = {path.rpartition(".")[0] for path in found}
    plain = {path.replace("[]", "") for path in found | tables}
    return found | tables | plain


def metrics(text: str) -> set[str]:
    """Names of metrics; histograms without the suffixes of their series."""
    found = set(re.findall(r"\bs3proxy_[a-z_]+[a-z]\b", text)) - {"s3proxy_recover"}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def known_metrics() -> set[str]:
    page = ROOT / "docs" / "metrics.md"
    return metrics(page.read_text()) if page.exists() else set()


def chart_values(page: Page) -> set[str]:
    """Paths into the chart's values in code spans."""
    top = _chart_schema().get("properties", {})
    paths = {code for code in _CODE.findall(page.prose) if re.fullmatch(r"[a-zA-Z]+(\.[a-zA-Z]+)+", code)}
    return {path for path in paths if path.partition(".")[0] in top}


def is_chart_value(path: str) -> bool:
    schemas = [_chart_schema()]
    for name in path.split("."):
        alternatives = [form for schema in schemas for form in (schema, *schema.get("oneOf", []))]
        schemas = [form["properties"][name] for form in alternatives if name in form.get("properties", {})]
    return bool(schemas)


@cache
def _chart_schema() -> dict:
    file = ROOT / "charts" / "s3proxy" / "values.schema.json"
    return json.loads(file.read_text()) if file.exists() else {}


def commands(page: Page) -> list[tuple[str, list[str]]]:
    """Command lines of the program in prose and blocks: the subcommand, if any, and its flags."""
    lines = _CODE.findall(page.prose)
    for block in page.blocks:
        if block.language in ("sh", "console"):
            lines += block.text.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        for call in _CALL.findall(line):
            words = call.split()
            command = words[0] if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) else ""
            flags = [word.partition("=")[0] for word in words if word.startswith("-")]
            found.append((command, flags))
    return found


@cache
def help_of(command: str) -> str | None:
    """The `--help` text of a command, or none if there is no such command."""
    done = subprocess.run(
        [binary(), *command.split(), "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout if done.returncode == 0 else None
