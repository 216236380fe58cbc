"""Backends that record what reaches them: one with a canned answer, one with a real server behind.

A recorder answers every request in the same empty way, so a leak shows whatever a real server made
of it. A relay passes each request on and the answer back, byte for byte, so that the proxy works
and its requests can be counted. Neither is asked anything but by the proxy, whose readiness probes
name no bucket.
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
    """`length` is what a HEAD announces; anything else announces its body's."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: str


class Recorder:
    """Listens on loopback; `naming` gives the requests that had to do with a bucket."""

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
                """Silent: the record is the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.target = Target(f"http://127.0.0.1:{self._server.server_port}", OWNER)

    def answer(self, recorded: Recorded) -> Answer:
        return Answer(200, [], b"", "0")

    def naming(self, bucket: str) -> list[Recorded]:
        """The requests that had to do with a bucket."""
        return [one for one in self._requests if one.line.startswith(f"/{bucket}")]

    def forget(self) -> None:
        self._requests.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Relay(Recorder):
    """Stands before a real server. Signatures stay good, since the Host header is passed on too."""

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
    """A relay that can do something just before it passes on a request."""

    def __init__(self, server):
        self.before = {}
        super().__init__(server)

    def answer(self, recorded):
        action = self.before.pop(len(self._requests), None)
        if action:
            action()
        return super().answer(recorded)
