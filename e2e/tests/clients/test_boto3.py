"""boto3's transfer manager: uploads in parts by several threads, downloads in ranges, copies."""

import pytest
from boto3.s3.transfer import TransferConfig

from cells import cell, pinned
from clients import boto3_client
from trees import MIB, MULTIPART_SIZES, content

_CONFIG = TransferConfig(
    multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4
)
_VERSION = pinned("boto3")


@cell("boto3", "upload_file and download_file, 4 threads", version=_VERSION)
@pytest.mark.parametrize("size", MULTIPART_SIZES)
def test_file_survives_a_threaded_transfer(place, size):
    source, received = place.scratch / "source", place.scratch / "received"
    source.write_bytes(content(1, size))
    s3 = boto3_client(place.target)
    s3.upload_file(str(source), place.bucket, "folder/file", Config=_CONFIG)
    s3.download_file(place.bucket, "folder/file", str(received), Config=_CONFIG)
    assert received.read_bytes() == source.read_bytes()
    assert s3.head_object(Bucket=place.bucket, Key="folder/file")["ContentLength"] == size


@cell("boto3", "upload_fileobj from a stream", version=_VERSION)
def test_stream_that_cannot_be_rewound_is_uploaded_in_parts(place):
    expected = content(2, 12 * MIB + 1)
    s3 = boto3_client(place.target)
    s3.upload_fileobj(_Stream(expected), place.bucket, "stream", Config=_CONFIG)
    answer = s3.get_object(Bucket=place.bucket, Key="stream")
    assert answer["Body"].read() == expected


@cell("boto3", "copy, in one request and in parts", version=_VERSION)
@pytest.mark.parametrize("size", [100, 12 * MIB + 345])
def test_copy_by_the_transfer_manager_has_the_same_content(place, size):
    expected = content(3, size)
    s3 = boto3_client(place.target)
    s3.put_object(
        Bucket=place.bucket, Key="source", Body=expected, Metadata={"colour": "green"}
    )
    source = {"Bucket": place.bucket, "Key": "source"}
    s3.copy(source, place.bucket, "copy", Config=_CONFIG)
    assert s3.get_object(Bucket=place.bucket, Key="copy")["Body"].read() == expected


class _Stream:
    """Bytes that can be read only once and in order."""

    def __init__(self, whole: bytes):
        self._whole, self._at = whole, 0

    def read(self, size: int = -1) -> bytes:
        start = self._at
        self._at = len(self._whole) if size < 0 else min(start + size, len(self._whole))
        return self._whole[start : self._at]
