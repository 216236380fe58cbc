"""Traces: spans arrive at a collector with the right parents, and without private data.

The proxy sends OTLP to otlp_sink.py. A relay between the proxy and SeaweedFS shows the headers of
the proxy's own requests.
"""

import secrets
import socket
import time

import pytest

import raw
from clients import boto3_client
from deployment import Deployment, make_bucket
from key_services.constellation import NAME, ConstellationService
from key_services.drills import settings
from known_clients import credential_of, known_client
from proxy import VIRTUAL_HOSTS, Proxy, new_key
from recorder import Relay
from telemetry.collector import GRPC, HTTP, Collector

KEY = new_key()
CLIENT = credential_of("traced")
SETTINGS = f"""{VIRTUAL_HOSTS}
[clients]
anonymous_read_buckets = ["e2e-traces-public"]

{known_client("traced")}
"""


def environment(collector: Collector, **more: str | None) -> dict[str, str | None]:
    return {
        "S3PROXY_ENCRYPT_KEY": KEY,
        "S3PROXY_TRACES_ENDPOINT": collector.url,
        "S3PROXY_TRACES_PROTOCOL": None if collector.protocol == HTTP else collector.protocol,
        # The SDK's own variable: the time between two batches, in milliseconds.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    } | more


class Traced:
    def __init__(self, directory, server, name: str, collector: Collector, **more: str | None):
        self.collector = collector
        self.relay = Relay(server.target)
        self.directory, self.audit = directory, directory / f"{name}-audit.log"
        variables = environment(collector, S3PROXY_AUDIT_OUTPUT=str(self.audit), **more)
        self.proxy = Proxy(
            directory, self.relay.target, name=name, settings=SETTINGS, environment=variables
        )
        self.target = self.proxy.target.known_as(CLIENT)
        self.deployment = Deployment(self.target, server, self.proxy)

    def stop(self):
        self.proxy.stop()
        self.relay.stop()


@pytest.fixture(scope="module", params=[HTTP, GRPC], ids=["http", "grpc"])
def collector(request, run_directory):
    collector = Collector(run_directory, f"collector-{request.param[:4]}", request.param)
    yield collector
    collector.stop()


@pytest.fixture(scope="module")
def traced(deployments, run_directory, collector):
    name = f"proxy-traced-{collector.protocol[:4]}"
    traced = Traced(run_directory, deployments.server("seaweedfs"), name, collector)
    yield traced
    traced.stop()
    text = collector.text()
    for secret in (KEY, CLIENT.secret_key, "Signature=", "AWS4-HMAC", "Credential"):
        assert secret not in text


@pytest.fixture(scope="module")
def bucket(traced):
    return make_bucket(traced.deployment)


def parent(sampled: bool = True) -> tuple[str, str]:
    """A trace of the client's own, and its `traceparent` header."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def ask(traced, method, bucket, key, headers=None, **parts):
    built = raw.request(traced.target, method, bucket, key, headers=headers, **parts)
    return raw.send(raw.sign(built, traced.target), traced.target)


def sent_for(traced, bucket: str, key: str) -> list:
    return [one for one in traced.relay.naming(bucket) if one.line.startswith(f"/{bucket}/{key}")]


def test_a_clients_trace_continues_through_the_proxy_to_the_backend(traced, bucket, key):
    trace_id, traceparent = parent()
    headers = {"traceparent": traceparent, "tracestate": "vendor=value"}
    answer = ask(traced, "PUT", bucket, key, headers, body=b"content")
    assert answer.status == 200
    server, *clients = traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert (server["trace_id"], server["parent_id"]) == (trace_id, traceparent.split("-")[2])
    assert (server["name"], server["kind"], server["failed"]) == ("S3.PutObject", "server", False)
    [put] = [span for span in clients if span["name"] == "PUT"]
    assert (put["kind"], put["parent_id"]) == ("client", server["span_id"])
    assert server["start"] <= put["start"] <= put["end"] <= server["end"]
    assert put["attributes"]["http.response.status_code"] == 200
    assert put["attributes"]["server.port"] == traced.relay.target.port
    [recorded] = [one for one in sent_for(traced, bucket, key) if one.method == "PUT"]
    expected = f"00-{trace_id}-{put['span_id']}-01"
    assert recorded.headers.get_all("traceparent") == [expected]
    assert recorded.headers.get_all("tracestate") == ["vendor=value"]
    assert "traceparent" not in recorded.headers["Authorization"]


def test_a_span_has_the_documented_attributes_and_no_object_key(traced, bucket, key):
    ask(traced, "PUT", bucket, key, body=b"content")
    answer = ask(traced, "GET", bucket, key)
    server, *_ = traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    expected = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.body.size": 7,
        "rpc.system": "aws-api",
        "rpc.service": "S3",
        "rpc.method": "GetObject",
        "aws.s3.bucket": bucket,
        "s3proxy.outcome": "complete",
    }
    assert expected.items() <= server["attributes"].items()
    assert server["resource"]["service.name"] == "s3proxy"
    assert key not in traced.collector.text()


def test_log_and_audit_log_name_the_trace(traced, bucket, key):
    trace_id, traceparent = parent()
    ask(traced, "PUT", bucket, key, {"traceparent": traceparent}, body=b"content")
    traced.collector.wait_for(lambda span: span["trace_id"] == trace_id and span["kind"] == "server")
    assert f'"trace_id":"{trace_id}"' in traced.proxy.log_text()
    deadline = time.monotonic() + 20
    while trace_id not in traced.audit.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_client_that_does_not_sample_is_followed_to_the_backend(traced, bucket, key):
    trace_id, traceparent = parent(sampled=False)
    ask(traced, "PUT", bucket, key, {"traceparent": traceparent}, body=b"content")
    [recorded] = [one for one in sent_for(traced, bucket, key) if one.method == "PUT"]
    version, trace, _, flags = recorded.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", trace_id, "00")
    # The span of a later request has arrived, so this one's would have, too.
    answer = ask(traced, "GET", bucket, key)
    traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert traced.collector.spans(trace_id=trace_id) == []


@pytest.mark.parametrize("malformed", ["", "00-xyz-1-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_malformed_parent_begins_a_new_trace(traced, bucket, key, malformed):
    answer = ask(traced, "PUT", bucket, key, {"traceparent": malformed}, body=b"content")
    server, *_ = traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert (server["parent_id"], server["links"]) == ("", [])


def test_an_unauthenticated_client_cannot_choose_its_trace(traced, bucket, key):
    trace_id, traceparent = parent()
    built = raw.request(traced.target, "GET", bucket, key, headers={"traceparent": traceparent})
    answer = raw.send(built, traced.target)
    assert answer.status == 403
    server, *clients = traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert server["trace_id"] != trace_id and server["links"] == [trace_id]
    assert (server["parent_id"], clients, server["failed"]) == ("", [], False)


def test_each_attempt_is_a_span_and_a_failure_says_so(traced, bucket, key):
    answer = ask(traced, "GET", bucket, key)
    assert answer.status == 404
    server, *clients = traced.collector.of_request(answer.headers["x-s3proxy-request-id"])
    assert server["failed"] is False
    statuses = [span["attributes"]["http.response.status_code"] for span in clients]
    assert statuses and set(statuses) == {404}
    assert all(span["failed"] for span in clients)


def test_an_upload_that_completes_in_a_background_task_stays_in_its_trace(traced, bucket, key):
    s3 = boto3_client(traced.target)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"content")
    done = s3.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    request_id = done["ResponseMetadata"]["HTTPHeaders"]["x-s3proxy-request-id"]
    server, *clients = traced.collector.of_request(request_id)
    assert server["name"] == "S3.CompleteMultipartUpload"
    assert len(clients) >= 2
    assert {span["parent_id"] for span in clients} == {server["span_id"]}


def test_calls_of_a_key_service_are_spans_of_the_request_that_needs_them(
    deployments, run_directory, collector, bucket, key
):
    service = ConstellationService(run_directory, f"constellation-traced-{collector.protocol[:4]}")
    keys = f'kms = "http://127.0.0.1:{service.port}"\nkek_objects = 1\ncache_time = "0s"'
    deployment = deployments.proxy(
        deployments.server("seaweedfs"),
        f"proxy-traced-keys-{collector.protocol[:4]}",
        settings=settings(keys),
        environment=environment(collector, S3PROXY_ENCRYPT_KEY=None),
    )
    try:
        # A readiness probe may have created a key already; the first object uses it up.
        assert raw.ask(deployment.target, "PUT", bucket, key, body=b"").status == 200
        for method, status, name in [("PUT", 200, "create"), ("GET", 200, "open")]:
            answer = raw.ask(deployment.target, method, bucket, key, body=b"")
            assert answer.status == status
            server, *clients = collector.of_request(answer.headers["x-s3proxy-request-id"])
            [called] = [span for span in clients if span["name"] == f"key_service {name}"]
            assert (called["kind"], called["parent_id"]) == ("client", server["span_id"])
            assert called["attributes"] == {"s3proxy.key": NAME} and not called["failed"]
        service.stop()
        answer = raw.ask(deployment.target, "GET", bucket, key)
        assert answer.status == 503
        server, *clients = collector.of_request(answer.headers["x-s3proxy-request-id"])
        kinds = [
            span["attributes"].get("error.type")
            for span in clients
            if span["name"] == "key_service open"
        ]
        assert server["failed"] and kinds == ["unavailable"] * 3
    finally:
        service.stop()


def test_at_a_ratio_of_zero_only_traces_that_clients_sample_are_sampled(
    deployments, run_directory, collector, bucket, key
):
    server = deployments.server("seaweedfs")
    some = Traced(
        run_directory, server, f"proxy-traced-seldom-{collector.protocol[:4]}", collector, S3PROXY_TRACES_SAMPLE_RATIO="0"
    )
    try:
        _, traceparent = parent()
        unsampled = ask(some, "PUT", bucket, key, body=b"content")
        unproved = raw.send(
            raw.request(some.target, "GET", bucket, key, headers={"traceparent": traceparent}),
            some.target,
        )
        sampled = ask(some, "GET", bucket, key, {"traceparent": traceparent})
        collector.of_request(sampled.headers["x-s3proxy-request-id"])
    finally:
        some.stop()
    for answer in (unsampled, unproved):
        assert answer.headers["x-s3proxy-request-id"] not in collector.text()


def test_an_unreachable_collector_hurts_no_request_and_is_logged_once(
    deployments, run_directory, collector, bucket, key
):
    protocol = collector.protocol
    collector = Collector(run_directory, f"collector-away-{protocol[:4]}", protocol)
    server = deployments.server("seaweedfs")
    name = f"proxy-traced-away-{protocol[:4]}"
    traced = Traced(run_directory, server, name, collector, OTEL_EXPORTER_OTLP_TIMEOUT="1000")
    try:
        collector.stop()
        log = traced.proxy.log_text
        deadline = time.monotonic() + 60
        while "could not send traces to the collector" not in log():
            assert ask(traced, "PUT", bucket, key, body=b"content").status == 200
            assert time.monotonic() < deadline
        for _ in range(50):
            assert ask(traced, "GET", bucket, key).body == b"content"
        assert log().count("could not send traces to the collector") == 1
        if protocol == HTTP:
            assert "Connection refused" in log()
        collector.start()
        deadline = time.monotonic() + 60
        while not collector.spans():
            assert ask(traced, "GET", bucket, key).status == 200
            assert time.monotonic() < deadline
    finally:
        traced.stop()
        collector.stop()


def test_the_last_spans_are_sent_before_the_program_ends(
    deployments, run_directory, collector, bucket, key
):
    server = deployments.server("seaweedfs")
    slow = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    traced = Traced(run_directory, server, f"proxy-traced-ending-{collector.protocol[:4]}", collector, **slow)
    try:
        answer = ask(traced, "PUT", bucket, key, body=b"content")
    finally:
        traced.stop()
    assert answer.headers["x-s3proxy-request-id"] in collector.text()


@pytest.fixture
def tracing(deployments, run_directory):
    """Starts a proxy with these variables and without trace settings of its own."""
    started = []

    def start(name, collector, **variables):
        without = {"S3PROXY_TRACES_ENDPOINT": None, "S3PROXY_TRACES_PROTOCOL": None}
        server = deployments.server("seaweedfs")
        traced = Traced(run_directory, server, name, collector, **without | variables)
        started.append(traced)
        return traced

    yield start
    for traced in started:
        traced.stop()


TOKEN = "Bearer s3cr3t-token"
HEADERS = "authorization=Bearer%20s3cr3t-token,x-tenant=one"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_opentelemetrys_variables_find_the_collector_and_headers_stay_secret(
    run_directory, certificates, tracing, collector, bucket, key, scheme
):
    protocol = collector.protocol
    name, is_https = f"{scheme}-{protocol[:4]}", scheme == "https"
    collector = Collector(
        run_directory, f"collector-{name}", protocol, certificates if is_https else None, TOKEN
    )
    traced = tracing(
        f"proxy-traced-{name}",
        collector,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL=None if protocol == HTTP else protocol,
        OTEL_EXPORTER_OTLP_HEADERS=HEADERS,
        SSL_CERT_FILE=str(certificates.ca_file) if is_https else None,
        S3PROXY_LOG_LEVEL="debug",
    )
    try:
        answer = ask(traced, "PUT", bucket, key, body=b"content")
        server, *_ = collector.of_request(answer.headers["x-s3proxy-request-id"])
        assert server["name"] == "S3.PutObject"
        for request in collector.requests():
            assert request["path"] == ("/v1/traces" if protocol == HTTP else "")
            assert request["headers"]["authorization"] == TOKEN
            assert request["headers"]["x-tenant"] == "one"
        assert "tracing requests" in traced.proxy.log_text()
        assert "s3cr3t" not in traced.proxy.log_text()
    finally:
        collector.stop()


def test_the_variables_for_traces_come_before_the_general_ones(
    run_directory, tracing, collector, bucket, key
):
    protocol = collector.protocol
    path = "/mine" if protocol == HTTP else ""
    collector = Collector(run_directory, f"collector-own-{protocol[:4]}", protocol)
    traced = tracing(
        f"proxy-traced-own-{protocol[:4]}",
        collector,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_PROTOCOL=GRPC if protocol == HTTP else HTTP,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=general",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector.url + path,
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="authorization=own",
    )
    try:
        answer = ask(traced, "PUT", bucket, key, body=b"content")
        collector.of_request(answer.headers["x-s3proxy-request-id"])
        for request in collector.requests():
            assert request["path"] == path
            assert request["headers"]["authorization"] == "own"
    finally:
        collector.stop()


def test_a_collector_that_refuses_is_logged_and_the_token_is_not(
    run_directory, tracing, collector, bucket, key
):
    protocol = collector.protocol
    collector = Collector(run_directory, f"collector-refusing-{protocol[:4]}", protocol, token=TOKEN)
    traced = tracing(
        f"proxy-traced-refused-{protocol[:4]}",
        collector,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20another",
    )
    try:
        assert ask(traced, "PUT", bucket, key, body=b"content").status == 200
        wait_for_log(traced, "could not send traces to the collector")
        wait_for_log(traced, "the collector answered 401" if protocol == HTTP else "nauthenticated")
        assert "Bearer" not in traced.proxy.log_text()
    finally:
        collector.stop()


def test_a_silent_collector_is_abandoned_after_the_timeout(
    run_directory, tracing, collector, bucket, key
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        traced = tracing(
            f"proxy-traced-silent-{collector.protocol[:4]}",
            collector,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL=collector.protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT="500",
        )
        began = time.monotonic()
        assert ask(traced, "PUT", bucket, key, body=b"content").status == 200
        wait_for_log(traced, "could not send traces to the collector")
        assert time.monotonic() - began < 8, "the default would be 10 s"


def wait_for_log(traced, words):
    deadline = time.monotonic() + 30
    while words not in traced.proxy.log_text():
        assert time.monotonic() < deadline, traced.proxy.log_text()[-2000:]
        time.sleep(0.05)


def test_without_a_collector_no_trace_is_propagated(deployments, run_directory, bucket, key):
    relay = Relay(deployments.server("seaweedfs").target)
    proxy = Proxy(run_directory, relay.target, name="proxy-untraced")
    try:
        _, traceparent = parent()
        built = raw.request(
            proxy.target, "PUT", bucket, key, headers={"traceparent": traceparent}, body=b"content"
        )
        assert raw.send(raw.sign(built, proxy.target), proxy.target).status == 200
        assert relay.naming(bucket)
        assert all("traceparent" not in one.headers for one in relay.naming(bucket))
    finally:
        proxy.stop()
        relay.stop()
