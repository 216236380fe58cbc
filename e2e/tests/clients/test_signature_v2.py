"""Clients that sign with AWS's Signature Version 2, at a proxy that allows it to the client that they are.

Straight at a server they say whether that one takes Version 2 itself.
"""

import hashlib
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from cells import cell, pinned
from clients import boto3_client
from clients_python import run_program
from known_clients import credential_of, known_client
from processes import clean_environment, run
from servers import tools
from trees import KIB, MIB, content, write_files

_CLIENT = "oldtimer"
_GARAGE = {"garage": "it takes Version 4 only"}
_OWN_WAYS = {
    "seaweedfs": "it leaves `response-*` out of what Version 2 signs",
    "radosgw": "it signs listings and headers in the query in a way of its own",
}
_SIZES = {"empty": 0, "small": 100, "larger": 2 * MIB + 1, "a-name(ü)": 10}


def _debian(package: str) -> str:
    """The upstream version of an installed package."""
    version = run(["dpkg-query", "--show", "--showformat=${Version}", package], {})
    return version.rsplit("-", 1)[0]


@pytest.fixture
def old(place, deployments):
    """The place behind a proxy that knows a client which may sign with Version 2."""
    if place.deployment.proxy is None:
        return place
    deployment = _proxy(place, deployments)
    return replace(place, deployment=deployment)


_proxies = {}


def _proxy(place, deployments):
    if place.backend not in _proxies:
        deployment = deployments.proxy(
            place.deployment.backend,
            f"proxy-{place.backend}-signature-v2",
            settings=known_client(_CLIENT, signature_v2="allow"),
        )
        target = replace(deployment.target, credential=credential_of(_CLIENT))
        _proxies[place.backend] = replace(deployment, target=target)
    return _proxies[place.backend]


@cell(
    "libs3 (`s3`)",
    "put, list, head, get, copy, delete",
    version=_debian("libs3-2"),
    only_by_proxy=_GARAGE,
)
def test_libs3_moves_files(old):
    write_files(old.scratch, _SIZES)
    s3 = Libs3(old)
    for name in _SIZES:
        source = old.scratch / name
        s3("put", f"{old.bucket}/folder/{name}", f"filename={source}", "contentType=text/plain")
        assert "Last-Modified" in s3("head", f"{old.bucket}/folder/{name}")
        s3("get", f"{old.bucket}/folder/{name}", f"filename={old.scratch}/{name}.back")
        assert (old.scratch / f"{name}.back").read_bytes() == source.read_bytes()
    s3("copy", f"{old.bucket}/folder/small", f"{old.bucket}/copied")
    listed = s3("list", old.bucket, "prefix=fold")
    assert all(f"folder/{name}" in listed for name in ("empty", "small", "larger")), listed
    assert "copied" not in listed
    s3("delete", f"{old.bucket}/copied")
    assert sorted(old.stored()) == sorted(f"folder/{name}" for name in _SIZES)


class Libs3:
    """Debian's `s3`, over plain HTTP and path style."""

    def __init__(self, place):
        target = place.target
        self._environment = clean_environment(
            place.home,
            S3_ACCESS_KEY_ID=target.credential.access_key,
            S3_SECRET_ACCESS_KEY=target.credential.secret_key,
            S3_HOSTNAME=target.authority,
        )

    def __call__(self, *arguments) -> str:
        return run(["s3", "-u", "-s", *arguments], self._environment)


@cell(
    "s3cmd",
    "put in parts, get, list, del with `--signature-v2`",
    version=pinned("s3cmd"),
    only_by_proxy=_GARAGE,
)
def test_s3cmd_moves_files_with_version_2(old):
    config, target = old.home / "s3cfg", old.target
    config.write_text(
        f"[default]\naccess_key = {target.credential.access_key}\n"
        f"secret_key = {target.credential.secret_key}\nuse_https = False\nsignature_v2 = True\n"
        f"host_base = {target.authority}\nhost_bucket = {target.authority}\n"
        f"bucket_location = {target.region}\nmultipart_chunk_size_mb = 5\n"
    )

    def s3cmd(*arguments):
        command = [tools() / "s3cmd", "-c", config, "--no-progress", *arguments]
        return run(command, clean_environment(old.home))

    write_files(old.scratch, {"large": 6 * MIB, "a small one": 100})
    for name in ("large", "a small one"):
        s3cmd("put", old.scratch / name, f"s3://{old.bucket}/{name}")
        s3cmd("get", f"s3://{old.bucket}/{name}", old.scratch / f"{name}.back")
        assert (old.scratch / f"{name}.back").read_bytes() == (old.scratch / name).read_bytes()
    assert "large" in s3cmd("ls", f"s3://{old.bucket}/l")
    s3cmd("del", f"s3://{old.bucket}/large")
    assert list(old.stored()) == ["a small one"]


@pytest.mark.parametrize("version", ["s3", "s3-query"])
@cell(
    "boto3",
    'all of an object\'s life with `signature_version` "s3" and "s3-query"',
    version=pinned("boto3"),
    only_by_proxy=_GARAGE | _OWN_WAYS,
)
def test_boto3_signs_with_version_2(old, version):
    s3 = boto3_client(
        old.target, signature_version=version, request_checksum_calculation="when_required"
    )
    body, key = content(2, 5 * MIB), f"{version}/ä key+(1)"
    s3.put_object(Bucket=old.bucket, Key=key, Body=body[: 64 * KIB], Metadata={"name": "value"})
    got = s3.get_object(Bucket=old.bucket, Key=key, Range="bytes=1-9", ResponseContentType="text/css")
    assert got["Body"].read() == body[1:10]
    assert got["Metadata"] == {"name": "value"}
    s3.copy_object(Bucket=old.bucket, Key=f"{key}-2", CopySource={"Bucket": old.bucket, "Key": key})
    upload = {"Bucket": old.bucket, "Key": f"{key}-3"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n in (1, 2)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    page = s3.list_objects_v2(Bucket=old.bucket, Prefix=f"{version}/")
    assert [entry["Size"] for entry in page["Contents"]] == [64 * KIB, 64 * KIB, 10 * MIB]
    s3.delete_objects(
        Bucket=old.bucket,
        Delete={"Objects": [{"Key": key}, {"Key": f"{key}-2"}]},
    )
    assert list(old.stored()) == [f"{key}-3"]


@cell(
    "boto3",
    "presigned GET and PUT, forms, with Version 2",
    version=pinned("boto3"),
    only_by_proxy=_GARAGE | _OWN_WAYS,
)
def test_boto3_presigns_with_version_2(old):
    s3 = boto3_client(old.target, signature_version="s3")
    where = {"Bucket": old.bucket, "Key": "a b"}
    body = content(3, 1000)
    put = s3.generate_presigned_url("put_object", Params=where | {"ContentType": "text/plain"})
    assert "AWSAccessKeyId" in put
    headers = {"content-type": "text/plain"}
    with urlopen(Request(put, data=body, headers=headers, method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", Params=where | {"ResponseContentType": "text/css"})
    with urlopen(get) as answer:
        assert answer.headers["content-type"] == "text/css"
        assert hashlib.sha256(answer.read()).digest() == hashlib.sha256(body).digest()
    form = s3.generate_presigned_post(old.bucket, "posted")
    assert "signature" in form["fields"]
    fields = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    file = '--edge\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    data = f"{fields}{file}".encode() + body + b"\r\n--edge--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=edge"}
    with urlopen(Request(form["url"], data=data, headers=headers)) as answer:
        assert answer.status == 204
    assert sorted(old.stored()) == ["a b", "posted"]


@cell(
    "s3fs",
    "presigned URLs as they come without a region: Version 2",
    version=pinned("s3fs"),
    only_by_proxy=_GARAGE,
)
def test_s3fs_presigns_with_version_2_by_default(old):
    url = run_program(old, "fsspec_presigned.py").strip()
    assert parse_qs(urlsplit(url).query).keys() >= {"AWSAccessKeyId", "Signature", "Expires"}
    with urlopen(url) as answer:
        assert answer.read() == b"written by s3fs"


def test_other_clients_are_refused_and_told_the_setting(deployments, bucket):
    deployment = deployments.proxy(
        deployments.server("seaweedfs"), "proxy-version-4-only", settings=known_client("modern")
    )
    target = replace(deployment.target, credential=credential_of("modern"))
    s3 = boto3_client(target, signature_version="s3")
    with pytest.raises(ClientError, match="signature_v2"):
        s3.list_objects(Bucket=bucket)
