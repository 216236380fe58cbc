"""SeaweedFS under the names of all S3 endpoints, for programs that may call several by name."""

import json
import socket
import socketserver
import threading
from contextlib import suppress
from pathlib import Path

from certificates import make_certificates
from processes import Process, clean_environment, free_port
from servers import OWNER, answers, tools
from target import Credential, Target

INLINE = Credential("AKIAIOSFODNN7EXAMPLE", "an-example-secret")
"""The credential of value sets that contain it inline."""


class Internet:
    """SeaweedFS as every backend: over HTTPS with a certificate for the names, and over HTTP.

    `proxy` is the address of an HTTPS proxy that connects every name to it.
    """

    def __init__(self, directory: Path, names: list[str]):
        directory.mkdir(parents=True)
        self.certificates = make_certificates(directory / "certificates", names)
        identities = directory / "identities.json"
        identities.write_text(json.dumps({"identities": [
            {"name": credential.access_key, "actions": ["Admin"], "credentials": [
                {"accessKey": credential.access_key, "secretKey": credential.secret_key}]}
            for credential in (OWNER, INLINE)
        ]}))
        port, self._https_port = free_port(), free_port()
        self.target = Target(f"http://127.0.0.1:{port}", OWNER)
        folder = self.certificates.directory
        ports = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
                 "filer.port.grpc", "s3.port.grpc")
        self._process = Process(
            "seaweedfs-of-charts",
            [
                *(tools() / "weed", "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                *(f"-dir={directory}", "-master.telemetry=false", "-volume.max=200", "-filer", "-s3"),
                *("-master.volumeSizeLimitMB=64", f"-s3.config={identities}", f"-s3.port={port}"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port.https={self._https_port}"),
                f"-s3.cert.file={folder / 's3proxy.crt'}",
                f"-s3.key.file={folder / 's3proxy.key'}",
                *(f"-{name}={free_port()}" for name in ports),
            ],
            clean_environment(directory, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
            directory.parent / "seaweedfs-of-charts.log",
        )
        self._process.wait_until(lambda: answers(port), "answering S3 requests")
        self._tunnels = _Tunnels(self._https_port)
        self.proxy = f"http://127.0.0.1:{self._tunnels.server_address[1]}"

    @property
    def asked(self) -> list[str]:
        """The names and ports in CONNECT requests, in order."""
        return self._tunnels.asked

    def stop(self) -> None:
        self._tunnels.shutdown()
        self._tunnels.server_close()
        self._process.stop(seconds=0.1)


class _Tunnels(socketserver.ThreadingTCPServer):
    """An HTTPS proxy that connects every CONNECT request to one port."""

    daemon_threads = True

    def __init__(self, port: int):
        self.asked: list[str] = []
        self.port = port
        super().__init__(("127.0.0.1", 0), _Tunnel)
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()


class _Tunnel(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.asked.append(self.rfile.readline().split()[1].decode())
        while self.rfile.readline().strip():
            """Headers do not matter."""
        with socket.socket() as behind:
            behind.connect(("127.0.0.1", self.server.port))
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=[behind, self.connection], daemon=True)
            back.start()
            _pump(self.connection, behind)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
