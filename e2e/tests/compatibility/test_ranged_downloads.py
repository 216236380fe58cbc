"""Clients that fetch large objects in ranges, in parallel or one at a time, reassemble them
correctly.

Clients do this on their own above some size. A range that is wrong by a byte, or in the wrong
place, would show in the whole object.
"""

import random

import pytest
from boto3.s3.transfer import TransferConfig

from clients import AwsCli, CurlPresigned, Rclone, RustSdk, boto3_client

MIB = 1024 * 1024
SIZE = 20 * MIB + 12345
ANSWERED_IN_PART = '"status":206'
CONTENT = random.Random(SIZE).randbytes(SIZE)


@pytest.fixture(scope="module")
def large(deployment, bucket):
    """A large object: its prefix and name."""
    boto3_client(deployment.target).put_object(Bucket=bucket, Key="large/object", Body=CONTENT)
    return "large/", "object"


@pytest.mark.parametrize("client", [AwsCli, Rclone])
def test_command_line_client_puts_ranges_together(deployment, bucket, large, client, tmp_path):
    received = tmp_path / "received"
    received.mkdir()
    prefix, name = large
    before = deployment.proxy.log_text().count(ANSWERED_IN_PART)
    client(deployment.target, tmp_path, ranges_from="1M").download(bucket, prefix, [name], received)
    assert (received / name).read_bytes() == CONTENT
    # The client had to request at least this many ranges; the log has them a moment after the
    # response.
    deployment.proxy.wait_for_log(ANSWERED_IN_PART, before + 2)


def test_boto3_transfer_puts_ranges_together(deployment, bucket, large, tmp_path):
    config = TransferConfig(multipart_threshold=MIB, multipart_chunksize=3 * MIB + 1)
    file = tmp_path / "file"
    boto3_client(deployment.target).download_file(bucket, "".join(large), str(file), Config=config)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("client", [RustSdk, CurlPresigned])
@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=16383-16384", 16383, 16384),
        ("bytes=5242879-10485761", 5242879, 10485761),
        ("bytes=20983864-", 20983864, SIZE - 1),
        ("bytes=-100000", SIZE - 100000, SIZE - 1),
    ],
)
def test_client_gets_the_range_that_it_names(
    deployment, bucket, large, client, header, first, last, tmp_path
):
    file = tmp_path / "file"
    client(deployment.target, tmp_path).download_range(bucket, "".join(large), header, file)
    assert file.read_bytes() == CONTENT[first : last + 1]
