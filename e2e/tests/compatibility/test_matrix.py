"""Every client, scheme, addressing style and backend: objects come back unchanged.

Stored objects are read from the backend directly and must be sealed as the format demands. Small
sizes are around the chunk length; large ones, around the part length, take only one path. The
embedded store answers as S3 does in each scheme and style; the program's own tests of complete
requests use it for everything else.
"""

import random

import pytest

from clients import CLIENTS, boto3_client
from sealed import leaks, open_sealed
from target import PATH, VIRTUAL_HOST

BUCKET = "e2e-matrix"
MIB = 1024 * 1024
SMALL = [0, 1, 16383, 16384, 16385]
LARGE = [MIB, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 24 * MIB]
LARGEST = [100 * MIB]

ENDPOINTS = [
    *(("seaweedfs", scheme, style) for scheme in ("http", "https") for style in (PATH, VIRTUAL_HOST)),
    ("embedded", "http", PATH),
    ("embedded", "https", VIRTUAL_HOST),
]


@pytest.fixture(scope="module")
def files(run_directory):
    """Folders of incompressible files, named after their sizes."""

    def folder(name, sizes):
        directory = run_directory / name
        directory.mkdir()
        for size in sizes:
            (directory / str(size)).write_bytes(random.Random(size).randbytes(size))
        return directory

    sizes = {"small": SMALL, "large": LARGE, "largest": LARGEST}
    return {name: folder(name, some) for name, some in sizes.items()}


@pytest.fixture
def deployment(deployments, backend, scheme):
    if deployments.direct and scheme == "https":
        pytest.skip("only the proxy speaks HTTPS here")
    chosen = deployments.get(backend, scheme)
    ensure_bucket(chosen)
    return chosen


@pytest.mark.parametrize(("backend", "scheme", "style"), ENDPOINTS)
@pytest.mark.parametrize("client_name", CLIENTS)
def test_small_objects_survive_the_round_trip_and_are_stored_sealed(
    client_name, style, deployment, names, files, prefix, tmp_path
):
    if style == VIRTUAL_HOST:
        names.resolve()
    if style == VIRTUAL_HOST and deployment.proxy is None and deployment.backend.name == "embedded":
        pytest.skip("the embedded store itself takes buckets from paths only")
    round_trip(deployment, client_name, style, files["small"], prefix, tmp_path)


@pytest.mark.parametrize("scheme", ["http"])
@pytest.mark.parametrize("backend", ["seaweedfs"])
@pytest.mark.parametrize("client_name", CLIENTS)
def test_large_objects_survive_the_round_trip_and_are_stored_sealed(
    client_name, deployment, files, prefix, tmp_path
):
    round_trip(deployment, client_name, PATH, files["large"], prefix, tmp_path)


@pytest.mark.parametrize("scheme", ["http"])
@pytest.mark.parametrize("backend", ["seaweedfs"])
def test_an_object_of_100_mib_survives_the_round_trip_and_is_stored_sealed(
    deployment, files, prefix, tmp_path
):
    round_trip(deployment, "rclone", PATH, files["largest"], prefix, tmp_path)


def round_trip(deployment, client_name, style, source, prefix, scratch):
    home, received = scratch / "home", scratch / "received"
    home.mkdir()
    received.mkdir()
    client = CLIENTS[client_name](deployment.target.in_style(style), home)
    sizes = {path.name: path.stat().st_size for path in source.iterdir()}
    names = sorted(sizes)

    client.upload(BUCKET, prefix, source)
    assert client.sizes(BUCKET, prefix) == sizes
    largest = max(names, key=sizes.get)
    assert client.head(BUCKET, prefix + largest) == sizes[largest]
    client.download(BUCKET, prefix, names, received)
    differing = [n for n in names if (received / n).read_bytes() != (source / n).read_bytes()]
    assert differing == []
    if deployment.proxy:
        for name in names:
            assert_sealed(deployment, prefix + name, (source / name).read_bytes())
    client.delete(BUCKET, prefix, names)
    assert client.sizes(BUCKET, prefix) == {}


def assert_sealed(deployment, key, plaintext):
    stored = deployment.stored(BUCKET, key)
    assert not leaks(stored.body, plaintext)
    opened = open_sealed(stored, deployment.proxy.key, BUCKET, key, len(plaintext))
    assert opened == plaintext


def ensure_bucket(deployment):
    s3 = boto3_client(deployment.target)
    if BUCKET not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=BUCKET)
