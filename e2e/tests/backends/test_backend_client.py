"""The backend client's tests that need a real server: signatures, unusual keys, trailers."""

import os
import subprocess

import pytest

from repository import E2E


@pytest.mark.timeout(900)
def test_the_backend_client_agrees_with_a_real_server(deployments):
    target = deployments.server("seaweedfs").target
    environment = os.environ | {
        "S3PROXY_TEST_ENDPOINT": target.authority,
        "S3PROXY_TEST_ACCESS_KEY": target.credential.access_key,
        "S3PROXY_TEST_SECRET_KEY": target.credential.secret_key,
    }
    command = [unit_tests(), "backend::tests::live", "--ignored"]
    finished = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout


def unit_tests() -> str:
    """The proxy's unit tests: as e2e/run built them, or built now."""
    built = os.environ.get("S3PROXY_UNIT_TESTS")
    return built or subprocess.check_output([E2E / "unit-tests"], text=True, timeout=900).strip()
