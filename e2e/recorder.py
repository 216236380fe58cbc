"""A backend that records what reaches it and answers every request with one canned answer."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import OWNER
from target import Target


@dataclass(frozen=True)
class Recorded:
    method: str
    line: str
    body: bytes


class Recorder:
    """Listens on loopback; `requests` has everything but the proxy's own readiness probes."""

    def __init__(self):
        self._requests: list[Recorded] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                recorder._requests.append(Recorded(self.command, self.path, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = handle_any

            def log_message(self, format, *arguments):
                """Silent: the record is the log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.target = Target(f"http://127.0.0.1:{self._server.server_port}", OWNER)

    def naming(self, bucket: str) -> list[Recorded]:
        """The requests that had to do with a bucket."""
        return [one for one in self._requests if one.line.startswith(f"/{bucket}")]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
