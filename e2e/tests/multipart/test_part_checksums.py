"""Checksums of multipart uploads: verified part by part, stored sealed, returned with the object.

Servers need no support for checksums: checksums end at the proxy, which stores its own.
"""

import base64
import functools
import hashlib
import zlib

import pytest
import xxhash
from botocore.exceptions import ClientError

from clients import boto3_client
from uploads import FIVE_MIB, Upload, piece, states


@functools.cache
def crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """A reflected CRC in plain Python with a table; slow, so results are cached."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    value = everything = (1 << bits) - 1
    for byte in data:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return (value ^ everything).to_bytes(bits // 8, "big")


ALGORITHMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crc(data, 0x82F63B78, 32),
    "CRC64NVME": lambda data: crc(data, 0x9A6C9329AC4BC9B5, 64),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data).digest(),
    "XXHASH64": xxhash.xxh64_digest,
    "XXHASH3": xxhash.xxh3_64_digest,
    "XXHASH128": xxhash.xxh3_128_digest,
}

COMPOSITE = [algorithm for algorithm in ALGORITHMS if algorithm != "CRC64NVME"]
FULL_OBJECT = ["CRC32", "CRC32C", "CRC64NVME"]
PIECES = {1: piece(FIVE_MIB, "1"), 2: piece(FIVE_MIB + 1, "2"), 3: piece(70, "3")}
WHOLE = b"".join(PIECES.values())


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(deployments, request):
    return deployments.get(request.param, "http")


@pytest.fixture(autouse=True)
def nothing_left(backend_s3, bucket):
    yield
    assert states(backend_s3, bucket) == []


def text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def started(s3, bucket, key, algorithm, kind) -> Upload:
    upload = Upload(s3, bucket, key, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    for number, body in PIECES.items():
        digest = text(ALGORITHMS[algorithm](body))
        part = upload.part(number, body, **{f"Checksum{algorithm}": digest})
        assert part[f"Checksum{algorithm}"] == digest
    return upload


def refused(action, code: str) -> None:
    with pytest.raises(ClientError) as refusal:
        action()
    assert refusal.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_composite_checksums_are_those_of_the_parts(s3, bucket, key, algorithm):
    upload = started(s3, bucket, key, algorithm, "COMPOSITE")
    digest = ALGORITHMS[algorithm]
    expected = text(digest(b"".join(digest(body) for body in PIECES.values()))) + "-3"
    answer = upload.complete()
    assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (expected, "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (expected, "COMPOSITE")
    described = s3.get_object_attributes(
        Bucket=bucket, Key=key, ObjectAttributes=["Checksum", "ObjectParts"]
    )
    # S3 leaves the number of parts off here.
    without_parts = {f"Checksum{algorithm}": expected[:-2], "ChecksumType": "COMPOSITE"}
    assert described["Checksum"] == without_parts
    assert described["ObjectParts"]["TotalPartsCount"] == 3


@pytest.mark.parametrize("algorithm", FULL_OBJECT)
def test_full_object_checksums_are_those_of_the_content(s3, bucket, key, algorithm):
    upload = started(s3, bucket, key, algorithm, "FULL_OBJECT")
    expected = text(ALGORITHMS[algorithm](WHOLE))
    answer = upload.complete(**{f"Checksum{algorithm}": expected, "ChecksumType": "FULL_OBJECT"})
    assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (expected, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (expected, "FULL_OBJECT")
    # boto3 compares the content with the checksum.
    assert s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["Body"].read() == WHOLE


def test_a_full_object_checksum_needs_no_checksums_in_the_list(s3, bucket, key):
    upload = started(s3, bucket, key, "CRC64NVME", "FULL_OBJECT")
    parts = [
        {name: upload.parts[number][name] for name in ("PartNumber", "ETag")}
        for number in sorted(upload.parts)
    ]
    expected = text(ALGORITHMS["CRC64NVME"](WHOLE))
    assert upload.complete(parts)["ChecksumCRC64NVME"] == expected
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (expected, "FULL_OBJECT")


@pytest.mark.parametrize("algorithm", FULL_OBJECT)
def test_a_wrong_checksum_of_the_whole_completes_nothing(s3, bucket, key, algorithm):
    upload = started(s3, bucket, key, algorithm, "FULL_OBJECT")
    wrong = text(ALGORITHMS[algorithm](b"other"))
    refused(lambda: upload.complete(**{f"Checksum{algorithm}": wrong}), "BadDigest")
    refused(lambda: s3.head_object(Bucket=bucket, Key=key), "404")
    upload.abort()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME", "SHA512", "XXHASH128"])
def test_a_wrong_checksum_of_a_part_in_the_list_is_an_invalid_part(s3, bucket, key, algorithm):
    kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    upload = started(s3, bucket, key, algorithm, kind)
    parts = [dict(upload.parts[number]) for number in (1, 2, 3)]
    parts[1][f"Checksum{algorithm}"] = parts[0][f"Checksum{algorithm}"]
    refused(lambda: upload.complete(parts), "InvalidPart")
    upload.abort()


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_a_composite_upload_needs_every_parts_checksum(s3, bucket, key, algorithm):
    upload = started(s3, bucket, key, algorithm, "COMPOSITE")
    parts = [dict(upload.parts[number]) for number in (1, 2, 3)]
    del parts[1][f"Checksum{algorithm}"]
    refused(lambda: upload.complete(parts), "InvalidRequest")
    upload.complete()


def test_a_part_of_another_algorithm_is_refused(s3, bucket, key):
    upload = Upload(s3, bucket, key, ChecksumAlgorithm="SHA1")
    digest = text(ALGORITHMS["SHA256"](PIECES[3]))
    refused(lambda: upload.part(1, PIECES[3], ChecksumSHA256=digest), "InvalidRequest")
    upload.abort()


def test_types_that_do_not_fit_their_algorithm_are_refused(s3, bucket, key):
    for algorithm, kind in [("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")]:
        refused(
            lambda: Upload(s3, bucket, key, ChecksumAlgorithm=algorithm, ChecksumType=kind),
            "InvalidRequest",
        )


def test_the_size_of_the_whole_is_checked(s3, bucket, key):
    upload = started(s3, bucket, key, "CRC32", "FULL_OBJECT")
    refused(lambda: upload.complete(MpuObjectSize=len(WHOLE) + 1), "InvalidRequest")
    upload.complete(MpuObjectSize=len(WHOLE))


def test_a_part_without_a_checksum_gets_one_of_the_uploads_algorithm(deployment, bucket, key):
    # Otherwise boto3 adds a checksum.
    s3 = boto3_client(deployment.target)
    s3.meta.config.request_checksum_calculation = "when_required"
    upload = Upload(s3, bucket, key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    for number, body in PIECES.items():
        part = upload.part(number, body)
        assert part["ChecksumCRC32"] == text(ALGORITHMS["CRC32"](body))
    named = [upload.parts[number] for number in sorted(upload.parts)]
    answer = upload.complete([{name: part[name] for name in ("PartNumber", "ETag")} for part in named])
    assert answer["ChecksumCRC32"] == text(ALGORITHMS["CRC32"](WHOLE))


def test_a_resumed_upload_keeps_the_clients_checksum_of_the_whole(s3, bucket, key):
    upload = started(s3, bucket, key, "CRC64NVME", "FULL_OBJECT")
    listed = s3.list_parts(**upload.named)["Parts"]
    parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]
    assert [part["Size"] for part in listed] == [len(body) for body in PIECES.values()]
    expected = text(ALGORITHMS["CRC64NVME"](WHOLE))
    answer = upload.complete(parts, ChecksumCRC64NVME=expected, ChecksumType="FULL_OBJECT")
    assert answer["ChecksumCRC64NVME"] == expected
    assert s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["Body"].read() == WHOLE
