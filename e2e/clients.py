"""The S3 clients that applications use, with one small interface.

Every client transfers a whole folder at a time, so that a set of sizes costs one start-up and not
one per object. Thresholds above the largest object keep multipart uploads out; everything else has
the client's own defaults, including checksums and retries. A client that fails raises an exception
with its output.
"""

import json
import os
import threading
from functools import cache
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import boto3
from botocore.config import Config

from processes import clean_environment, run
from servers import tools
from target import DOMAIN, PATH, Target

_NEVER_MULTIPART = "4G"


class Client(Protocol):
    """Operations of every client. Keys are `prefix` + file name."""

    def upload(self, bucket: str, prefix: str, directory: Path) -> None: ...

    def download(self, bucket: str, prefix: str, names: list[str], directory: Path) -> None: ...

    def sizes(self, bucket: str, prefix: str) -> dict[str, int]:
        """Lists the prefix: name after the prefix to size."""

    def head(self, bucket: str, key: str) -> int:
        """The size of one object."""

    def delete(self, bucket: str, prefix: str, names: list[str]) -> None: ...


class Boto3:
    def __init__(self, target: Target, home: Path):
        self.s3 = boto3_client(target)

    def upload(self, bucket, prefix, directory):
        for path in sorted(directory.iterdir()):
            with path.open("rb") as body:
                self.s3.put_object(Bucket=bucket, Key=prefix + path.name, Body=body)

    def download(self, bucket, prefix, names, directory):
        for name in names:
            body = self.s3.get_object(Bucket=bucket, Key=prefix + name)["Body"]
            (directory / name).write_bytes(body.read())

    def sizes(self, bucket, prefix):
        page = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in page.get("Contents", [])}

    def head(self, bucket, key):
        return self.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]

    def delete(self, bucket, prefix, names):
        keys = [{"Key": prefix + name} for name in names]
        answer = self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        assert not answer.get("Errors"), answer["Errors"]


def boto3_client(target: Target, **options):
    """A boto3 client for a target, unaffected by the machine's own AWS settings. `options` add to
    the suite's botocore settings or override them."""
    style = "path" if target.style == PATH else "virtual"
    # Sessions are not thread-safe, and some tests create clients in several threads.
    with _CREATING:
        return _session().client(
            "s3",
            aws_access_key_id=target.credential.access_key,
            aws_secret_access_key=target.credential.secret_key,
            region_name=target.region,
            endpoint_url=target.url,
            verify=str(target.ca_file) if target.ca_file else False,
            config=Config(
                **{
                    "signature_version": "s3v4",
                    "s3": {"addressing_style": style},
                    "proxies": {},
                    "retries": {"max_attempts": 1},
                }
                | options
            ),
        )


_CREATING = threading.Lock()


@cache
def _session() -> boto3.Session:
    """One session for all clients: each session reads the service model again, for 0.1 s of CPU
    time. Clients share nothing else."""
    return boto3.Session()


class AwsCli:
    """Objects longer than `ranges_from` are downloaded in parallel ranges."""

    def __init__(
        self, target: Target, home: Path, ranges_from: str = _NEVER_MULTIPART, **environment: str
    ):
        config = home / "aws-config"
        style = "path" if target.style == PATH else "virtual"
        config.write_text(
            f"[default]\nregion = {target.region}\ns3 =\n"
            f"    addressing_style = {style}\n    multipart_threshold = {ranges_from}B\n"
        )
        self._environment = clean_environment(
            home, AWS_CONFIG_FILE=str(config), **aws_variables(target), **environment
        )
        self._program = Path(os.environ["S3PROXY_TEST_DIR"]) / "venv-awscli" / "bin" / "aws"
        # Directly at SeaweedFS, the CLI sometimes waits for a response that got lost after an empty
        # upload (`Expect: 100-continue`), and retries: after 10 s here instead of 60.
        self._endpoint = ["--endpoint-url", target.url, "--cli-read-timeout", "10"]

    def _aws(self, *arguments) -> str:
        return run([self._program, *arguments, *self._endpoint], self._environment)

    def upload(self, bucket, prefix, directory):
        self._aws("s3", "cp", "--quiet", "--recursive", directory, f"s3://{bucket}/{prefix}")

    def download(self, bucket, prefix, names, directory):
        self._aws("s3", "cp", "--quiet", "--recursive", f"s3://{bucket}/{prefix}", directory)

    def sizes(self, bucket, prefix):
        page = json.loads(self._aws("s3api", "list-objects-v2", "--bucket", bucket, "--prefix", prefix,
                                    "--output", "json") or "{}")
        return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in page.get("Contents", [])}

    def head(self, bucket, key):
        answer = self._aws("s3api", "head-object", "--bucket", bucket, "--key", key, "--output", "json")
        return json.loads(answer)["ContentLength"]

    def delete(self, bucket, prefix, names):
        self._aws("s3", "rm", "--quiet", "--recursive", f"s3://{bucket}/{prefix}")


class RustSdk:
    def __init__(self, target: Target, home: Path, **environment: str):
        trust = {"SSL_CERT_FILE": str(target.ca_file)} if target.ca_file else {}
        self._environment = clean_environment(
            home,
            S3_ENDPOINT=target.url,
            S3_STYLE=target.style,
            **aws_variables(target),
            **trust,
            **environment,
        )

    def run(self, *arguments) -> str:
        return run([os.environ["S3PROXY_RUST_CLIENT"], *arguments], self._environment)

    def upload(self, bucket, prefix, directory):
        self.run("put", bucket, prefix, directory)

    def download(self, bucket, prefix, names, directory):
        self.run("get", bucket, prefix, directory, *names)

    def download_range(self, bucket, key, header, path):
        self.run("range", bucket, key, header, path)

    def sizes(self, bucket, prefix):
        lines = (line.split("\t") for line in self.run("list", bucket, prefix).splitlines())
        return {key.removeprefix(prefix): int(size) for key, size, _ in lines}

    def head(self, bucket, key):
        return int(self.run("head", bucket, key).split("\t")[0])

    def delete(self, bucket, prefix, names):
        self.run("delete", bucket, *(prefix + name for name in names))


class S3cmd:
    def __init__(self, target: Target, home: Path, settings: str = ""):
        by_path = target.style == PATH
        # A template without %(bucket)s makes s3cmd use path style.
        template = target.authority if by_path else f"%(bucket)s.{DOMAIN}:{target.port}"
        trust = f"ca_certs_file = {target.ca_file}\n" if target.ca_file else ""
        config = home / "s3cfg"
        config.write_text(
            f"[default]\naccess_key = {target.credential.access_key}\n"
            f"secret_key = {target.credential.secret_key}\n"
            f"host_base = {target.authority}\nhost_bucket = {template}\n"
            f"bucket_location = {target.region}\nenable_multipart = False\n"
            f"use_https = {target.scheme == 'https'}\n{trust}{settings}"
        )
        self._options = ["-c", config, "--no-progress"]
        self._environment = clean_environment(home)

    def _s3cmd(self, *arguments) -> str:
        return run([tools() / "s3cmd", *self._options, *arguments], self._environment)

    def upload(self, bucket, prefix, directory):
        self._s3cmd("put", "--recursive", f"{directory}/", f"s3://{bucket}/{prefix}")

    def download(self, bucket, prefix, names, directory):
        # One argument per object: --recursive needs ETags in listings, and not every server has
        # them.
        objects = [f"s3://{bucket}/{prefix}{name}" for name in names]
        self._s3cmd("get", *objects, f"{directory}/")

    def sizes(self, bucket, prefix):
        found = {}
        for line in self._s3cmd("ls", "--recursive", f"s3://{bucket}/{prefix}").splitlines():
            _date, _time, size, url = line.split()
            found[url.removeprefix(f"s3://{bucket}/{prefix}")] = int(size)
        return found

    def head(self, bucket, key):
        for line in self._s3cmd("info", f"s3://{bucket}/{key}").splitlines():
            label, _, value = line.strip().partition(":")
            if label == "File size":
                return int(value)
        raise AssertionError(f"s3cmd info names no size for {key}")

    def delete(self, bucket, prefix, names):
        self._s3cmd("del", "--recursive", "--force", f"s3://{bucket}/{prefix}")


class Rclone:
    """Objects longer than `ranges_from` are downloaded in parallel ranges."""

    def __init__(
        self, target: Target, home: Path, ranges_from: str = _NEVER_MULTIPART, **environment: str
    ):
        self._environment = clean_environment(
            home,
            RCLONE_CONFIG=str(home / "rclone.conf"),
            RCLONE_CONFIG_E2E_TYPE="s3",
            RCLONE_CONFIG_E2E_PROVIDER="Other",
            RCLONE_CONFIG_E2E_ENDPOINT=target.url,
            RCLONE_CONFIG_E2E_REGION=target.region,
            RCLONE_CONFIG_E2E_ACCESS_KEY_ID=target.credential.access_key,
            RCLONE_CONFIG_E2E_SECRET_ACCESS_KEY=target.credential.secret_key,
            RCLONE_CONFIG_E2E_FORCE_PATH_STYLE=str(target.style == PATH).lower(),
            RCLONE_CONFIG_E2E_UPLOAD_CUTOFF=_NEVER_MULTIPART,
            RCLONE_CONFIG_E2E_NO_CHECK_BUCKET="true",
            RCLONE_MULTI_THREAD_CUTOFF=ranges_from,
            RCLONE_MULTI_THREAD_CHUNK_SIZE="4M",
            **({"RCLONE_CA_CERT": str(target.ca_file)} if target.ca_file else {}),
            **environment,
        )

    def _rclone(self, *arguments) -> str:
        return run([tools() / "rclone", "--retries", "1", *arguments], self._environment)

    def upload(self, bucket, prefix, directory):
        self._rclone("copy", directory, f"e2e:{bucket}/{prefix}")

    def download(self, bucket, prefix, names, directory):
        self._rclone("copy", f"e2e:{bucket}/{prefix}", directory)

    def sizes(self, bucket, prefix):
        # An empty prefix is a missing directory to lsjson, an empty list to lsf.
        listing = self._rclone("lsf", "--format", "ps", "--separator", "\t", "--files-only",
                               f"e2e:{bucket}/{prefix}")
        lines = (line.split("\t") for line in listing.splitlines())
        return {name: int(size) for name, size in lines}

    def head(self, bucket, key):
        return json.loads(self._rclone("lsjson", "--stat", f"e2e:{bucket}/{key}"))["Size"]

    def delete(self, bucket, prefix, names):
        self._rclone("delete", f"e2e:{bucket}/{prefix}")


class CurlPresigned:
    """curl with URLs that boto3 presigned: the holder of the URL has no credential."""

    def __init__(self, target: Target, home: Path):
        self._s3 = boto3_client(target)
        self._environment = clean_environment(home)
        trust = ["--cacert", target.ca_file] if target.ca_file else []
        self._program = ["curl", "--silent", "--show-error", "--fail-with-body", *trust]

    def _curl(self, operation: str, parameters: dict, *arguments) -> str:
        url = self._s3.generate_presigned_url(operation, Params=parameters, ExpiresIn=600)
        return run([*self._program, *arguments, url], self._environment)

    def upload(self, bucket, prefix, directory):
        for path in directory.iterdir():
            where = {"Bucket": bucket, "Key": prefix + path.name}
            self._curl("put_object", where, "--upload-file", path)

    def download(self, bucket, prefix, names, directory):
        for name in names:
            where = {"Bucket": bucket, "Key": prefix + name}
            self._curl("get_object", where, "--output", directory / name)

    def download_range(self, bucket, key, header, path):
        where = {"Bucket": bucket, "Key": key}
        self._curl("get_object", where, "--range", header.removeprefix("bytes="), "--output", path)

    def sizes(self, bucket, prefix):
        listing = self._curl("list_objects_v2", {"Bucket": bucket, "Prefix": prefix})
        entries = ElementTree.fromstring(listing).iterfind("{*}Contents")
        return {
            entry.findtext("{*}Key").removeprefix(prefix): int(entry.findtext("{*}Size"))
            for entry in entries
        }

    def head(self, bucket, key):
        answer = self._curl("head_object", {"Bucket": bucket, "Key": key}, "--head")
        headers = dict(line.lower().split(": ", 1) for line in answer.splitlines() if ": " in line)
        return int(headers["content-length"])

    def delete(self, bucket, prefix, names):
        for name in names:
            self._curl("delete_object", {"Bucket": bucket, "Key": prefix + name}, "--request", "DELETE")


def aws_variables(target: Target) -> dict[str, str]:
    trust = {"AWS_CA_BUNDLE": str(target.ca_file)} if target.ca_file else {}
    return {
        "AWS_ACCESS_KEY_ID": target.credential.access_key,
        "AWS_SECRET_ACCESS_KEY": target.credential.secret_key,
        "AWS_REGION": target.region,
        "AWS_EC2_METADATA_DISABLED": "true",
    } | trust


CLIENTS: dict[str, type[Client]] = {
    "aws-cli": AwsCli,
    "boto3": Boto3,
    "rust-sdk": RustSdk,
    "s3cmd": S3cmd,
    "rclone": Rclone,
    "curl-presigned": CurlPresigned,
}
