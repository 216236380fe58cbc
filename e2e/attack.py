"""Hostile clients: one process that holds thousands of connections and reopens each one that the
proxy closes. The process runs as a program, so the honest clients of a test do not share an
interpreter with it.

Every shape is a request that is cheap to send: nothing at all, half a head, or a body that is
announced and never sent. All connections come from one address, which is not the address of the
honest clients.
"""

import argparse
import json
import resource
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ATTACKER = "127.0.0.2"

_REOPENED_AT_ONCE = 400
"""Connections reopened in one round, so that reopening does not take up all of the round's time."""


def _head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *headers]).encode() + b"\r\n"


def _forged(region: str, target: str = "/bucket/key", *more: str) -> bytes:
    """A well-formed request whose signature is wrong. The access key id is one that the proxy knows."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"CLIENTHONEST/{stamp[:8]}/{region}/s3/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
    headers = [f"x-amz-date: {stamp}", "x-amz-content-sha256: UNSIGNED-PAYLOAD", f"Authorization: {signature}"]
    return _head(f"GET {target} HTTP/1.1", *headers, *more) + b"\r\n"


def _idle(_: int) -> bytes:
    return b""


def _one_request_then_idle(_: int) -> bytes:
    return _head("GET /bucket/key HTTP/1.1") + b"\r\n"


def _preflights_with_bodies(_: int) -> bytes:
    return (
        _head("OPTIONS /bucket/key HTTP/1.1", "Origin: https://example.com", "Content-Length: 2097152")
        + b"Access-Control-Request-Method: PUT\r\n\r\nA"
    )


def _long_header(_: int) -> bytes:
    return _head("GET /bucket/key HTTP/1.1") + b"x-filler: " + b"a" * 63_000


def _many_headers(_: int) -> bytes:
    return _head("GET /bucket/key HTTP/1.1", *(f"x-filler-{n}: {'a' * 600}" for n in range(95)))


def _forms(_: int) -> bytes:
    head = _head(
        "POST /bucket HTTP/1.1",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 1048576",
        *(f"x-filler-{n}: {'a' * 600}" for n in range(20)),
    )
    fields = (f'--b\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n{"a" * 900}\r\n' for n in range(20))
    return head + b"\r\n" + "".join(fields).encode()


def _forged_regions(number: int) -> bytes:
    return _forged(f"r{number:06}" + "a" * 57)


def _long_regions(number: int) -> bytes:
    return _forged(f"r{number:06}" + "a" * 12_000)


def _pages(number: int) -> bytes:
    """The proxy asks the backend what the bucket's rules have for the page."""
    return _forged("us-east-1", f"/bucket-{number}/key", f"Origin: https://{number}.example")


def _many_parameters(number: int) -> bytes:
    parameters = "&".join(f"p{n}" for n in range(2_500))
    return _forged("us-east-1", f"/bucket/key?{parameters}")


class Shape(NamedTuple):
    """Each connection sends the message for its number, then waits until the proxy closes it."""

    message: Callable[[int], bytes]
    answer: str | None
    """The status that the request gets. None if the proxy waits for more bytes."""

    pressed: str = "503"
    """The status that the request may get when connection slots or memory run short."""


SHAPES = {
    "idle": Shape(_idle, None),
    "one request, then idle": Shape(_one_request_then_idle, "403"),
    "preflights with bodies": Shape(_preflights_with_bodies, "400"),
    "one long header": Shape(_long_header, "431"),
    "many headers": Shape(_many_headers, "431"),
    "forms": Shape(_forms, None, pressed="400"),
    "forged regions": Shape(_forged_regions, "403"),
    "long regions": Shape(_long_regions, "400"),
    "pages": Shape(_pages, "403"),
    "many parameters": Shape(_many_parameters, "400"),
}


class Swarm:
    """Connections to one port, kept at a constant number for some seconds."""

    def __init__(self, port: int, messages: Iterator[bytes], count: int, source: str = ATTACKER):
        self._port, self._messages, self._source = port, messages, source
        self._count = count
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, memoryview]] = {}
        self.seen: Counter = Counter()

    def attack(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _ in range(min(_REOPENED_AT_ONCE, self._count - len(self._open))):
                self._connect()
            for number, events in self._poll.poll(0.02, 1024):
                self._go_on(number, events)
        self.seen["open at the end"] = len(self._open)
        for connection, _ in self._open.values():
            connection.close()

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            connection.bind((self._source, 0))
            connection.connect(("127.0.0.1", self._port))
        except BlockingIOError:
            pass
        except OSError as error:
            self.seen[type(error).__name__] += 1
            connection.close()
            return
        self._open[connection.fileno()] = (connection, memoryview(next(self._messages)))
        self.seen["most open"] = max(self.seen["most open"], len(self._open))
        self._poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self.seen["opened"] += 1

    def _go_on(self, number: int, events: int) -> None:
        connection, unsent = self._open[number]
        try:
            if events & select.EPOLLOUT:
                if unsent:
                    unsent = unsent[connection.send(unsent) :]
                    self._open[number] = (connection, unsent)
                if not unsent:
                    self._poll.modify(number, select.EPOLLIN)
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                if received := connection.recv(65536):
                    self.seen[received[9:12].decode(errors="replace")] += 1
                    return
                self._end(number, "closed")
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(number, type(error).__name__)

    def _end(self, number: int, how: str) -> None:
        self.seen[how] += 1
        connection, _ = self._open.pop(number)
        self._poll.unregister(number)
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("shape", help="one of these, or a file whose lines are requests in hexadecimal")
    parser.add_argument("--connections", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    swarm = Swarm(arguments.port, _messages(arguments.shape), arguments.connections)
    swarm.attack(arguments.seconds)
    json.dump(swarm.seen, sys.stdout)


def _messages(shape: str) -> Iterator[bytes]:
    if shape in SHAPES:
        number = 0
        while True:
            yield SHAPES[shape].message(number)
            number += 1
    lines = [bytes.fromhex(line) for line in Path(shape).read_text().split()]
    while True:
        yield from lines


if __name__ == "__main__":
    main()
