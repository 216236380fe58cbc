"""The option that rewrites generated files."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="rewrite snapshots and generated files")


@pytest.fixture
def update(request):
    return request.config.getoption("update")
