"""The server of the run and its input: rendered value sets, and the manifests of deploy/."""

import pytest

from api_server import api_server
from chart import CHARTS, ROOT, TOOLS, VALUE_SETS, rendered

PLAIN = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "deploy").rglob("*.yaml")
    if path.parent.name != "compose"
)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with api_server(tmp_path_factory.mktemp("server"), [TOOLS / "definitions", CHARTS / "tests/definitions.yaml"]) as it:
        yield it


@pytest.fixture(params=[*VALUE_SETS, *PLAIN])
def manifest(request, server, tmp_path):
    """A file with all the objects; those that a test creates are deleted afterwards."""
    name = request.param
    path = tmp_path / "manifest.yaml"
    path.write_text((ROOT / name).read_text() if name in PLAIN else rendered(name, server.version))
    yield path
    server.kubectl("delete", "--ignore-not-found", "-f", path)
