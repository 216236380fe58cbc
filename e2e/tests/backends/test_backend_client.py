"""The backend client's tests that need a real server: signatures, unusual keys, trailers."""

import os
import subprocess

from repository import ROOT



def test_the_backend_client_agrees_with_a_real_server(deployments):
    target = deployments.server("seaweedfs").target
    environment = os.environ | {
        "S3PROXY_TEST_ENDPOINT": target.authority,
        "S3PROXY_TEST_ACCESS_KEY": target.credential.access_key,
        "S3PROXY_TEST_SECRET_KEY": target.credential.secret_key,
    }
    # The same options as in the README's test command, so that nothing has to be compiled again.
    command = ["cargo", "test", "--locked", "--workspace", "--lib", "backend::tests::live", "--", "--ignored"]
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout
