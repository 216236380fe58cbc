"""A round-robin balancer for TCP connections, in front of replicas that may die or restart.

Each new connection goes to the next replica; a replica that accepts no connection is skipped. With
a probe, replicas that do not answer it with 200 get no new connections, as with a Kubernetes
Service; their existing connections stay open. Bytes are forwarded as they arrive, and an end of
stream on one side is forwarded after the last byte. The balancer knows nothing of HTTP, so a
request in flight is lost when its replica dies, as with a real TCP balancer.
"""

import errno
import http.client
import itertools
import socket
import threading

import raw
from processes import free_port
from target import Target

_SECONDS_BETWEEN_PROBES = 0.2


class Balancer:
    """`probe` is the path that decides whether a replica gets connections; without one, all do."""

    def __init__(self, replicas: list[Target], probe: str | None = None):
        self.port = free_port()
        self._ports = [replica.port for replica in replicas]
        self._ready = set(self._ports)
        self._turns = itertools.count()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()
        if probe:
            for replica in replicas:
                threading.Thread(target=self._watch, args=(replica, probe), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()

    def sends_to(self, port: int) -> bool:
        """Whether a replica gets new connections."""
        return port in self._ready

    def _watch(self, replica: Target, probe: str) -> None:
        while not self._stopped.wait(_SECONDS_BETWEEN_PROBES):
            if _answers(replica, probe):
                self._ready.add(replica.port)
            else:
                self._ready.discard(replica.port)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno == errno.EBADF:
                    return
                raise
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        replica = self._connect()
        if replica is None:
            client.close()
            return
        with client, replica:
            for one in (client, replica):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            requests = threading.Thread(target=_pump, args=(client, replica), daemon=True)
            requests.start()
            _pump(replica, client)
            # The replica sends no more bytes, so anything that the client still sends is useless.
            for one in (client, replica):
                _shut(one, socket.SHUT_RDWR)
            requests.join()

    def _connect(self) -> socket.socket | None:
        turn = next(self._turns)
        ports = [port for port in self._ports if port in self._ready] or self._ports
        for step in range(len(ports)):
            port = ports[(turn + step) % len(ports)]
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=5)
            except OSError:
                continue
        return None


def _answers(replica: Target, probe: str) -> bool:
    try:
        asked = raw.request(replica, "GET", key=probe)
        return raw.send(asked, replica, seconds=5).status == 200
    except (OSError, http.client.HTTPException):
        return False


def _pump(source: socket.socket, sink: socket.socket) -> None:
    source.settimeout(None)
    while data := _received(source):
        try:
            sink.sendall(data)
        except OSError:
            # The reader of the other direction sees the end as well, after the bytes still to be
            # read.
            return
    _shut(sink, socket.SHUT_WR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(256 * 1024)
    except OSError:
        return b""


def _shut(one: socket.socket, how: int) -> None:
    try:
        one.shutdown(how)
    except OSError:
        pass
