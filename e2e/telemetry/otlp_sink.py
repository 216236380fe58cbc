"""A collector of OpenTelemetry traces: receives OTLP over gRPC or HTTP and appends each span to a
file.

It runs in a separate virtual environment (requirements/telemetry.txt). A span is a line of JSON
with ids in hex and attributes as a plain object. A second file gets a line per request: its path,
and its headers by lower-case names.
"""

import argparse
import json
import ssl
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as methods
from opentelemetry.proto.trace.v1 import trace_pb2


def plain(attributes) -> dict:
    """Attributes by name, for the value types that spans use."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def described(span, resource) -> dict:
    return {
        "name": span.name,
        "kind": trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex(),
        "trace_state": span.trace_state,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": plain(span.attributes),
        "events": len(span.events),
        "links": [link.trace_id.hex() for link in span.links],
        "failed": span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        "message": span.status.message,
        "resource": plain(resource.attributes),
    }


class Files:
    """Files to which spans and requests are appended."""

    def __init__(self, options):
        self._options = options

    def note(self, path: str, headers: dict, request) -> None:
        with self._options.requests.open("a") as requests:
            requests.write(json.dumps({"path": path, "headers": headers}) + "\n")
        with self._options.spans.open("a") as spans:
            for of_resource in request.resource_spans:
                for of_scope in of_resource.scope_spans:
                    for span in of_scope.spans:
                        spans.write(json.dumps(described(span, of_resource.resource)) + "\n")


def serve_grpc(options, files: Files) -> None:
    class Collector(methods.TraceServiceServicer):
        def Export(self, request, context):
            headers = dict(context.invocation_metadata())
            if options.token and headers.get("authorization") != options.token:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "not this token")
            files.note("", headers, request)
            return messages.ExportTraceServiceResponse()

    # Otherwise a second server could listen on the port of one that is about to exit.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)]
    )
    methods.add_TraceServiceServicer_to_server(Collector(), server)
    address = f"127.0.0.1:{options.port}"
    if options.certificate:
        pair = (options.key.read_bytes(), options.certificate.read_bytes())
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def serve_http(options, files: Files) -> None:
    class Collector(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers["content-type"] != "application/x-protobuf":
                self.send_error(415)
                return
            if options.token and headers.get("authorization") != options.token:
                self.send_error(401)
                return
            files.note(self.path, headers, messages.ExportTraceServiceRequest.FromString(body))
            answer = messages.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Collector)
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


SERVERS = {"grpc": serve_grpc, "http/protobuf": serve_http}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=SERVERS, required=True)
    parser.add_argument("--spans", type=Path, required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--token", help="the Authorization without which nothing is taken")
    options = parser.parse_args()
    SERVERS[options.protocol](options, Files(options))


if __name__ == "__main__":
    main()
