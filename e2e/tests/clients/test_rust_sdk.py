"""The AWS SDK for Rust: multipart uploads with checksum trailers, single and multipart copies."""

import tomllib

import pytest

from cells import cell
from clients import RustSdk
from repository import ROOT
from trees import MIB, content

_LOCK = tomllib.loads((ROOT / "Cargo.lock").read_text())
_VERSION = next(p["version"] for p in _LOCK["package"] if p["name"] == "aws-sdk-s3")
_TRAILERS = {
    "radosgw": "it knows no checksums behind a body, which this SDK sends by default",
    "garage": "it refuses checksums behind a body that is signed",
}
_CHECKSUMS = {"moto": "it gives copies of uploads in parts a checksum of the parts' checksums"}
_SIZES = [1, 5 * MIB, 5 * MIB + 1, 12 * MIB + 345]


@cell("aws-sdk-s3 (Rust)", "upload in parts", version=_VERSION, only_by_proxy=_TRAILERS)
@pytest.mark.parametrize("size", _SIZES)
def test_file_uploaded_in_parts_comes_back(place, size):
    sdk = Sdk(place)
    sdk.put_parts("object", content(5, size))
    assert sdk.get("object") == content(5, size)


@cell("aws-sdk-s3 (Rust)", "copy, in one request and in parts", version=_VERSION,
      only_by_proxy=_TRAILERS | _CHECKSUMS)
def test_copies_have_the_content_of_their_source(place):
    sdk, expected = Sdk(place), content(6, 12 * MIB + 345)
    sdk.put_parts("source", expected)
    sdk("copy", place.bucket, "source", "copied")
    sdk("copy-parts", place.bucket, "source", "copied-in-parts", 5 * MIB)
    # The source is itself a copy, and the new parts have other boundaries.
    sdk("copy-parts", place.bucket, "copied-in-parts", "copied-again", 7 * MIB)
    for name in ("copied", "copied-in-parts", "copied-again"):
        assert sdk.get(name) == expected, name


class Sdk:
    def __init__(self, place):
        self._place = place
        self._client = RustSdk(place.target, place.home)

    def __call__(self, *arguments) -> str:
        return self._client.run(*arguments)

    def put_parts(self, key: str, expected: bytes) -> None:
        file = self._place.scratch / "file"
        file.write_bytes(expected)
        self("put-parts", self._place.bucket, key, file, 5 * MIB)

    def get(self, key: str) -> bytes:
        self("get", self._place.bucket, "", self._place.scratch, key)
        return (self._place.scratch / key).read_bytes()
