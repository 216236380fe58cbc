"""The matrix of clients: cells that try one client at one backend, and what they found.

A test marked with `cell` and asking for the fixture `place` runs once for each backend. What came of
it goes to a JSON file in the test folder, of which clients_page.py makes docs/clients.md. After each
cell the bucket is looked at around the proxy: everything in it is sealed, of the length that the
format says, and no state of an upload is left behind. Garage is among the backends where it is
installed; there are no cells for it elsewhere.

With --direct the cells run against the backends themselves: what they cannot do there is a limit of
client or backend, and is named in the cell. There is no other way to leave a cell out.
"""

import json
import os
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import garage
from clients import boto3_client
from content import MARKER
from deployment import Deployment, Deployments
from sealed import stored_length
from target import Target

BACKENDS = ("seaweedfs", "radosgw", "moto", *(["garage"] if garage.program() else []))
STATE_PREFIX = ".s3proxy/"
WORKS, FAILED, SKIPPED = "works", "failed", "skipped"

_HERE = Path(__file__).parent


def cell(
    client: str,
    action: str,
    *,
    version: str,
    without: dict[str, str] | None = None,
    only_by_proxy: dict[str, str] | None = None,
    scheme: str = "http",
):
    """Marks a test: what `client` does in it, and the backends that cannot do it, with the reason.

    `only_by_proxy` names backends that cannot do it themselves and can behind the proxy. Over
    `https` only the proxy is tried.
    """
    return pytest.mark.cell(
        client=client,
        action=action,
        version=version,
        without=without or {},
        only_by_proxy=only_by_proxy or {},
        scheme=scheme,
    )


def pinned(package: str) -> str:
    """The version of a Python package that the suite installs among clients."""
    lists = set((_HERE / "requirements").glob("*.txt")) - {_HERE / "requirements/moto.txt"}
    for path in sorted(lists):
        for line in path.read_text().splitlines():
            name, _, version = line.partition("==")
            if name.strip().lower() == package.lower():
                return version.strip()
    raise LookupError(f"{package} is in no file of requirements/")


@dataclass(frozen=True)
class Place:
    """Where a cell works: an empty bucket, a home for the client's settings, a folder for files."""

    deployment: Deployment
    backend: str
    bucket: str
    home: Path
    scratch: Path

    @property
    def target(self) -> Target:
        return self.deployment.target

    def stored(self) -> dict[str, tuple[str, int]]:
        """Every object as the backend lists it: key to ETag and stored length."""
        return _listing(self.deployment.backend.target, self.bucket)


@pytest.fixture
def place(request, deployments, backend, tmp_path):
    mark = request.node.get_closest_marker("cell")
    assert mark, "a test that asks for a place says with @cell what it tries"
    _skip_impossible(mark.kwargs, backend, deployments)
    deployment = deployments.get(backend, mark.kwargs["scheme"])
    bucket = f"e2e-{secrets.token_hex(4)}"
    _s3(deployment.target).create_bucket(Bucket=bucket)
    for folder in ("home", "files"):
        (tmp_path / folder).mkdir()
    yield Place(deployment, backend, bucket, tmp_path / "home", tmp_path / "files")
    if deployment.proxy:
        _assert_sealed(deployment, bucket)


def _skip_impossible(mark: dict, backend: str, deployments: Deployments) -> None:
    if backend in mark["without"]:
        pytest.skip(mark["without"][backend])
    if deployments.direct and backend in mark["only_by_proxy"]:
        pytest.skip(mark["only_by_proxy"][backend])
    if deployments.direct and mark["scheme"] == "https":
        pytest.skip("only the proxy speaks HTTPS here")


def _assert_sealed(deployment: Deployment, bucket: str) -> None:
    stored = _listing(deployment.backend.target, bucket)
    seen = _listing(deployment.target, bucket)
    assert [key for key in stored if key.startswith(STATE_PREFIX)] == [], "uploads left state behind"
    # Compared key by key on the proxy's side: it may know keys that the backend spells otherwise.
    lengths = {key: length for key, (_, length) in stored.items()}
    assert lengths == {key: stored_length(length) for key, (_, length) in seen.items()}
    for key in stored:
        answer = _s3(deployment.backend.target).get_object(Bucket=bucket, Key=key)
        assert answer["Metadata"]["isec"].startswith("s3p1."), f"{key} carries no envelope"
        assert MARKER not in answer["Body"].read(), f"{key} was stored in the clear"


@cache
def _s3(target: Target):
    """One client for all cells: making one takes longer than most of what it is used for."""
    return boto3_client(target)


def _listing(target: Target, bucket: str) -> dict[str, tuple[str, int]]:
    pages = _s3(target).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    return {entry["Key"]: (entry["ETag"], entry["Size"]) for entry in entries}


def pytest_configure(config):
    config.addinivalue_line("markers", "cell: one client, one thing it does; see cells.py")
    config.stash[RESULTS] = Results()


def pytest_generate_tests(metafunc):
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def pytest_deselected(items):
    for item in items:
        item.config.stash[RESULTS].whole = False


def pytest_collection_finish(session):
    modules = {item.path for item in session.items}
    everything = set((_HERE / "tests").glob("test_clients_*.py"))
    if not everything <= modules or any("::" in argument for argument in session.config.args):
        session.config.stash[RESULTS].whole = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    mark = item.get_closest_marker("cell")
    if mark and (report.when == "call" or report.outcome != "passed"):
        backend = item.callspec.params["backend"]
        item.config.stash[RESULTS].add(mark.kwargs, backend, report)
    return report


def pytest_sessionfinish(session):
    results = session.config.stash[RESULTS]
    if results.cells:
        direct = "-direct" if session.config.getoption("--direct") else ""
        results.write(Path(os.environ["S3PROXY_TEST_DIR"]) / f"clients{direct}.json")


class Results:
    """What the cells of this run found; `whole` unless the run was told to leave some out."""

    def __init__(self):
        self.whole = True
        self.cells: dict[tuple[str, str, str], dict[str, str]] = {}

    def add(self, mark: dict, backend: str, report: pytest.TestReport) -> None:
        where = mark["client"], mark["action"], backend
        if report.outcome == "skipped":
            _, _, reason = report.longrepr
            found = {"outcome": SKIPPED, "reason": reason.removeprefix("Skipped: ")}
        else:
            found = {"outcome": WORKS if report.outcome == "passed" else FAILED, "reason": ""}
        # Several tests may make up one cell: it works when all of them do.
        worst = max(found, self.cells.get(where, found), key=lambda cell: _BADNESS[cell["outcome"]])
        self.cells[where] = {"version": mark["version"], **worst}

    def rows(self) -> list[dict[str, str]]:
        names = ("client", "action", "backend")
        return [dict(zip(names, where)) | found for where, found in sorted(self.cells.items())]

    def write(self, path: Path) -> None:
        results = {
            "whole": self.whole,
            "garage": garage.version() if "garage" in BACKENDS else None,
            "cells": self.rows(),
        }
        path.write_text(json.dumps(results, indent=1) + "\n")


RESULTS = pytest.StashKey[Results]()
_BADNESS = {WORKS: 0, SKIPPED: 1, FAILED: 2}
