"""The client matrix: each cell tries one client with one backend, and its result is recorded.

A test that is marked with `cell` and requests the fixture `place` runs once per backend. Results go
to a JSON file in the test folder, from which clients_page.py renders docs/clients.md. After each
cell, the bucket is inspected directly at the backend: every object in it is sealed and has the
length that the format demands, and no upload state is left over. Garage is one of the backends if
it is installed; otherwise there are no cells for it.

With --direct the cells run against the backends themselves: a cell that fails there shows a limit
of the client or the backend, which the cell names. There is no other way to leave a cell out.
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
from repository import E2E, TESTS
from sealed import stored_length
from target import Target

BACKENDS = ("seaweedfs", "radosgw", "moto", *(["garage"] if garage.program() else []))
STATE_PREFIX = ".s3proxy/"
WORKS, FAILED, SKIPPED = "works", "failed", "skipped"



def cell(
    client: str,
    action: str,
    *,
    version: str,
    without: dict[str, str] | None = None,
    only_by_proxy: dict[str, str] | None = None,
    scheme: str = "http",
):
    """Marks a test with its client and action, and with the backends that cannot do it and why.

    `only_by_proxy` names backends that cannot do it alone but can with the proxy in front. Over
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
    """The version of a Python package that the suite installs as a client."""
    lists = set((E2E / "requirements").glob("*.txt")) - {E2E / "requirements/moto.txt"}
    for path in sorted(lists):
        for line in path.read_text().splitlines():
            name, _, version = line.partition("==")
            if name.strip().lower() == package.lower():
                return version.strip()
    raise LookupError(f"{package} is in no file of requirements/")


@dataclass(frozen=True)
class Place:
    """The workplace of a cell: an empty bucket, a home for client settings, a folder for files."""

    deployment: Deployment
    backend: str
    bucket: str
    home: Path
    scratch: Path

    @property
    def target(self) -> Target:
        return self.deployment.target

    def stored(self) -> dict[str, tuple[str, int]]:
        """All objects in the backend's listing: key to ETag and stored length."""
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
    # Compared by key through the proxy: keys in the proxy's listing may be spelled differently by
    # the backend.
    lengths = {key: length for key, (_, length) in stored.items()}
    assert lengths == {key: stored_length(length) for key, (_, length) in seen.items()}
    for key in stored:
        answer = _s3(deployment.backend.target).get_object(Bucket=bucket, Key=key)
        assert answer["Metadata"]["isec"].startswith("s3p1."), f"{key} carries no envelope"
        assert MARKER not in answer["Body"].read(), f"{key} was stored in the clear"


@cache
def _s3(target: Target):
    """One client for all cells: creating one takes longer than most calls."""
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
    everything = set((TESTS / "clients").glob("test_*.py"))
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
    """Results of the cells of this run; `whole` unless the run was told to leave some out."""

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
        # Several tests may make up one cell. The cell works only if all of them pass.
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
