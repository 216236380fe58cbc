"""A stub with the behaviour of AWS: an S3 server on loopback that stores objects and fails on
request.

It checks no signature and has no buckets, versions or ACLs. It stores the body of a PUT (also one
with a trailing checksum), serves it whole or in ranges, and sends for every object a header that
AWS sends unasked: a CRC64NVME of the stored bytes. Tests add any other behaviour as a rule: a
function from the request to the reply, or to None to leave the request to the next rule. A body
that breaks off is never stored.
"""

import base64
import email.utils
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from servers import OWNER
from target import Target

HOST_ID = "host-id-of-the-stub"
REQUEST_ID = "STUBREQUESTID0001"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived, with the `aws-chunked` framing removed from its body."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def region(self) -> str:
        """The region for which the request was signed."""
        return self.headers.get("authorization", "").split("/")[2]

    def names(self, text: str) -> bool:
        return text in self.path


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    breaks_after: int | None = None
    """Bytes of the body after which the connection closes, although more were announced."""
    waits_for: threading.Event | None = None
    """The reply waits for this event. With `breaks_after`, closing the connection waits instead."""


Rule = Callable[[Seen], Reply | None]


@dataclass
class Kept:
    body: bytes
    metadata: dict[str, str]
    modified: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        digest = hashlib.md5(self.body + repr(sorted(self.metadata.items())).encode())
        return f'"{digest.hexdigest()}"'

    def headers(self) -> dict[str, str]:
        return self.metadata | {
            "ETag": self.etag,
            "Last-Modified": email.utils.formatdate(self.modified, usegmt=True),
            "Content-Type": "binary/octet-stream",
            "Accept-Ranges": "bytes",
            "x-amz-checksum-crc64nvme": stored_checksum(self.body),
            "x-amz-checksum-type": "FULL_OBJECT",
            "x-amz-server-side-encryption": "AES256",
        }


class AwsStub:
    """Listens until `stop`. `clock_offset` is the error of its `Date` header in seconds."""

    def __init__(self, port: int = 0):
        self.objects: dict[str, Kept] = {}
        self.seen: list[Seen] = []
        self.clock_offset = 0
        self._rules: list[Rule] = []
        self._connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), daemon=True)
        self._thread.start()
        self.target = Target(f"http://127.0.0.1:{self._server.server_port}", OWNER)

    def stop(self) -> None:
        """Stops listening and closes the connections that are still open."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @contextmanager
    def answering(self, rule: Rule):
        """Inside the block, this rule is tried first."""
        self._rules.insert(0, rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    def about(self, text: str) -> list[Seen]:
        """The requests whose path contains a text, in order."""
        return [seen for seen in self.seen if seen.names(text)]

    def reply_to(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        for rule in list(self._rules):
            reply = rule(seen)
            if reply is not None:
                return reply
        return self.serve(seen)

    def serve(self, seen: Seen) -> Reply:
        """The response of a well-behaved server."""
        if seen.method == "PUT":
            return self._put(seen)
        if seen.method == "DELETE":
            self.objects.pop(seen.path, None)
            return Reply(204)
        if seen.path.count("/") < 2 or seen.path.endswith("/"):
            return self._list(seen)
        kept = self.objects.get(seen.path)
        if kept is None:
            return error(404, "NoSuchKey")
        wanted = seen.headers.get("if-match")
        if wanted not in (None, kept.etag):
            return error(412, "PreconditionFailed")
        return ranged(kept, seen.headers.get("range"))

    def _put(self, seen: Seen) -> Reply:
        metadata = {name: v for name, v in seen.headers.items() if name.startswith("x-amz-meta-")}
        kept = self.objects[seen.path] = Kept(seen.body, metadata)
        checksum = kept.headers()["x-amz-checksum-crc64nvme"]
        return Reply(200, {"ETag": kept.etag, "x-amz-checksum-crc64nvme": checksum})

    def _list(self, seen: Seen) -> Reply:
        bucket = seen.path.strip("/")
        if not bucket:
            return Reply(200, {}, b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
        prefix = seen.query.get("prefix", [""])[0]
        entries = [
            f"<Contents><Key>{key}</Key><ETag>{kept.etag}</ETag><Size>{len(kept.body)}</Size>"
            "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
            "<ChecksumType>FULL_OBJECT</ChecksumType></Contents>"
            for path, kept in self.objects.items()
            if path.startswith(f"/{bucket}/{prefix}")
            for key in [path.removeprefix(f"/{bucket}/")]
        ]
        text = f"<ListBucketResult><Name>{bucket}</Name>{''.join(entries)}</ListBucketResult>"
        return Reply(200, {"Content-Type": "application/xml"}, text.encode())


def ranged(kept: Kept, wanted: str | None) -> Reply:
    """The whole object, one range of it, or 416."""
    headers, total = kept.headers(), len(kept.body)
    if not wanted:
        return Reply(200, headers, kept.body)
    first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()
    if not first:
        start, end = max(total - int(last), 0), total
    else:
        start, end = int(first), min(int(last or total) + 1, total)
    if start >= end:
        refusal = error(416, "InvalidRange", ActualObjectSize=str(total))
        return Reply(416, {"Content-Range": f"bytes */{total}"}, refusal.body)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
    return Reply(206, headers, kept.body[start:end])


def error(status: int, code: str, message: str = "said by the stub", **details: str) -> Reply:
    """An error document with all the fields that AWS puts into its own."""
    fields = {
        "Code": code,
        "Message": message,
        **details,
        "RequestId": REQUEST_ID,
        "HostId": HOST_ID,
    }
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    headers = {"Content-Type": "application/xml"}
    return Reply(status, headers, f"<?xml version='1.0'?><Error>{body}</Error>".encode())


def once(reply: Reply, times: int = 1, method: str = "", path: str = "") -> Rule:
    """A rule that gives a reply a number of times, then leaves requests to the other rules."""
    left = [times]
    lock = threading.Lock()

    def rule(seen: Seen) -> Reply | None:
        with lock:
            if left[0] == 0 or path not in seen.path or method not in ("", seen.method):
                return None
            left[0] -= 1
        return reply

    return rule


def always(reply: Reply, path: str) -> Rule:
    return lambda seen: reply if seen.names(path) else None


def stored_checksum(body: bytes) -> str:
    """Used in place of a CRC64NVME: it matches the stored bytes and no others."""
    return base64.b64encode(hashlib.sha256(body).digest()[:8]).decode()


def _handler(stub: AwsStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            stub._connections.add(self.request)
            super().setup()

        def finish(self):
            stub._connections.discard(self.request)
            with suppress(OSError):
                super().finish()

        def handle(self):
            # The proxy may close a connection at any time.
            with suppress(ConnectionError):
                super().handle()

        def handle_any(self):
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            self.send(stub.reply_to(self.seen(body)))

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = handle_any

        def seen(self, body: bytes) -> Seen:
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
                body = _without_chunks(body)
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            return Seen(self.command, unquote(parts.path), query, headers, body)

        def send(self, reply: Reply) -> None:
            if reply.waits_for and reply.breaks_after is None:
                reply.waits_for.wait(60)
            self.send_response_only(reply.status)
            date = email.utils.formatdate(time.time() + stub.clock_offset, usegmt=True)
            own = {
                "Date": date,
                "x-amz-request-id": REQUEST_ID,
                "x-amz-id-2": HOST_ID,
                "Content-Length": str(len(reply.body)),
            }
            for name, value in (own | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD" and reply.status not in (204, 304):
                self.wfile.write(reply.body[: reply.breaks_after])
            if reply.breaks_after is not None:
                if reply.waits_for:
                    reply.waits_for.wait(60)
                self.close_connection = True

        def log_message(self, format, *arguments):
            """Logs nothing: the requests are kept in `seen`."""

    return Handler


def _without_chunks(framed: bytes) -> bytes:
    plain = b""
    while framed:
        head, _, rest = framed.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            break
        plain += rest[:size]
        framed = rest[size + 2 :]
    return plain
