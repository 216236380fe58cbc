"""The collector of otlp_sink.py as a process that can be stopped and restarted."""

import json
import time
from pathlib import Path

from certificates import Certificates
from processes import Process, accepts_connections, clean_environment, free_port
from servers import tools

SINK = Path(__file__).with_name("otlp_sink.py")

HTTP, GRPC = "http/protobuf", "grpc"


class Collector:
    """Listens on one loopback port while it runs. `certificates` make it HTTPS; `token` is the
    Authorization that it demands."""

    def __init__(
        self, directory: Path, name: str, protocol: str = HTTP,
        certificates: Certificates | None = None, token: str | None = None,
    ):
        self._directory, self._name = directory, name
        self.protocol = protocol
        self.port = free_port()
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self._spans, self._requests = directory / f"{name}.spans", directory / f"{name}.requests"
        self._spans.touch()
        self._requests.touch()
        self._arguments = ["--port", self.port, "--protocol", protocol]
        self._arguments += ["--spans", self._spans, "--requests", self._requests]
        if certificates:
            self._arguments += ["--certificate", certificates.directory / "s3proxy.crt"]
            self._arguments += ["--key", certificates.directory / "s3proxy.key"]
        if token:
            self._arguments += ["--token", token]
        self.start()

    def start(self) -> None:
        python = tools("telemetry") / "python"
        self._process = Process(
            self._name,
            [python, SINK, *self._arguments],
            clean_environment(self._directory),
            self._directory / f"{self._name}.log",
        )
        self._process.wait_until(lambda: accepts_connections(self.port), "accepting connections")

    def stop(self) -> None:
        self._process.stop(seconds=0.1)

    def text(self) -> str:
        return self._spans.read_text()

    def requests(self) -> list[dict]:
        """Path and headers of the requests received."""
        whole, _, _ = self._requests.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def spans(self, **fields) -> list[dict]:
        whole, _, _ = self.text().rpartition("\n")
        spans = [json.loads(line) for line in whole.splitlines()]
        return [span for span in spans if fields.items() <= span.items()]

    def wait_for(self, found, seconds: float = 30) -> list[dict]:
        """The spans for which `found` holds, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while not (chosen := [span for span in self.spans() if found(span)]):
            assert time.monotonic() < deadline, self.text()[-2000:]
            time.sleep(0.05)
        return chosen

    def of_request(self, request_id: str) -> list[dict]:
        """The spans of the request's trace, its own span first, once that span has ended."""
        is_own = lambda span: span["attributes"].get("s3proxy.request_id") == request_id
        [request] = self.wait_for(is_own)
        others = self.spans(trace_id=request["trace_id"])
        return [request, *(span for span in others if span["span_id"] != request["span_id"])]
