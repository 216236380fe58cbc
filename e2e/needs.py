"""The groups of e2e/setup that tests need, and their installation before the tests run.

`e2e/run` without arguments installs everything beforehand. For selected tests this plugin installs
only what these need: a test's parameters, fixtures and module tell. Tests that need a Debian package
which is missing, and which only root can install, are skipped with the command that installs it.

The list is checked in every run: a program of a group that a test was not known to need fails the
test that starts it.
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from repository import E2E

PARAMETERS = {"radosgw": "ceph", "moto": "moto"}
"""Servers by name, as tests take them as parameters."""

FIXTURES = {"browser": "browser", "openbao": "openbao"}

JAVA_GO_JAVASCRIPT = ("java", "javascript", "go")

MODULES = {
    r"\bAwsCli\b|\bCLIENTS\b|\bAWS_CLI\b": ("awscli",),
    r'"awscli"|venv-awscli': ("awscli",),
    r"\bBrowser\b|\bPAGE_SCRIPT\b": ("browser",),
    r"\bsdks\.PROGRAMS\b": JAVA_GO_JAVASCRIPT,
    r"\brun_program\b": ("clients",),
    r'\btools\("clients"\)': ("clients",),
    r'venv="checksums"': ("checksums",),
    r"\bkey_services\.aws_kms\b": ("moto",),
    r'\btools\("moto"\)': ("moto",),
    r"\bkey_services\.constellation\b": ("grpc",),
    r"\bkey_services\.(openbao|transit)\b": ("openbao",),
    r"\bkey_services\.softhsm\b": ("softhsm",),
    r"\btelemetry\.collector\b": ("telemetry",),
    r'\btools\("telemetry"\)': ("telemetry",),
    r"\bconformance\b": ("conformance",),
    r"\bdocuments_world\b": ("awscli", "chart", "documents", "image", "openbao"),
    r"\bhexdump\b": ("documents",),
    r"\bchart_release\b": ("awscli", "chart"),
    r"^import image\b": ("image", "awscli"),
    r'"openssl"': ("documents",),
    r'"restic"': ("restic",),
    r"\blibs3\b": ("libs3",),
}
"""What modules need, by expressions that their text contains."""

PROGRAMS = {
    r"/venv-(awscli|checksums|clients|grpc|moto|openbao|telemetry)/": None,
    r"/go/client$": "go",
    r"(^|/)java$": "java",
    r"(^|/)node$": "javascript",
    r"(^|/)(ceph(-\w+)?|radosgw(-admin)?|monmaptool)$": "ceph",
    r"/chromedriver$": "browser",
    r"(^|/)restic$": "restic",
    r"(^|/)s3$": "libs3",
    r"(^|/)(softhsm2-util|pkcs11-tool)$": "softhsm",
    r"/(podman|image/build)$": "image",
    r"/s3s-e2e$": "conformance",
}
"""Programs and their group; without one, the expression's first group names it."""

DEBIAN = {
    "browser": ("chromium", "chromedriver"),
    "ceph": ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw"),
    "documents": ("hexdump", "curl", "jq", "openssl"),
    "image": ("buildah", "podman", "runc"),
    "libs3": ("s3",),
    "restic": ("restic",),
    "softhsm": ("softhsm2-util", "pkcs11-tool"),
}
"""Groups whose Debian packages only root can install, and programs in them."""

_known: set[str] | None = None
"""Groups of the test that runs; `None` outside tests, for example in teardown of a session."""


def groups_of(item: pytest.Item) -> set[str]:
    found = set(_groups_of_module(item.path))
    parameters = getattr(item, "callspec", None)
    for value in parameters.params.values() if parameters else ():
        if isinstance(value, str) and value in PARAMETERS:
            found.add(PARAMETERS[value])
        for program in getattr(value, "command", ())[:1]:
            found |= {group_of_program(str(program))} - {None}
    return found | {FIXTURES[name] for name in item.fixturenames if name in FIXTURES}


@cache
def _groups_of_module(path: Path) -> frozenset[str]:
    text = path.read_text()
    return frozenset(
        group
        for expression, groups in MODULES.items()
        if re.search(expression, text, re.MULTILINE)
        for group in groups
    )


def group_of_program(program: str) -> str | None:
    for expression, group in PROGRAMS.items():
        if found := re.search(expression, program):
            return group or found[1]
    return None


def starting(program) -> None:
    """Called before a program starts: its group has to be known for the running test."""
    group = group_of_program(str(program))
    assert group is None or _known is None or group in _known, (
        f"{program} is in the set-up group {group}, which needs.py does not list for this test"
    )


def out_of_reach(group: str) -> bool:
    """Whether a group's Debian packages are missing and this user cannot install them."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = DEBIAN.get(group, ())
    missing = any(not _is_on(path, program) for program in programs)
    return missing and os.geteuid() != 0


def _is_on(path: str, program: str) -> bool:
    return any((Path(folder) / program).exists() for folder in path.split(":"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.option.collectonly or os.environ.get("S3PROXY_INSTALLED"):
        return
    needed = {group for item in items for group in groups_of(item)}
    skipped = {group for group in needed if out_of_reach(group)}
    for item in items:
        for group in sorted(groups_of(item) & skipped):
            reason = f"missing Debian packages: `e2e/setup {group}` as root installs them"
            item.add_marker(pytest.mark.skip(reason=reason))
    _install(sorted(needed - skipped), config)


def _install(groups: list[str], config: pytest.Config) -> None:
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        if "chart" in groups:
            subprocess.run([E2E.parent / "charts/tools/setup"], check=True)
        others = [group for group in groups if group != "chart"]
        if subprocess.run([E2E / "setup", *(others or ["base"])], check=False).returncode:
            raise pytest.UsageError(f"e2e/setup {' '.join(others)} failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    global _known
    _known = groups_of(item)
    try:
        return (yield)
    finally:
        _known = None
