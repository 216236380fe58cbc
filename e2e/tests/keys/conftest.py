"""Fixtures that the key services' modules share. Each module has its own `replica`, which starts
proxies whose only keys are the service's."""

import pytest
from deployment import make_bucket



@pytest.fixture(scope="module")
def deployment(replica):
    return replica("first")


@pytest.fixture(scope="module")
def bucket(deployments):
    return make_bucket(deployments.get("seaweedfs", "http"))
