"""Host names by which clients reach a proxy although its settings do not mention them.

The proxy has only the settings that every proxy needs, uses HTTPS, and knows its backend by a DNS
name, as in a cluster. Clients use the names of a Service, the backend's own name, which DNS
redirection maps to the proxy, and the name of a bucket under the latter.
"""

import pytest

import raw
from clients import CLIENTS, boto3_client
from processes import clean_environment, run
from target import DOMAIN, SERVICE, VIRTUAL_HOST

pytestmark = pytest.mark.usefixtures("resolved")

BUCKET = "e2e-names"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def proxy(deployments, certificates):
    server = deployments.server("seaweedfs")
    boto3_client(server.target).create_bucket(Bucket=BUCKET)
    by_name = server.target.named(DOMAIN)
    return deployments.proxy(
        server,
        "proxy-names",
        certificates=certificates,
        settings='[listen]\ndrain_delay = "0s"\n',
        environment={"S3PROXY_HOST": by_name.url},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    for size in (0, 5, 70000):
        (folder / str(size)).write_bytes(bytes(size))
    return folder


@pytest.mark.parametrize("name", [SERVICE, "s3proxy", "localhost", DOMAIN])
@pytest.mark.parametrize("client_name", CLIENTS)
def test_clients_work_by_names_that_no_setting_mentions(
    proxy, folder, client_name, name, prefix, tmp_path
):
    round_trip(CLIENTS[client_name](proxy.target.named(name), tmp_path), folder, prefix, tmp_path)


@pytest.mark.parametrize("client_name", CLIENTS)
def test_a_bucket_is_found_under_the_backends_own_name(
    proxy, folder, client_name, prefix, tmp_path
):
    """As if a DNS server mapped the backend's names, and buckets under them, to the proxy."""
    target = proxy.target.in_style(VIRTUAL_HOST)
    round_trip(CLIENTS[client_name](target, tmp_path), folder, prefix, tmp_path)


def round_trip(client, folder, prefix, scratch):
    received = scratch / "received"
    received.mkdir()
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    client.upload(BUCKET, prefix, folder)
    assert client.sizes(BUCKET, prefix) == sizes
    client.download(BUCKET, prefix, sorted(sizes), received)
    for name in sizes:
        assert (received / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("name", [SERVICE, "s3proxy", DOMAIN])
def test_uploads_in_parts_and_presigned_links_work_by_name(proxy, name, key, tmp_path):
    target = proxy.target.named(name)
    s3 = boto3_client(target)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    at = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    contents = [bytes(5 * MIB), b"tail"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**at, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(contents, 1)
    ]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
    link = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key})
    assert name in link
    got = tmp_path / "got"
    curl = ["curl", "--silent", "--show-error", "--fail", "--cacert", target.ca_file]
    run([*curl, "--output", got, link], clean_environment(tmp_path))
    assert got.read_bytes() == b"".join(contents)


@pytest.mark.parametrize("name", [f"{SERVICE}.", "s3proxy.", "other-name.example", "under_score"])
def test_any_host_header_is_answered_if_the_signature_covers_it(proxy, name):
    built = raw.request(proxy.target, "GET", BUCKET)
    built.set_header("Host", f"{name}:{proxy.target.port}")
    raw.sign(built, proxy.target)
    assert raw.send(built, proxy.target).status == 200
