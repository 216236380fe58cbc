"""A Kubernetes API server on loopback with its own etcd, for as long as the tests run.

It stores, defaults, validates and admits objects as a cluster's server does. Nothing acts on them:
there is no controller, no scheduler and no node, so Deployments have no pods, and no certificate is
issued. Keys, the administrator's token and the certificate are generated at each start, in a
temporary folder. Both processes end with their parent, even if it is killed.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from chart import TOOLS, run

START_SECONDS = 180
# In a cluster, the ServiceAccount controller creates `default` in each namespace.
NAMESPACES = {"storage": ["default", "storage"], "monitoring": ["default"]}


@dataclasses.dataclass
class ApiServer:
    folder: pathlib.Path
    version: str

    def _environment(self):
        # Without the user's HTTPS proxy, cache and cluster.
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.folder / "kubeconfig")}

    def kubectl(self, *arguments, stdin=""):
        return run(TOOLS / "bin/kubectl", *arguments, env=self._environment(), input=stdin)

    def helm(self, *arguments):
        return run(TOOLS / "bin/helm", *arguments, env=self._environment(), input="")


def accepted(result):
    """The output of a command that the server accepted without a warning."""
    assert result.returncode == 0 and result.stderr == "", result.stdout + result.stderr
    return result.stdout.splitlines()


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _ended_or_late(process, deadline):
    if process.poll() is not None:
        return f"ended with {process.returncode}"
    return f"was not ready after {START_SECONDS} s" if time.monotonic() > deadline else None


@contextlib.contextmanager
def _running(folder, name, ready, *arguments):
    """Runs a tool inside the block; if it does not become ready, the error quotes its log."""
    log = folder / f"{name}.log"
    command = ["setpriv", "--pdeathsig", "SIGKILL", TOOLS / "bin" / name, *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if problem := _ended_or_late(process, deadline):
                raise AssertionError(f"{name} {problem}:\n" + "\n".join(log.read_text().splitlines()[-40:]))
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url, expected, authority=None, token=""):
    """Whether the address answers with 200 and the expected words."""
    if authority and not authority.exists():
        return False
    context = ssl.create_default_context(cafile=authority) if authority else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        return expected in opener.open(request, timeout=5).read().decode()
    except (urllib.error.URLError, OSError):
        return False


def _write_private(path, text):
    path.touch(mode=0o600)
    path.write_text(text)


def _write_credentials(folder, address, token):
    made = run("openssl", "genrsa", "-out", folder / "accounts.key", "2048")
    assert made.returncode == 0, made.stderr
    _write_private(folder / "tokens.csv", f"{token},admin,1,system:masters\n")
    _write_private(folder / "kubeconfig", json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": address, "certificate-authority": "certificates/apiserver.crt"}}],
        "users": [{"name": "it", "user": {"token": token}}],
        # Objects without a namespace go beside the proxy, as in the READMEs of deploy/.
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "storage"}}],
    }))


def _namespaces():
    """Every namespace refuses pods that are not restricted, and warns of their controllers."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    for name, accounts in NAMESPACES.items():
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": modes}}
        for account in accounts:
            yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": name}}


def _furnish(server, definitions):
    """Creates namespaces and definitions, and waits until the server serves the latter."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(_namespaces())})
    accepted(server.kubectl("apply", "-f", "-", stdin=listed))
    files = [word for path in definitions for word in ("-f", path)]
    accepted(server.kubectl("apply", "--server-side", *files))
    accepted(server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all"))
    # Clients validate by the published schemas, which appear a little later.
    found = json.loads(server.kubectl("get", "customresourcedefinitions", "-o", "json").stdout)["items"]
    wanted = {f'apis/{each["spec"]["group"]}/{version["name"]}'
              for each in found for version in each["spec"]["versions"] if version["served"]}
    deadline = time.monotonic() + START_SECONDS
    while missing := wanted - set(json.loads(server.kubectl("get", "--raw", "/openapi/v3").stdout)["paths"]):
        assert time.monotonic() < deadline, f"no schemas of {missing}"
        time.sleep(0.1)


@contextlib.contextmanager
def api_server(folder, definitions):
    etcd_port, peer_port, port = _free_ports(3)
    etcd, peer, address = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}", f"https://127.0.0.1:{port}"
    token = secrets.token_hex(32)
    _write_credentials(folder, address, token)
    version = run(TOOLS / "bin/kube-apiserver", "--version").stdout.strip().removeprefix("Kubernetes v")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_running(
            folder, "etcd", lambda: _answers(f"{etcd}/health", '"true"'), "--data-dir=data",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"))
        stack.enter_context(_running(
            folder, "kube-apiserver",
            lambda: _answers(f"{address}/readyz", "ok", folder / "certificates/apiserver.crt", token),
            f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={port}", "--cert-dir=certificates",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=accounts.key",
            "--service-account-signing-key-file=accounts.key", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
            # The range contains the examples' fixed address; without nodes there are no endpoints
            # to reconcile.
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112", "--endpoint-reconciler-type=none"))
        server = ApiServer(folder, version)
        _furnish(server, definitions)
        yield server
