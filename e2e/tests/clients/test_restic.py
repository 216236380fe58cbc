"""restic: two backups of a changing folder, checked, pruned and restored."""

import json

from cells import cell
from clients import aws_variables
from processes import clean_environment, run
from trees import MULTIPART_SIZES, assert_same_files, content, write_files

_VERSION = "0.14.0"
_TREE = {f"sizes/{size}": size for size in MULTIPART_SIZES} | {"deep/er/file": 7}


@cell("restic", "init, backup, check, forget and prune, restore", version=_VERSION)
def test_backup_is_checked_pruned_and_restored(place, tmp_path):
    restic = Restic(place)
    assert _VERSION in restic("version")
    restic("init")
    write_files(place.scratch, _TREE)
    restic("backup", ".")
    (place.scratch / "sizes" / str(max(MULTIPART_SIZES))).unlink()
    (place.scratch / "deep/er/file").write_bytes(content(99, 300_000))
    restic("backup", ".")
    before = sum(length for _, length in place.stored().values())
    restic("check", "--read-data")
    restic("forget", "--keep-last", "1", "--prune")
    # The largest file is no longer in any snapshot.
    assert sum(length for _, length in place.stored().values()) < before - max(MULTIPART_SIZES) // 2
    restic("check", "--read-data")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    restic("restore", "latest", "--target", tmp_path / "restored")
    assert_same_files(tmp_path / "restored", place.scratch)


class Restic:
    """restic with the folder that it backs up."""

    def __init__(self, place):
        self._folder = place.scratch
        self._environment = clean_environment(
            place.home,
            RESTIC_REPOSITORY=f"s3:{place.target.url}/{place.bucket}/repository",
            RESTIC_PASSWORD="only for tests",
            AWS_DEFAULT_REGION=place.target.region,
            **aws_variables(place.target),
        )

    def __call__(self, *arguments) -> str:
        # env changes its working directory and then executes restic in its own process.
        there = ["env", "--chdir", self._folder]
        return run([*there, "restic", "-o", "s3.bucket-lookup=path", *arguments], self._environment)
