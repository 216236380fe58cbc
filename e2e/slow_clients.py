"""Many slow clients, all served by one thread, so that they cost the proxy connections and the
suite no threads. Each sends or reads a byte now and then, and records how its connection ended.
"""

import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

import raw
import wire
from refusal import put
from target import Target

_SMALL_BUFFER = 4096
"""Receive buffer of the slow readers' sockets, small so that responses wait at the proxy."""


@dataclass
class SlowClient:
    """`start` is sent at once, `drip` again and again. Without `drip`, reads byte by byte."""

    kind: str
    start: bytes
    drip: bytes = b""
    connection: socket.socket | None = None
    received: bytes = b""
    ended: bool = False

    @property
    def status(self) -> int:
        """The status of the response; 0 if there was none."""
        line = self.received.partition(b"\r\n")[0].split()
        return int(line[1]) if len(line) > 1 else 0


def half_heads(count: int) -> list[SlowClient]:
    start = b"GET /bucket/key HTTP/1.1\r\nHost: localhost\r\n"
    return [SlowClient("half a head", start, b"x-more: 1\r\n") for _ in range(count)]


def uploads(target: Target, bucket: str, count: int, size: int) -> list[SlowClient]:
    """Bodies of which a byte is sent now and then."""
    clients = []
    for number in range(count):
        built = put(target, bucket, f"slow/{number}", b"")
        built.set_header("Content-Length", str(size))
        raw.sign(built, target, payload=raw.UNSIGNED)
        clients.append(SlowClient("upload", wire.head(built), b"x"))
    return clients


def downloads(target: Target, bucket: str, key: str, count: int) -> list[SlowClient]:
    return [
        SlowClient("download", wire.message(raw.sign(raw.request(target, "GET", bucket, key), target)))
        for _ in range(count)
    ]


class SlowClients:
    """All clients, connected inside the block."""

    def __init__(self, target: Target, clients: list[SlowClient], pause: float = 0.5):
        self.clients = clients
        self._target = target
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> "SlowClients":
        for client in self.clients:
            self._connect(client)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopping.set()
        self._thread.join()
        for client in self.clients:
            client.connection.close()

    def held(self) -> Counter:
        """The number of clients of each kind that the proxy has not disconnected."""
        return Counter(client.kind for client in self.clients if not client.ended)

    def statuses(self) -> Counter:
        return Counter((client.kind, client.status) for client in self.clients)

    def _connect(self, client: SlowClient) -> None:
        client.connection = socket.socket()
        if not client.drip:
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        client.connection.settimeout(30)
        client.connection.connect(("127.0.0.1", self._target.port))
        client.connection.setblocking(False)
        self._attempt(client, lambda: client.connection.send(client.start))

    def _drip(self) -> None:
        next_round = time.monotonic()
        while not self._stopping.wait(max(0.0, next_round - time.monotonic())):
            next_round = time.monotonic() + self._pause
            with selectors.DefaultSelector() as selector:
                for client in self.clients:
                    if not client.ended:
                        selector.register(client.connection, selectors.EVENT_READ, client)
                readable = [key.data for key, _ in selector.select(0)]
            for client in readable:
                self._attempt(client, lambda client=client: self._receive(client))
            for client in self.clients:
                if client.drip and not client.ended:
                    self._attempt(client, lambda client=client: client.connection.send(client.drip))

    def _receive(self, client: SlowClient) -> None:
        # Enough for the head of an error; of a successful response, a byte at a time.
        size = 1 if client.status == 200 else 512
        received = client.connection.recv(size)
        if not received:
            client.ended = True
        if len(client.received) < 2048:
            client.received += received

    def _attempt(self, client: SlowClient, step) -> None:
        try:
            step()
        except BlockingIOError:
            pass
        except OSError:
            client.ended = True
