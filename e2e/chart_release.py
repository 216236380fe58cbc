"""A release of the Helm chart without a cluster: the rendered container is started on this machine.

The program gets the container's arguments, environment and files as Kubernetes would give them.
Secrets and ConfigMaps that a user creates beforehand are created here, certificates have the names
requested from cert-manager, and mount paths become folders. `Release.start` lists the differences
from a cluster.

Every backend in the values is the SeaweedFS of internet.py, reached through an HTTPS proxy, so that
settings stay as they are rendered.
"""

import base64
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from certificates import Certificates, make_certificates
from internet import Internet
from processes import Process, clean_environment, free_port, run
from proxy import binary, new_key
from repository import ROOT
from servers import OWNER, tools
from target import Credential, Target

sys.path.append(str(ROOT / "charts/tests"))
CONNECT_TO = Path(__file__).with_name("connect_to")
sys.path.append(str(CONNECT_TO))

import chart  # noqa: E402
from connecting import connecting_to  # noqa: E402

CERTIFICATES = "/etc/s3proxy/certs"
@dataclass
class Release:
    """The objects and notes of one rendering, and the names that both give to clients."""

    found: list[dict]
    notes: str = ""
    client: Credential | None = None
    """A client's credential; by default, the proxy's own, unless a configuration lists clients."""
    edits: list[tuple[str, str]] = field(default_factory=list)
    """Patterns in the configuration file and their replacements, mostly services' addresses."""
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    """Contents of the user's Secrets and ConfigMaps by object and key, unless defaults fit."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that a cluster would add, or addresses of services."""

    # Endpoints for clients

    @property
    def scheme(self) -> str:
        return self._service["spec"]["ports"][0]["appProtocol"]

    @property
    def port(self) -> int:
        return self._service["spec"]["ports"][0]["port"]

    @property
    def _service(self) -> dict:
        return next(each for each in self.found if each["kind"] == "Service"
                    and each["spec"]["ports"][0]["targetPort"] == "s3")

    @property
    def _deployment(self) -> dict:
        return chart.only(self.found, "Deployment")

    @property
    def container(self) -> dict:
        return chart.container(self.found)

    def certified(self) -> list[str]:
        """The names requested from cert-manager; for the user's own certificate, the Service's."""
        secret = next((volume["secret"]["secretName"] for volume in self._pod.get("volumes", [])
                       if volume["name"] == "certificate"), None)
        names = [name for each in self.found if each["kind"] == "Certificate" and each["spec"]["secretName"] == secret
                 for name in each["spec"].get("dnsNames", [])]
        return names or self._service_names()

    def _service_names(self) -> list[str]:
        name = self._service["metadata"]["name"]
        namespace = self._service["metadata"]["namespace"]
        return [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]

    def endpoints(self) -> list[str]:
        """Endpoints for clients, from certificate, routes and notes; wildcards keep their star."""
        default = self.port == {"https": 443, "http": 80}[self.scheme]
        at_service = "" if default else f":{self.port}"
        names = self.certified() if self.scheme == "https" else self._service_names()
        urls = [f"{self.scheme}://{name}{at_service}" for name in names]
        # An ingress controller listens on the scheme's own port and passes `Host` on.
        urls += [f"{self.scheme}://{name}" for name in self._route_names()]
        return list(dict.fromkeys([*urls, *self.announced()]))

    def _route_names(self) -> list[str]:
        names = []
        for each in self.found:
            if each["kind"] == "Ingress":
                names += [rule["host"] for rule in each["spec"]["rules"] if "host" in rule]
            if each["kind"] in ("HTTPRoute", "TLSRoute"):
                names += each["spec"].get("hostnames", [])
        return names

    def announced(self) -> list[str]:
        """The endpoints in the notes."""
        found = re.findall(r"https?://[^\s/]+", self.notes.split("Metrics and probes")[0])
        return [url for url in dict.fromkeys(found)]

    def virtual_hosts(self) -> list[str]:
        """Domains below which host names begin with the bucket."""
        domains = self.variables(self.container).get("S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS", "")
        return [domain for domain in domains.split(",") if domain]

    # The program

    @property
    def _pod(self) -> dict:
        return self._deployment["spec"]["template"]["spec"]

    def start(self, directory: Path, internet: Internet) -> "Running":
        """Starts the Deployment's container. It differs from a cluster in the listeners' addresses
        and ports, the mount paths, the HTTPS proxy and certificate authority for the backends, and
        `edits`."""
        directory.mkdir(parents=True)
        self._internet = internet
        certificates = make_certificates(directory / "certificates", sorted(set(self.certified())))
        self._files(directory, self._pod, self.container, certificates)
        port, admin = free_port(), free_port()
        environment = self._environment(directory, self.container) | {
            "S3PROXY_IP": "127.0.0.1",
            "S3PROXY_LISTEN_PORT": str(port),
            "S3PROXY_LISTEN_ADMIN": f"127.0.0.1:{admin}",
            "S3PROXY_LISTEN_DRAIN_DELAY": "0s",
        }
        process = Process(directory.name, [binary(), *self.container["args"]], environment,
                          directory.parent / f"{directory.name}.log")
        running = Running(self, directory, process, certificates, port, admin)
        try:
            process.wait_until(running.is_ready, "ready")
        except BaseException:
            process.stop()
            raise
        return running

    def run_job(self, directory: Path, job: dict, internet: Internet) -> str:
        """Runs a Job's container until it exits, and returns its output."""
        self._internet = internet
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        self._files(directory, pod, container, None)
        return run([binary(), *container["args"]], self._environment(directory, container))

    def _environment(self, directory: Path, container: dict) -> dict[str, str]:
        variables = self.variables(container)
        for name, value in variables.items():
            for mount in container.get("volumeMounts", []):
                if value.startswith(mount["mountPath"] + "/"):
                    variables[name] = str(directory) + value
        if (directory / CERTIFICATES.lstrip("/")).exists():
            variables.setdefault("S3PROXY_CERT", str(directory) + CERTIFICATES)
        variables |= {"HTTPS_PROXY": self._internet.proxy, "NO_PROXY": "127.0.0.1"}
        variables.setdefault("S3PROXY_BACKEND_CA_FILE", str(self._internet.certificates.ca_file))
        return clean_environment(directory, **(variables | self.environment))

    def variables(self, container: dict) -> dict[str, str]:
        variables = {}
        for each in container["env"]:
            if "valueFrom" not in each:
                variables[each["name"]] = each["value"]
            elif reference := each["valueFrom"].get("secretKeyRef"):
                variables[each["name"]] = self._content(reference["name"], reference["key"])
            else:
                variables[each["name"]] = f"{self._deployment['metadata']['name']}-0"
        return variables

    def _files(self, directory: Path, pod: dict, container: dict, certificates: Certificates | None) -> None:
        """Writes the files of a pod's volumes to their mount paths, below the directory."""
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        mounts = container.get("volumeMounts", [])
        for mount in mounts:
            folder = directory / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in self._volume(volumes[mount["name"]], certificates):
                for other in mounts:
                    text = text.replace(f'"{other["mountPath"]}/', f'"{directory}{other["mountPath"]}/')
                target = folder / path
                target.touch(mode=0o600)
                target.write_text(text)

    def _volume(self, volume: dict, certificates: Certificates | None):
        if volume["name"] == "certificate":
            for item in volume["secret"]["items"]:
                yield item["path"], (certificates.directory / item["path"]).read_text()
            return
        sources = volume.get("projected", {}).get("sources") or [volume]
        for source in sources:
            kind = next((kind for kind in ("secret", "configMap") if kind in source), None)
            if kind is None:
                continue
            name = source[kind].get("secretName") or source[kind]["name"]
            items = source[kind].get("items") or [{"key": key, "path": key} for key in self._keys(name)]
            for item in items:
                yield item["path"], self._content(name, item["key"])

    def _rendered(self, name: str) -> dict | None:
        return next((each for each in self.found if each["kind"] in ("Secret", "ConfigMap", "ValsSecret")
                     and each["metadata"]["name"] == name), None)

    def _keys(self, name: str) -> list[str]:
        rendered = self._rendered(name)
        if rendered:
            return list(rendered["data"])
        keys = [key for other, key in self.secrets if other == name]
        assert keys, f"the test makes no Secret or ConfigMap {name}"
        return keys

    def _content(self, name: str, key: str) -> str:
        """The content of a key in a Secret or ConfigMap: rendered, of the test, or a default."""
        rendered = self._rendered(name)
        if rendered and rendered["kind"] == "Secret":
            text = base64.b64decode(rendered["data"][key]).decode()
        elif rendered and rendered["kind"] == "ConfigMap":
            text = rendered["data"][key]
        elif (name, key) in self.secrets:
            text = self.secrets[name, key]
        else:
            made = {"accessKey": OWNER.access_key, "secretKey": OWNER.secret_key}
            text = self.secrets[name, key] = made.get(key) or new_key()
        for pattern, replacement in self.edits if key == "s3proxy.toml" else []:
            text = re.sub(pattern, lambda _found, to=replacement: to, text, count=1)
        return text


@dataclass
class Running:
    """The running program of a release, as its clients see it."""

    release: Release
    directory: Path
    process: Process
    certificates: Certificates
    port: int
    admin: int

    def is_ready(self) -> bool:
        done = subprocess.run(
            ["curl", "--silent", "--fail", f"http://127.0.0.1:{self.admin}/readyz"],
            env=clean_environment(self.directory), capture_output=True, check=False)
        return done.returncode == 0

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def target(self, endpoint: str) -> Target:
        variables = self.release.variables(self.release.container)
        own = Credential(variables.get("AWS_ACCESS_KEY_ID", OWNER.access_key),
                         variables.get("AWS_SECRET_ACCESS_KEY", OWNER.secret_key))
        ca_file = self.certificates.ca_file if urlsplit(endpoint).scheme == "https" else None
        return Target(endpoint, self.release.client or own, ca_file=ca_file)

    def connecting(self):
        """Inside the block, boto3 in this process reaches the proxy by any name."""
        return connecting_to(self.address)

    @property
    def for_aws_cli(self) -> dict[str, str]:
        """Variables that have the AWS CLI do the same."""
        return {"PYTHONPATH": str(CONNECT_TO), "CONNECT_TO": f"127.0.0.1:{self.port}"}

    def curl(self, target: Target, *arguments) -> str:
        trust = ["--cacert", target.ca_file] if target.ca_file else []
        program = ["curl", "--silent", "--show-error", "--fail-with-body", "--connect-to", f"::127.0.0.1:{self.port}"]
        return run([*program, *trust, *arguments], clean_environment(self.directory))

    def first_requests(self) -> list[str]:
        """Runs the notes' commands for a first request, and returns the output of each. The address
        of the port-forward is replaced by the proxy's."""
        credential = self.target(self.release.announced()[0]).credential
        environment = clean_environment(
            self.directory, AWS_ACCESS_KEY_ID=credential.access_key, AWS_SECRET_ACCESS_KEY=credential.secret_key,
            AWS_EC2_METADATA_DISABLED="true", AWS_REGION="eu-west-1", PATH=f"{tools('awscli')}:{os.environ['PATH']}",
            **self.for_aws_cli)
        (self.directory / "ca.crt").write_text(self.certificates.ca_file.read_text())
        commands = re.findall(r"(?m)^  ((?:AWS_CA_BUNDLE=\S+ )?aws .*|curl .*)$", self.release.notes)
        return [run(["sh", "-euc", f"cd {self.directory}; {command.replace('::localhost:4433', f'::127.0.0.1:{self.port}')}"],
                    environment) for command in commands]

    def helm_test(self, bucket: str) -> str:
        """Runs the script of the release's test pod with its variables and another address."""
        [container] = chart.only(self.release.found, "Pod")["spec"]["containers"]
        variables = self.release.variables(container)
        variables |= {"SERVICE": f"127.0.0.1:{self.port}", "AUTHORITY": str(self.certificates.ca_file)}
        if "AWS_ACCESS_KEY_ID" in variables:
            variables["BUCKET"] = bucket
        return run(container["command"], clean_environment(self.directory, **variables))

    def stop(self) -> None:
        self.process.stop()


def release(values: list[Path], directory: Path, **options) -> Release:
    """Renders the chart and its notes with values files; later files override earlier ones."""
    arguments = [word for path in values for word in ("--values", str(path))]
    done = chart.helm_template(*arguments)
    assert done.returncode == 0, done.stderr
    directory.mkdir(parents=True)
    return Release(chart.objects(done.stdout), chart.notes(directory, *arguments), **options)


def manifest(path: Path) -> Release:
    """A release from plain manifests."""
    return Release(chart.objects(path.read_text()))
