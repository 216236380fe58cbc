"""The SDKs of Java, JavaScript and Go in the matrix, and Hadoop's S3A.

Bytes are compared here, not by the client. Keys contain characters that clients and servers write
in different ways in paths, signatures and copy sources. A percent sign is not among them, because
Ceph's gateway aborts on one in the source of a copied part.
"""

import pytest

import sdks
from cells import Place
from client_driver import Driver, Drivers, trying
from deployment import make_bucket
from processes import clean_environment, run
from trees import KIB, MIB, content, write_files

FOLDER = "a folder/ü+(1)~&=/"
SIZES = (0, 1, 16 * KIB)
LARGE = 10 * MIB + 1
"""Three parts, the last of one byte."""

RANGES = (
    (0, 0),
    (16 * KIB - 1, 16 * KIB),
    (MIB, MIB + 99),
    (5 * MIB - 1, 9 * MIB),
    (LARGE - 1, LARGE - 1),
)


@pytest.fixture(scope="module")
def drivers(run_directory):
    drivers = Drivers(run_directory)
    yield drivers
    drivers.stop()


@pytest.fixture
def driver(drivers, program, place, request):
    if place.deployment.proxy is None:
        action = request.node.get_closest_marker("cell").kwargs["action"]
        reason = program.direct_limits.get(action, {}).get(place.backend)
        if reason:
            pytest.skip(reason)
    return drivers.driver(program, place.target)


@trying(sdks.OBJECTS, sdks.PROGRAMS)
def test_small_objects_survive_and_a_batch_deletes_them(place, driver):
    keys = {f"{FOLDER}{size}": size for size in SIZES}
    write_files(place.scratch, {str(size): size for size in SIZES})
    for key, size in keys.items():
        driver.do("put", place.bucket, key, place.scratch / str(size))
    assert listed(place, driver) == keys
    for key, size in keys.items():
        assert driver.do("head", place.bucket, key) == [str(size)]
        assert_reads(place, driver, key, (place.scratch / str(size)).read_bytes())
    *doomed, kept = keys
    driver.do("delete", place.bucket, *doomed)
    assert listed(place, driver) == {kept: keys[kept]}


@trying(sdks.METADATA, sdks.PROGRAMS)
def test_listing_that_asks_for_metadata_is_a_listing(place, driver):
    write_files(place.scratch, {"file": KIB})
    driver.do("put", place.bucket, f"{FOLDER}file", place.scratch / "file")
    words = driver.do("list-meta", place.bucket, FOLDER)
    assert words == [f"{FOLDER}file", str(KIB)]


@trying(sdks.PARTS, sdks.PROGRAMS)
def test_upload_in_parts_survives_and_its_ranges_are_slices(place, driver):
    key, expected = upload_large(place, driver)
    assert listed(place, driver) == {key: LARGE}
    assert driver.do("head", place.bucket, key) == [str(LARGE)]
    assert_reads(place, driver, key, expected)
    for first, last in RANGES:
        received = place.scratch / f"range-{first}"
        driver.do("range", place.bucket, key, first, last, received)
        same = received.read_bytes() == expected[first : last + 1]
        assert same, f"bytes {first} to {last} are others"


@trying(sdks.DOWNLOADS, sdks.PROGRAMS)
def test_download_in_parts_is_whole(place, driver):
    key, expected = upload_large(place, driver)
    assert_reads(place, driver, key, expected, command="download")


@trying(sdks.COPIES, sdks.PROGRAMS)
def test_copies_of_whole_objects_and_of_parts_have_the_same_content(place, driver):
    small = content(2, 16 * KIB + 1)
    (place.scratch / "small").write_bytes(small)
    driver.do("put", place.bucket, f"{FOLDER}small", place.scratch / "small")
    key, large = upload_large(place, driver)
    for source, expected in ((f"{FOLDER}small", small), (key, large)):
        driver.do("copy", place.bucket, source, f"{source} again")
        assert_reads(place, driver, f"{source} again", expected)


@trying(sdks.COPIES_IN_PARTS, sdks.PROGRAMS)
def test_copy_in_parts_has_the_same_content(place, driver):
    key, expected = upload_large(place, driver)
    driver.do("copy-parts", place.bucket, key, f"{key} again")
    assert_reads(place, driver, f"{key} again", expected)


@trying(sdks.PRESIGNED, sdks.PROGRAMS)
def test_presigned_urls_work_without_a_credential(place, driver):
    source, received = place.scratch / "source", place.scratch / "received"
    source.write_bytes(content(3, 70 * KIB))
    key = f"{FOLDER}presigned"
    curl(place, driver.do("presign-put", place.bucket, key), "--upload-file", source)
    curl(place, driver.do("presign-get", place.bucket, key), "--output", received)
    assert received.read_bytes() == source.read_bytes()


@trying(sdks.FOLDERS, sdks.PROGRAMS)
def test_folder_of_files_is_renamed_by_copies_and_deleted(place, driver):
    small = content(2, 16 * KIB + 1)
    (place.scratch / "small").write_bytes(small)
    driver.do("put", place.bucket, f"{FOLDER}small", place.scratch / "small")
    _, large = upload_large(place, driver)
    driver.do("rename", place.bucket, FOLDER, "renamed")
    assert listed(place, driver) == {}
    assert_reads(place, driver, "renamed/small", small)
    assert_reads(place, driver, "renamed/large", large)
    driver.do("delete-directory", place.bucket, "renamed")
    assert listed(place, driver, "renamed") == {}


@trying(sdks.VECTORED, sdks.PROGRAMS)
def test_vectored_reads_are_slices(place, driver):
    key, expected = upload_large(place, driver)
    files = [place.scratch / f"range-{first}" for first, _ in RANGES]
    words = [
        word for (first, last), path in zip(RANGES, files) for word in (first, last, path)
    ]
    driver.do("vectored", place.bucket, key, *words)
    for (first, last), path in zip(RANGES, files):
        same = path.read_bytes() == expected[first : last + 1]
        assert same, f"bytes {first} to {last} are others"


@pytest.mark.parametrize(
    "program",
    [program for program in sdks.PROGRAMS if sdks.OBJECTS in program.actions],
    ids=lambda program: program.slug,
)
def test_uploads_over_tls_survive_with_bodies_that_are_not_signed(
    deployments, drivers, program, tmp_path
):
    """Over TLS, most SDKs leave the body unsigned and send checksums as trailers."""
    deployment = deployments.get("seaweedfs", "https")
    place = Place(deployment, "seaweedfs", make_bucket(deployment), tmp_path, tmp_path)
    driver = drivers.driver(program, deployment.target)
    small = content(2, 16 * KIB + 1)
    (place.scratch / "small").write_bytes(small)
    driver.do("put", place.bucket, "small", place.scratch / "small")
    assert_reads(place, driver, "small", small)
    key, large = upload_large(place, driver)
    assert_reads(place, driver, key, large)


def upload_large(place: Place, driver: Driver) -> tuple[str, bytes]:
    key, expected = f"{FOLDER}large", content(1, LARGE)
    source = place.scratch / "large"
    source.write_bytes(expected)
    driver.do("upload", place.bucket, key, source)
    return key, expected


def assert_reads(
    place: Place, driver: Driver, key: str, expected: bytes, command: str = "get"
) -> None:
    received = place.scratch / "received"
    received.unlink(missing_ok=True)
    driver.do(command, place.bucket, key, received)
    # A failed assertion on the bytes themselves would print them all.
    same = received.read_bytes() == expected
    assert same, f"{key} came back as {received.stat().st_size} other bytes"


def listed(place: Place, driver: Driver, prefix: str = FOLDER) -> dict[str, int]:
    words = driver.do("list", place.bucket, prefix)
    return {key: int(size) for key, size in zip(words[::2], words[1::2])}


def curl(place: Place, presigned: list[str], *arguments) -> None:
    url, *headers = presigned
    sent = [word for header in headers for word in ("--header", header)]
    program = ["curl", "--silent", "--show-error", "--fail-with-body"]
    run([*program, *sent, *arguments, url], clean_environment(place.home))
