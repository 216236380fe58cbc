"""A collector of OpenTelemetry traces: takes OTLP over gRPC and appends each span to a file.

It runs in a virtual environment of its own (requirements/telemetry.txt). A span is a line of JSON:
what a test looks at, with ids in hex and attributes as a plain object.
"""

import argparse
import json
from concurrent import futures
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as methods
from opentelemetry.proto.trace.v1 import trace_pb2


def plain(attributes) -> dict:
    """Attributes by name; of the kinds of values, those that spans have."""
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--spans", type=Path, required=True)
    options = parser.parse_args()

    class Collector(methods.TraceServiceServicer):
        def Export(self, request, context):
            with options.spans.open("a") as spans:
                for of_resource in request.resource_spans:
                    for of_scope in of_resource.scope_spans:
                        for span in of_scope.spans:
                            line = json.dumps(described(span, of_resource.resource))
                            spans.write(line + "\n")
            return messages.ExportTraceServiceResponse()

    # Otherwise a second server could listen on the port of one that is about to end.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)]
    )
    methods.add_TraceServiceServicer_to_server(Collector(), server)
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
