"""A headless browser: Chromium, driven through ChromeDriver, and the pages that it loads.

The protocol is W3C WebDriver. Tests need little of it: open a page, run a script in the page, put a
file into a form. The pages are served from a port of their own, so their origin differs from the
proxy's; the same pages under another host name have a third origin.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import urllib3

from processes import Process, accepts_connections, clean_environment, free_port

# The first flag lets the browser run as root; the others keep it from calling home.
_FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTENT = """
    const content = size => {
        const period = Uint8Array.from({length: 251}, (_, at) => at * 31 % 251);
        const bytes = new Uint8Array(size);
        for (let at = 0; at < size; at += 251) bytes.set(period.subarray(0, size - at), at);
        return bytes;
    };
"""
"""JavaScript's `content`, for scripts in a page."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def content(size: int) -> bytes:
    """What `CONTENT` makes in a page."""
    period = bytes(at * 31 % 251 for at in range(251))
    return (period * (size // 251 + 1))[:size]


class Browser:
    def __init__(self, directory: Path):
        self._port = free_port()
        home = directory / "browser"
        home.mkdir()
        self._process = Process(
            "chromedriver",
            ["/usr/bin/chromedriver", f"--port={self._port}"],
            clean_environment(home),
            directory / "chromedriver.log",
        )
        try:
            self._process.wait_until(lambda: accepts_connections(self._port), "ready", seconds=30)
            options = {
                "binary": "/usr/bin/chromium",
                "args": [*_FLAGS, f"--user-data-dir={home / 'profile'}"],
            }
            capabilities = {
                "alwaysMatch": {
                    "goog:chromeOptions": options,
                    "timeouts": {"script": 30_000, "pageLoad": 30_000},
                }
            }
            opened = self._ask("POST", "/session", {"capabilities": capabilities})
        except BaseException:
            self._process.stop()
            raise
        self._session = f"/session/{opened['sessionId']}"

    def stop(self) -> None:
        try:
            self._ask("DELETE", self._session)
        finally:
            self._process.stop()

    def open(self, url: str) -> None:
        self._ask("POST", f"{self._session}/url", {"url": url})

    @property
    def url(self) -> str:
        return self._ask("GET", f"{self._session}/url")

    def run(self, script: str, *arguments):
        """Runs the body of an async function in the page. The result is its value, or its error."""
        wrapped = """
            const done = arguments[arguments.length - 1];
            const values = Array.prototype.slice.call(arguments, 0, -1);
            (async (...values) => { %s })(...values).then(done, error => done(String(error)));
        """
        body = {"script": wrapped % script, "args": list(arguments)}
        return self._ask("POST", f"{self._session}/execute/async", body)

    def element(self, selector: str) -> str:
        query = {"using": "css selector", "value": selector}
        return self._ask("POST", f"{self._session}/element", query)[_ELEMENT]

    def type(self, selector: str, text: str) -> None:
        """Types into a field; for a file input, types the path of a file."""
        self._ask("POST", f"{self._session}/element/{self.element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._ask("POST", f"{self._session}/element/{self.element(selector)}/click", {})

    def wait_for_page(self, address: str, seconds: float = 30) -> str:
        """Waits until the page's URL begins with a prefix; returns the whole URL."""
        deadline = time.monotonic() + seconds
        while not (url := self.url).startswith(address):
            assert time.monotonic() < deadline, f"the browser is still at {url}"
        return url

    def _ask(self, method: str, path: str, body: dict | None = None):
        answer = urllib3.request(
            method,
            f"http://127.0.0.1:{self._port}{path}",
            body=None if body is None else json.dumps(body),
            timeout=60,
            retries=False,
        )
        value = answer.json()["value"]
        assert answer.status == 200, value
        return value


class Pages:
    """Serves the given pages, and an empty page under every other path."""

    def __init__(self):
        pages = self._pages = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.get(self.path, "<!doctype html><title>empty</title>").encode()
                kind = "text/javascript" if self.path.endswith(".js") else "text/html"
                self.send_response(200)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *arguments):
                """Logs nothing: the browser reports its own view."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.other_origin = f"http://localhost:{self._server.server_port}"

    def add(self, path: str, html: str) -> None:
        self._pages[path] = html

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
