"""s5cmd: many files in parallel, sync both ways, copies on the server."""

from cells import cell
from clients import aws_variables
from processes import clean_environment, run
from servers import tools
from trees import MULTIPART_SIZES, assert_same_files, write_files

_VERSION = "2.3.0"
_TREE = {f"sizes/{size}": size for size in MULTIPART_SIZES} | {
    # No space: s5cmd writes it as a plus sign in the source of a copy, and the servers here take
    # the plus sign literally.
    "ümlauts&more.txt": 100,
    "deep/er/and/deeper/file": 7,
} | {f"many/{number}": 1000 + number for number in range(40)}


@cell("s5cmd", "cp in parts, up, on the server and down", version=_VERSION)
def test_folder_survives_the_round_trip(place, tmp_path):
    s5cmd, here = S5cmd(place), f"s3://{place.bucket}/here/"
    assert _VERSION in s5cmd("version")
    write_files(place.scratch, _TREE)
    s5cmd("cp", *_PARTS, f"{place.scratch}/", here)
    s5cmd("cp", f"{here}*", f"s3://{place.bucket}/there/")
    s5cmd("cp", *_PARTS, f"s3://{place.bucket}/there/*", f"{tmp_path / 'received'}/")
    assert_same_files(tmp_path / "received", place.scratch)


@cell("s5cmd", "sync up and down; a second one transfers nothing; mv, rm", version=_VERSION)
def test_second_sync_transfers_nothing(place, tmp_path):
    s5cmd, received = S5cmd(place), tmp_path / "received"
    there = f"s3://{place.bucket}/there/"
    write_files(place.scratch, _TREE)
    for source, target in ((f"{place.scratch}/", there), (f"{there}*", f"{received}/")):
        assert len(s5cmd("sync", source, target).splitlines()) == len(_TREE)
        stored = place.stored()
        assert s5cmd("sync", source, target) == ""
        assert place.stored() == stored
    assert_same_files(received, place.scratch)
    s5cmd("mv", f"{there}many/0", f"{there}moved")
    s5cmd("rm", f"{there}many/*")
    assert len(place.stored()) == len(_TREE) - 39


_PARTS = ["--part-size", "5", "--concurrency", "4"]


class S5cmd:
    def __init__(self, place):
        self._environment = clean_environment(place.home, **aws_variables(place.target))
        options = ["--endpoint-url", place.target.url, "--retry-count", "0"]
        self._command = [tools("clients") / "s5cmd", *options]

    def __call__(self, *arguments) -> str:
        return run([*self._command, *arguments], self._environment)
