"""Every checksum algorithm by the SDKs that know it: what they compute is verified and comes back.

An SDK that cannot compute an algorithm is given the value. Over TLS most send it behind the body.
"""

import base64

import pytest

import sdks
from cells import Place
from chunks import ALGORITHMS, checksum
from client_driver import Drivers
from clients import RustSdk
from clients_python import run_program
from content import content
from deployment import make_bucket

MIB = 1024 * 1024
SMALL = content(16 * 1024 + 1)
PARTS = [content(5 * MIB, "1"), content(5 * MIB, "2"), content(100, "3")]

GO, MINIO, JAVA = "AWS SDK for Go v2", "minio-go", "AWS SDK for Java 2"
PROGRAMS = {program.name: program for program in sdks.PROGRAMS}
_FIVE = {"crc32", "crc32c", "crc64nvme", "sha1", "sha256"}
COMPUTED = {GO: _FIVE | {"sha512"}, MINIO: set(ALGORITHMS), JAVA: set(ALGORITHMS) - {"md5"}}


@pytest.fixture(scope="module")
def drivers(run_directory):
    drivers = Drivers(run_directory)
    yield drivers
    drivers.stop()


def place_over(scheme: str, deployments, folder) -> Place:
    deployment = deployments.get("seaweedfs", scheme)
    return Place(deployment, "seaweedfs", make_bucket(deployment), folder, folder)


@pytest.fixture(params=["http", "https"])
def either(deployments, request, tmp_path):
    return place_over(request.param, deployments, tmp_path)


@pytest.fixture
def plain(deployments, tmp_path):
    return place_over("http", deployments, tmp_path)


def test_boto3_with_the_common_runtime(either):
    # Uploads in parts take their time: once is enough.
    parts = ["--parts"] if either.target.ca_file else []
    run_program(either, "boto3_checksums.py", *parts, venv="checksums")


@pytest.mark.parametrize("name", COMPUTED)
def test_objects(either, drivers, name):
    driver = drivers.driver(PROGRAMS[name], either.target)
    source = either.scratch / "source"
    source.write_bytes(SMALL)
    for algorithm in ALGORITHMS:
        value, received = checksum(algorithm, SMALL), either.scratch / algorithm
        given = "-" if algorithm in COMPUTED[name] else value
        kept = driver.do("checksum", either.bucket, algorithm, source, algorithm.upper(), given)
        assert kept == [value], algorithm
        driver.do("get", either.bucket, algorithm, received)
        assert received.read_bytes() == SMALL, algorithm


@pytest.mark.parametrize("name", [MINIO, JAVA])
def test_uploads_in_parts(plain, drivers, name):
    driver = drivers.driver(PROGRAMS[name], plain.target)
    source = plain.scratch / "source"
    source.write_bytes(b"".join(PARTS))
    for algorithm in ("crc32", "sha512", "xxhash3", "xxhash128"):
        digests = [base64.b64decode(checksum(algorithm, part)) for part in PARTS]
        expected = f"{checksum(algorithm, b''.join(digests))}-{len(PARTS)}"
        arguments = (plain.bucket, algorithm, source, algorithm.upper())
        assert driver.do("checksum-parts", *arguments) == [expected], algorithm
        received = plain.scratch / algorithm
        driver.do("get", plain.bucket, algorithm, received)
        assert received.read_bytes() == source.read_bytes(), algorithm


def test_objects_of_the_rust_sdk(either):
    client = RustSdk(either.target, either.home)
    source = either.scratch / "source"
    source.write_bytes(SMALL)
    for algorithm in ALGORITHMS:
        value = checksum(algorithm, SMALL)
        given = "-" if algorithm in _FIVE else value
        arguments = (either.bucket, algorithm, source, algorithm.upper(), given)
        assert client.run("checksum", *arguments).strip() == value, algorithm
    client.download(either.bucket, "", ALGORITHMS, either.scratch)
    for algorithm in ALGORITHMS:
        assert (either.scratch / algorithm).read_bytes() == SMALL, algorithm
