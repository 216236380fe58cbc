"""Bytes on a socket, for requests that an HTTP library would refuse to send, or responses that it
would hide.

`exchange` sends bytes unchanged and reports the response, whether the connection delivered all the
bytes announced by `Content-Length`, and whether it stayed open. Sending and receiving overlap, so a
response that comes before the end of the body is seen.
"""

import http.client
import io
import select
import selectors
import socket
import ssl
import time
from dataclasses import dataclass, field

import raw
from target import Target


@dataclass
class Answer:
    """One response as received: `complete` means that the announced length arrived."""

    status: int = 0
    headers: http.client.HTTPMessage = field(default_factory=http.client.HTTPMessage)
    body: bytes = b""
    complete: bool = False
    rest: bytes = b""
    """The bytes after the response on the same connection."""

    @property
    def code(self) -> str:
        """S3's error code, or the empty string."""
        return raw.Response(self.status, self.headers, self.body).code

    @property
    def announced(self) -> int:
        return int(self.headers.get("Content-Length", "0"))


def message(built: raw.Request, version: str = "HTTP/1.1") -> bytes:
    """A request as bytes, with nothing added."""
    return head(built, version) + built.body


def head(built: raw.Request, version: str = "HTTP/1.1") -> bytes:
    lines = [f"{built.method} {built.line} {version}", *(f"{n}: {v}" for n, v in built.headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(target: Target, seconds: float = 30) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", target.port), timeout=seconds)
    if target.scheme == "http":
        return connection
    context = ssl.create_default_context(cafile=target.ca_file)
    return context.wrap_socket(connection, server_hostname="127.0.0.1")


def has_ended(connection: socket.socket) -> bool:
    """Whether an idle connection has ended: nothing is awaited, so readable data can only be the
    end.

    TLS has messages of its own, such as session tickets, which are not the end.
    """
    if not select.select([connection], [], [], 0)[0]:
        return False
    if not isinstance(connection, ssl.SSLSocket):
        return True
    seconds = connection.gettimeout()
    connection.settimeout(0)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        pass
    finally:
        connection.settimeout(seconds)
    return True


def exchange(target: Target, data: bytes, *, then_stop_sending: bool = False) -> Answer:
    """Sends the bytes on a new connection and reads one response.

    With `then_stop_sending` the client's half of the connection is closed after the bytes.
    """
    with connect(target) as connection:
        received = _send_and_receive(connection, data, then_stop_sending)
        return parse(received, connection)


def answer_to(connection: socket.socket, method: str = "GET") -> Answer:
    """Reads one response on a connection that stays open."""
    return parse(b"", connection, method)


def parse(received: bytes, connection: socket.socket, method: str = "GET") -> Answer:
    """Reads until one response is complete, or the connection ends."""
    while b"\r\n\r\n" not in received:
        more = receive(connection)
        if not more:
            return Answer(rest=received)
        received += more
    lines, _, body = received.partition(b"\r\n\r\n")
    status_line, _, fields = lines.partition(b"\r\n")
    headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    answer = Answer(int(status_line.split()[1]), headers)
    length = 0 if method == "HEAD" or answer.status in (100, 204, 304) else answer.announced
    pieces, have = [body], len(body)
    while have < length:
        more = receive(connection)
        if not more:
            break
        pieces.append(more)
        have += len(more)
    body = b"".join(pieces)
    answer.body, answer.rest, answer.complete = body[:length], body[length:], have >= length
    return answer


def receive(connection: socket.socket) -> bytes:
    """The next bytes; empty if the connection ended in any way."""
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def is_closed(connection: socket.socket) -> bool:
    """Whether the peer closes the connection; waits for the close or for a byte."""
    return receive(connection) == b""


def _send_and_receive(connection: socket.socket, data: bytes, then_stop_sending: bool) -> bytes:
    """Sends all bytes, unless a response arrives or the connection ends first."""
    connection.setblocking(False)
    waiting = memoryview(data)
    received = b""
    deadline = time.monotonic() + 30
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while waiting and not received and time.monotonic() < deadline:
            for _, events in selector.select(1):
                try:
                    if events & selectors.EVENT_READ:
                        received = connection.recv(65536)
                        if not received:
                            waiting = memoryview(b"")
                    elif events & selectors.EVENT_WRITE:
                        waiting = waiting[connection.send(waiting) :]
                except ConnectionError:
                    waiting = memoryview(b"")
    connection.settimeout(30)
    if then_stop_sending:
        connection.shutdown(socket.SHUT_WR)
    return received
