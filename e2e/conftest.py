"""Fixtures of the suite: servers and proxies that start when a test first requests them.

Every server and proxy starts once per session, listens on loopback, keeps its data in one temporary
folder, and stops with the session. After a failure the logs stay in the test folder; the data never
does. `--direct` runs the matrix against the servers themselves, to separate faults of a client or
server from faults of the proxy.
"""

import os
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

import needs
from browser import Browser, Pages
from certificates import make_certificates
from clients import boto3_client
from deployment import Deployments, make_bucket
from hosts import Names
from key_services.openbao import OpenBao
from scrape import Admin
from target import DOMAIN, SERVICE

pytest_plugins = ["cells", "module_times"]

VIRTUAL_HOST_BUCKETS = ["e2e-matrix", "e2e-names"]
"""Buckets with a host name each."""

NAMES = [DOMAIN, SERVICE, "s3proxy", *(f"{bucket}.{DOMAIN}" for bucket in VIRTUAL_HOST_BUCKETS)]


def pytest_addoption(parser):
    parser.addoption(
        "--direct",
        action="store_true",
        help="run the matrix against the servers themselves, without a proxy",
    )


def pytest_configure(config):
    # boto3 in this process is a client like the others: no setting of the machine may reach it.
    for name in list(os.environ):
        if name.startswith("AWS_") or name.endswith(("_CA_BUNDLE", "_proxy", "_PROXY")):
            del os.environ[name]
    if "S3PROXY_TEST_DIR" not in os.environ:
        raise pytest.UsageError("S3PROXY_TEST_DIR is not set: start the suite with e2e/run")
    config.pluginmanager.register(needs)


def pytest_collection_modifyitems(config, items):
    # Modules that judge all cells or all logs come last, after everything else has run.
    last = ["test_clients_page.py", "test_logs.py"]
    items.sort(key=lambda item: last.index(item.path.name) if item.path.name in last else -1)
    # All tests but the matrix are about the proxy.
    if config.getoption("--direct"):
        items[:] = [
            item
            for item in items
            if item.path.name == "test_matrix.py" or item.get_closest_marker("cell")
        ]


@pytest.fixture(scope="session")
def run_directory(request):
    directory = Path(tempfile.mkdtemp(prefix="s3proxy-e2e-"))
    yield directory
    if request.session.testsfailed:
        kept = Path(os.environ["S3PROXY_TEST_DIR"]) / "logs" / directory.name
        kept.mkdir(parents=True)
        for log in directory.glob("*.log"):
            shutil.copy(log, kept)
        print(f"\nlogs of servers and proxies: {kept}")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def certificates(run_directory):
    return make_certificates(run_directory / "certificates")


@pytest.fixture(scope="session")
def names():
    names = Names(NAMES)
    yield names
    names.release()


@pytest.fixture(scope="session")
def resolved(names):
    """The names resolve, for tests that use one; deployments that are known by name see to it
    themselves."""
    names.resolve()


@pytest.fixture(scope="session")
def deployments(request, run_directory, certificates, names):
    with ExitStack() as started:
        direct = request.config.getoption("--direct")
        deployments = Deployments(run_directory, certificates, started, names, direct=direct)
        yield deployments
        deployments.stop_proxies()


@pytest.fixture(scope="session")
def browser(run_directory):
    browser = Browser(run_directory)
    yield browser
    browser.stop()


@pytest.fixture(scope="session")
def pages():
    pages = Pages()
    yield pages
    pages.stop()


@pytest.fixture(scope="session")
def openbao(run_directory, certificates):
    """A key service for tenants, over TLS. Its users leave it running."""
    server = OpenBao(run_directory, certificates)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def admin():
    """An admin listener for the module's own proxy."""
    return Admin.anywhere()


@pytest.fixture(scope="module")
def seaweedfs(deployments):
    """A proxy over HTTP in front of SeaweedFS, and SeaweedFS itself to compare with."""
    return deployments.get("seaweedfs", "http")


@pytest.fixture(scope="module")
def deployment(seaweedfs):
    """The deployment that the fixtures below use; modules for several servers override it."""
    return seaweedfs


@pytest.fixture(scope="module")
def bucket(deployment):
    """A bucket for this module only."""
    return make_bucket(deployment)


@pytest.fixture
def s3(deployment):
    """boto3 through the proxy."""
    return boto3_client(deployment.target)


@pytest.fixture
def backend_s3(deployment):
    """boto3 directly to the backend."""
    return boto3_client(deployment.backend.target)


@pytest.fixture(scope="session")
def debugging(deployments):
    """A proxy before SeaweedFS at the log level with the most output."""
    environment = {"S3PROXY_LOG_LEVEL": "debug", "S3PROXY_LISTEN_DRAIN_DELAY": "0s"}
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-debug", environment=environment)


@pytest.fixture(scope="module")
def untouched(debugging):
    """A bucket for this module only in which every write is refused: it must stay empty.

    Checked at the end of the module, when a late write of the backend would also have arrived.
    """
    bucket = make_bucket(debugging)
    yield bucket
    listed = boto3_client(debugging.backend.target).list_objects_v2(Bucket=bucket)
    assert listed["KeyCount"] == 0


@pytest.fixture(scope="module")
def touched(debugging):
    """A bucket for this module only, for writes that must succeed."""
    return make_bucket(debugging)


@pytest.fixture
def prefix():
    """A prefix that no other test uses."""
    return f"{secrets.token_hex(4)}/"


@pytest.fixture
def key(prefix):
    """An object key that no other test uses."""
    return prefix + "object"
