"""The conformance suite s3s-e2e: a case that passes at a server also passes through the proxy.

Each case runs in its own process, first directly against the server and then through the proxy. A
case that fails at the server proves nothing about the proxy, and is skipped with its own message.
Cases choose their bucket names and leave the buckets behind when they fail, so leftovers are
removed before the next run.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients import aws_variables, boto3_client
from processes import CommandFailed, clean_environment, run
from target import Target

CASES = [
    "Basic/Essential/test_list_buckets",
    "Basic/Essential/test_list_objects",
    "Basic/Essential/test_get_object",
    "Basic/Essential/test_delete_object",
    "Basic/Essential/test_head_operations",
    "Basic/Put/test_put_object_tiny",
    "Basic/Put/test_put_object_with_metadata",
    "Basic/Put/test_put_object_with_non_ascii_metadata",
    "Basic/Put/test_put_object_larger",
    "Basic/Put/test_put_object_with_checksum_algorithm",
    "Basic/Put/test_put_object_with_content_checksums",
    "Basic/Copy/test_copy_object",
    "Advanced/STS/test_assume_role",
    "Advanced/Multipart/test_multipart_upload",
    "Advanced/Tagging/test_object_tagging",
    "Advanced/ListPagination/test_list_objects_with_pagination",
    "Advanced/PresignedUrl/test_put_presigned_url",
    "Advanced/PresignedUrl/test_get_presigned_url",
]
"""All cases of the suite, so that each is a named test; the first test checks the list."""

PREFIX_OF_ITS_BUCKETS = "test-"


def test_every_case_of_the_suite_is_run_here(tmp_path):
    listed = run([program(), "--list"], clean_environment(tmp_path)).split()
    assert [line for line in listed if line.count("/") == 2] == CASES


@pytest.mark.parametrize("backend", ["seaweedfs", "radosgw"])
@pytest.mark.parametrize("case", CASES)
def test_a_case_that_passes_at_the_server_passes_through_the_proxy(case, backend, deployments, tmp_path):
    deployment = deployments.get(backend, "http")
    server = deployment.backend.target
    remove_buckets(server)
    direct = outcome(server, case, tmp_path / "direct")
    remove_buckets(server)
    if not direct.passed:
        pytest.skip(f"{case} fails at {backend} itself: {direct.reason}")
    proxied = outcome(deployment.target, case, tmp_path / "proxied")
    remove_buckets(server)
    assert proxied.passed, f"through the proxy: {proxied.reason}\n{proxied.output}"


@dataclass(frozen=True)
class Outcome:
    passed: bool
    reason: str
    output: str


def outcome(target: Target, case: str, home: Path) -> Outcome:
    """Runs one case. Its report decides, not the exit status, which is 0 even if no case ran."""
    home.mkdir()
    report = home / "report.json"
    # With a backtrace, the program also prints the error of a failed case.
    environment = clean_environment(
        home, AWS_ENDPOINT_URL=target.url, RUST_BACKTRACE="1", **aws_variables(target)
    )
    arguments = [program(), "--json", report, "--filter", f"^{case}$"]
    try:
        output = run(arguments, environment)
    except CommandFailed as error:
        output = error.output
    suite = json.loads(report.read_text())["suites"][0]
    steps = [("suite setup", suite["setup"])]
    for fixture in suite["fixtures"]:
        steps.append(("setup", fixture["setup"]))
        steps.extend((ran["name"], ran["run"]) for ran in fixture["cases"])
        steps.append(("teardown", fixture["teardown"]))
    ran = [name for name, _ in steps]
    reasons = [f"{name}: {step['result']}" for name, step in steps if step and step["result"] != "Ok"]
    passed = not reasons and case.rsplit("/", 1)[1] in ran
    return Outcome(passed, "; ".join(reasons) or f"ran only {ran}", output)


def remove_buckets(target: Target) -> None:
    """Removes the buckets that a case left behind when it failed."""
    s3 = boto3_client(target)
    names = [bucket["Name"] for bucket in s3.list_buckets().get("Buckets", [])]
    for bucket in names:
        if not bucket.startswith(PREFIX_OF_ITS_BUCKETS):
            continue
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
        s3.delete_bucket(Bucket=bucket)


def program() -> Path:
    return Path(os.environ["S3PROXY_TEST_DIR"]) / "conformance" / "bin" / "s3s-e2e"
