"""MinIO's Python SDK and fsspec's s3fs move folders of files; pyarrow and DuckDB read by ranges."""

from cells import cell, pinned
from clients_python import run_program
from trees import MIB, assert_same_files, write_files

_SIZES = {"empty": 0, "small": 100, "part": 5 * MIB, "largest": 12 * MIB + 345}
ANSWERED_IN_PART = '"status":206'


@cell(
    "MinIO Python SDK",
    "fput, fget, copy, stream of unknown length, compose",
    version=pinned("minio"),
    only_by_proxy={"garage": "it copies no part from an object of a few bytes"},
)
def test_minio_sdk_moves_copies_and_composes(place, tmp_path):
    received = tmp_path / "received"
    write_files(place.scratch, _SIZES)
    run_program(place, "minio_sdk.py", place.scratch, received)
    assert_same_files(received / "up", place.scratch)
    assert_same_files(received / "copied", place.scratch)
    largest, small = ((place.scratch / name).read_bytes() for name in ("largest", "small"))
    assert (received / "streamed" / "largest").read_bytes() == largest
    assert (received / "composed").read_bytes() == largest + small


@cell(
    "MinIO Python SDK",
    "list with user metadata, as MinIO's servers answer it (`metadata=true`)",
    version=pinned("minio"),
)
def test_minio_sdk_lists_with_metadata_asked_for(place):
    run_program(place, "minio_listing.py")


@cell("s3fs", "put, get, open for writing and reading, copy, mv", version=pinned("s3fs"))
def test_s3fs_moves_files_and_opens_them(place, tmp_path):
    received = tmp_path / "received"
    received.mkdir()
    write_files(place.scratch, _SIZES)
    run_program(place, "fsspec_s3fs.py", place.scratch, received)
    assert_same_files(received / "up", place.scratch)
    assert (received / "moved").read_bytes() == (place.scratch / "largest").read_bytes()


@cell(
    "pyarrow",
    "Parquet written in parts, read by ranges",
    version=pinned("pyarrow"),
    only_by_proxy={"radosgw": "it wants a Content-Length, and pyarrow sends checksums as trailers"},
)
def test_pyarrow_reads_columns_by_ranges(place):
    _check_ranges(place, lambda: run_program(place, "parquet_pyarrow.py"))


@cell("DuckDB", "Parquet written in parts, queried by ranges", version=pinned("duckdb"))
def test_duckdb_queries_by_ranges(place):
    _check_ranges(place, lambda: run_program(place, "parquet_duckdb.py"))


def _check_ranges(place, work):
    proxy = place.deployment.proxy
    before = proxy.log_text().count(ANSWERED_IN_PART) if proxy else 0
    work()
    if proxy:
        proxy.wait_for_log(ANSWERED_IN_PART, before + 2)
