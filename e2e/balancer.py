"""A round-robin balancer for TCP connections: what stands before replicas that may die.

Each new connection goes to the next replica; one that takes no connection is passed over. Bytes are
handed on as they come, and an end on one side ends the other. It knows nothing of HTTP, so a request
that was on its way when its replica died is lost with its connection, as behind a real balancer.
"""

import errno
import itertools
import socket
import threading

from processes import free_port


class Balancer:
    def __init__(self, ports: list[int]):
        self.port = free_port()
        self._ports = ports
        self._turns = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

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
            answers = threading.Thread(target=_pump, args=(replica, client), daemon=True)
            answers.start()
            _pump(client, replica)
            answers.join()

    def _connect(self) -> socket.socket | None:
        turn = next(self._turns)
        for step in range(len(self._ports)):
            port = self._ports[(turn + step) % len(self._ports)]
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=5)
            except OSError:
                continue
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    source.settimeout(None)
    try:
        while data := source.recv(256 * 1024):
            sink.sendall(data)
    except OSError:
        pass
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
