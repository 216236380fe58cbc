"""An environment for release 1.8 or 1.9 of Intrinsec's proxy starts this program unchanged."""

import pytest

import raw
import wire
from clients import boto3_client
from content import LARGE, SMALL, content
from deployment import Deployment, make_bucket
from forms import Form, policy_of, post, signed
from legacy import KEK_VERSIONS, Older
from proxy import Proxy
from telemetry.collector import Collector

PASSPHRASE = "the passphrase of the older proxy"
LIMIT = 100_000


class Fork:
    """The program with the older proxy's variables and flags, and no other settings."""

    def __init__(self, directory, server):
        self.collector = Collector(directory, "collector-fork", token="Bearer fork")
        environment = {
            "S3PROXY_HOST": server.target.url.removeprefix("http://"),
            "S3PROXY_INSECURE": "1",
            "S3PROXY_ENCRYPT_KEY": PASSPHRASE,
            "S3PROXY_DEKTAG_NAME": "fork-dek",
            "S3PROXY_DEKTAG_KEKVER": "fork-version",
            "S3PROXY_PUTBODY_MAX": str(LIMIT),
            "S3PROXY_THROTTLING_REQUESTSMAX": "500",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20fork",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        self.proxy = Proxy(
            directory, server.target, name="proxy-fork", settings="", environment=environment
        )
        self.target, self.server = self.proxy.target, server

    def stop(self):
        self.proxy.stop()
        self.collector.stop()


@pytest.fixture(scope="module")
def fork(run_directory, deployments):
    fork = Fork(run_directory, deployments.server("seaweedfs"))
    yield fork
    fork.stop()


@pytest.fixture(scope="module")
def bucket(fork):
    return make_bucket(Deployment(fork.target, fork.server, fork.proxy))


def test_the_start_up_log_says_how_the_variables_were_read(fork):
    log = fork.proxy.log_text()
    assert f"requests to {fork.server.target.url} go over PLAIN HTTP" in log
    assert "S3PROXY_THROTTLING_REQUESTSMAX is read as 500 requests per second" in log
    assert "S3PROXY_LIMITS_REQUESTS_IN_FLIGHT" in log
    assert "is not a setting" not in log


@pytest.mark.parametrize("version", KEK_VERSIONS)
def test_objects_of_both_kek_versions_are_read_under_the_configured_names(
    fork, bucket, key, version
):
    class Renamed(Older):
        version_name = "fork-version"

    older = Renamed.of_text(PASSPHRASE, version, "fork-dek")
    older.put(boto3_client(fork.server.target), bucket, key, content(LARGE))
    s3 = boto3_client(fork.target)
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["Body"].read(), got["Metadata"]) == (content(LARGE), {})
    for name in ("fork-dek", "fork-version", "fork_version"):
        headers = {f"x-amz-meta-{name}": "1"}
        answer = raw.ask(fork.target, "PUT", bucket, key, headers=headers, body=b"x")
        assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_traces_arrive_over_http(fork, bucket, key):
    answer = raw.ask(fork.target, "PUT", bucket, key, body=b"content")
    server, *_ = fork.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert server["name"] == "S3.PutObject"
    assert {request["path"] for request in fork.collector.requests()} == {"/v1/traces"}


def test_a_larger_object_is_refused_before_its_body_is_sent(fork, bucket, key):
    s3 = boto3_client(fork.target)
    s3.put_object(Bucket=bucket, Key=key, Body=content(LIMIT))
    built = raw.request(fork.target, "PUT", bucket, key, body=content(LIMIT + 1))
    answer = wire.exchange(fork.target, wire.head(raw.sign(built, fork.target)))
    assert (answer.status, answer.code) == (413, "EntityTooLarge")
    assert b"S3PROXY_PUTBODY_MAX" in answer.body
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == content(LIMIT)


def test_a_form_is_limited_in_the_same_way(fork, bucket, key):
    def form(size):
        form = Form(key, content(size))
        return signed(form, fork.target, policy_of(form, bucket))

    assert post(fork.target, bucket, form(SMALL)).status == 204
    assert post(fork.target, bucket, form(LIMIT)).status == 204
    answer = post(fork.target, bucket, form(LIMIT + 1))
    assert (answer.status, answer.code) == (413, "EntityTooLarge")
