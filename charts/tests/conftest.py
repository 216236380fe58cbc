"""The option that rewrites generated files."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="write snapshots and generated files anew")


@pytest.fixture
def update(request):
    return request.config.getoption("update")
