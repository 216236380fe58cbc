"""Backends that record all requests: one with a canned response, one that forwards to a real
server.

A recorder answers every request with the same empty response, so a leaked request shows even if a
real server would have refused it. A relay forwards each request and its response byte for byte, so
that the proxy works and its requests can be counted. Only the proxy sends requests to either, and
its readiness probes name no bucket.
"""

import http.client
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import OWNER
from target import Target

_OF_ONE_CONNECTION = {"connection", "date", "server", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Recorded:
    method: str
    line: str
    body: bytes
    headers: http.client.HTTPMessage


@dataclass(frozen=True)
class Answer:
    """`length` is the announced length, which for a HEAD is not that of the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: str


class Recorder:
    """Listens on loopback; `naming` gives the requests about a bucket."""

    name = "recorder"

    def __init__(self):
        self._requests: list[Recorded] = []
        self.connections = 0
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                recorder.connections += 1

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                recorded = Recorded(self.command, self.path, body, self.headers)
                recorder._requests.append(recorded)
                answer = recorder.answer(recorded)
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if answer.status not in (204, 304):
                    self.send_header("Content-Length", answer.length)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = handle_any

            def log_message(self, format, *arguments):
                """Logs nothing: the requests are recorded."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.target = Target(f"http://127.0.0.1:{self._server.server_port}", OWNER)

    def answer(self, recorded: Recorded) -> Answer:
        return Answer(200, [], b"", "0")

    def naming(self, bucket: str) -> list[Recorded]:
        """The requests about a bucket."""
        return [one for one in self._requests if one.line.startswith(f"/{bucket}")]

    def forget(self) -> None:
        self._requests.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Relay(Recorder):
    """Forwards to a real server. The Host header stays, and so signatures stay valid."""

    name = "relay"

    def __init__(self, server: Target):
        self._behind = server
        super().__init__()

    def answer(self, recorded: Recorded) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._behind.port, timeout=60)
        try:
            connection.putrequest(
                recorded.method, recorded.line, skip_host=True, skip_accept_encoding=True
            )
            for name, value in recorded.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(recorded.body or None)
            answer = connection.getresponse()
            body = answer.read()
            headers = [
                pair for pair in answer.getheaders() if pair[0].lower() not in _OF_ONE_CONNECTION
            ]
            announced = answer.headers["Content-Length"] if recorded.method == "HEAD" else None
            return Answer(answer.status, headers, body, announced or str(len(body)))
        finally:
            connection.close()


class Replacing(Relay):
    """A relay that can run an action just before it forwards a request."""

    def __init__(self, server):
        self.before = {}
        super().__init__(server)

    def answer(self, recorded):
        action = self.before.pop(len(self._requests), None)
        if action:
            action()
        return super().answer(recorded)
