"""A proxy that is its own backend by way of another server, and two proxies in a row."""

import contextlib
import queue
import socket
import threading
import urllib.error
import urllib.request

import pytest
import raw
from proxy import Proxy
from target import Target


class Forwarder:
    """A server that forwards connections, as a load balancer does."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._to = queue.SimpleQueue()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listener.close()

    def hand_on(self, port):
        """Forwards connections to this port from now on; earlier ones have been waiting."""
        self._to.put(port)

    def _accept(self):
        to = self._to.get()
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", to))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


def test_a_proxy_that_is_its_own_backend_refuses_a_request_at_its_first_return(
    run_directory, cleanup, deployments
):
    forwarder = Forwarder()
    cleanup.callback(forwarder.stop)
    credential = deployments.server("seaweedfs").target.credential
    backend = Target(f"http://127.0.0.1:{forwarder.port}", credential, "us-east-1")
    own = Proxy(run_directory, backend, name="own-backend", awaited="healthz")
    cleanup.callback(own.stop)
    forwarder.hand_on(own.port)
    for method, body in (("GET", b""), ("PUT", b"meow")):
        answer = raw.ask(own.target, method, "photos", "cat", body=body)
        assert (answer.status, answer.code) == (508, "LoopDetected"), answer.body
        assert "leads back to it" in answer.element("Message")
    assert raw.ask(own.target, "HEAD", "photos", "cat").status == 508
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{own.target.url}/readyz", timeout=30)
    assert refused.value.code == 503
    assert b"the backend is an s3proxy" in refused.value.read()
    own.wait_for_log("this proxy is its own backend")
    assert forwarder.connections < 20


def test_two_proxies_in_a_row_say_so(run_directory, cleanup, deployments):
    inner = deployments.get("seaweedfs", "http")
    outer = Proxy(run_directory, inner.target, name="outer-of-two", awaited="healthz")
    cleanup.callback(outer.stop)
    answer = raw.ask(outer.target, "GET", "photos", "cat")
    assert (answer.status, answer.code) == (508, "LoopDetected"), answer.body
    assert "is another s3proxy" in answer.element("Message")
    inner.proxy.wait_for_log("the backend of another s3proxy is this one")
    outer.wait_for_log("is this proxy itself, or another s3proxy")
