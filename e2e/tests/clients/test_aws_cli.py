"""The AWS CLI: cp, sync in all directions, mv and presign, with multipart uploads from 5 MiB on."""

import urllib.request

from cells import cell, pinned
from clients import aws_variables
from processes import clean_environment, run
from servers import tools
from trees import MIB, MULTIPART_SIZES, assert_same_files, write_files

_AWS = tools("awscli") / "aws"
_VERSION = pinned("awscli")
_TREE = {f"sizes/{size}": size for size in MULTIPART_SIZES} | {
    "a name with spaces & ümlauts.txt": 100,
    "deep/er/and/deeper/file": 7,
}


@cell("aws cli", "cp, file by file and --recursive", version=_VERSION)
def test_copied_folder_comes_back_the_same(place, tmp_path):
    aws, there = AwsCommand(place), f"s3://{place.bucket}/tree/"
    write_files(place.scratch, _TREE)
    aws("cp", "--recursive", place.scratch, there)
    aws("cp", "--recursive", there, tmp_path / "received")
    assert_same_files(tmp_path / "received", place.scratch)
    large = f"sizes/{max(MULTIPART_SIZES)}"
    aws("cp", there + large, f"s3://{place.bucket}/copies/{large}")
    aws("cp", f"s3://{place.bucket}/copies/{large}", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == (place.scratch / large).read_bytes()


@cell("aws cli", "sync up, down and across; a second one transfers nothing", version=_VERSION)
def test_second_sync_transfers_nothing(place, tmp_path):
    aws, received = AwsCommand(place), tmp_path / "received"
    here, there = f"s3://{place.bucket}/here", f"s3://{place.bucket}/there"
    write_files(place.scratch, _TREE)
    for source, target in ((place.scratch, here), (here, there), (there, received)):
        assert len(aws("sync", "--no-progress", source, target).splitlines()) == len(_TREE)
        stored = place.stored()
        assert aws("sync", "--no-progress", source, target) == ""
        assert place.stored() == stored
    assert_same_files(received, place.scratch)
    (place.scratch / "deep/er/and/deeper/file").unlink()
    assert aws("sync", "--no-progress", "--delete", place.scratch, here).startswith("delete: ")
    assert "here/deep" not in aws("ls", "--recursive", here)


@cell("aws cli", "mv there, across and back", version=_VERSION)
def test_moved_file_is_gone_where_it_was(place):
    aws = AwsCommand(place)
    write_files(place.scratch, {"small": 100, "large": 12 * MIB + 345})
    for name in ("small", "large"):
        file = place.scratch / name
        before = file.read_bytes()
        first, second = (f"s3://{place.bucket}/{folder}/{name}" for folder in ("one", "two"))
        aws("mv", file, first)
        assert not file.exists()
        aws("mv", first, second)
        aws("mv", second, file)
        assert file.read_bytes() == before
    assert place.stored() == {}


@cell("aws cli", "presign, opened by urllib", version=_VERSION)
def test_presigned_url_gives_the_object(place):
    aws, url = AwsCommand(place), f"s3://{place.bucket}/tree/large"
    write_files(place.scratch, {"large": 5 * MIB + 1})
    aws("cp", place.scratch / "large", url)
    with urllib.request.urlopen(aws("presign", "--expires-in", "60", url).strip()) as answer:
        assert answer.read() == (place.scratch / "large").read_bytes()


class AwsCommand:
    """`aws s3` with small parts and default settings otherwise."""

    def __init__(self, place):
        config = place.home / "aws-config"
        config.write_text(
            f"[default]\nregion = {place.target.region}\ns3 =\n    addressing_style = path\n"
            "    multipart_threshold = 5MB\n    multipart_chunksize = 5MB\n"
            # The version it signs requests with by default; only `presign` defaults to the older
            # one.
            "    signature_version = s3v4\n"
        )
        self._environment = clean_environment(
            place.home, AWS_CONFIG_FILE=str(config), **aws_variables(place.target)
        )
        # As in clients.py: SeaweedFS sometimes loses a response, and the CLI then retries.
        self._endpoint = ["--endpoint-url", place.target.url, "--cli-read-timeout", "10"]

    def __call__(self, *arguments) -> str:
        return run([_AWS, "s3", *arguments, *self._endpoint], self._environment)
