"""s3cmd: sync both ways, multipart uploads, copies and moves on the server."""

from cells import cell, pinned
from processes import clean_environment, run
from servers import tools
from trees import MIB, MULTIPART_SIZES, assert_same_files, write_files

_VERSION = pinned("s3cmd")
_TREE = {f"sizes/{size}": size for size in MULTIPART_SIZES} | {
    "a name with spaces & ümlauts.txt": 100,
    "deep/er/and/deeper/file": 7,
}


@cell("s3cmd", "sync up and down, in parts; a second one transfers nothing", version=_VERSION)
def test_second_sync_transfers_nothing(place, tmp_path):
    s3cmd, there = S3cmd(place), f"s3://{place.bucket}/tree/"
    received = tmp_path / "received"
    received.mkdir()
    write_files(place.scratch, _TREE)
    for source, target in ((f"{place.scratch}/", there), (there, f"{received}/")):
        assert s3cmd("sync", source, target) != ""
        stored = place.stored()
        assert s3cmd("sync", source, target) == ""
        assert place.stored() == stored
    assert_same_files(received, place.scratch)


@cell(
    "s3cmd",
    "put, cp, mv, get, info",
    version=_VERSION,
    without={"moto": "asked for the ACL of an upload in parts, which s3cmd copies too, it fails"},
)
def test_file_is_copied_and_moved_on_the_server(place):
    s3cmd, folder = S3cmd(place), f"s3://{place.bucket}"
    write_files(place.scratch, {"large": 12 * MIB + 345})
    s3cmd("put", place.scratch / "large", f"{folder}/one")
    s3cmd("cp", f"{folder}/one", f"{folder}/two")
    s3cmd("mv", f"{folder}/two", f"{folder}/three")
    assert sorted(place.stored()) == ["one", "three"]
    s3cmd("get", f"{folder}/three", place.scratch / "back")
    assert (place.scratch / "back").read_bytes() == (place.scratch / "large").read_bytes()
    assert str(12 * MIB + 345) in s3cmd("info", f"{folder}/three")


class S3cmd:
    """s3cmd with parts of 5 MiB; it prints only the files that it transfers."""

    def __init__(self, place):
        target, config = place.target, place.home / "s3cfg"
        config.write_text(
            f"[default]\naccess_key = {target.credential.access_key}\n"
            f"secret_key = {target.credential.secret_key}\nuse_https = False\n"
            # A template without %(bucket)s makes s3cmd use path style.
            f"host_base = {target.authority}\nhost_bucket = {target.authority}\n"
            f"bucket_location = {target.region}\nmultipart_chunk_size_mb = 5\n"
            "multipart_copy_chunk_size_mb = 5\n"
        )
        self._environment = clean_environment(place.home)
        self._command = [tools() / "s3cmd", "-c", config, "--no-progress"]

    def __call__(self, *arguments) -> str:
        return run([*self._command, *arguments], self._environment)
