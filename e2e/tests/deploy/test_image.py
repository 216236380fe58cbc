"""The image contains the program and its libraries, runs as any user, and writes nothing."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import image
from clients import boto3_client
from image import Container, podman
from repository import ROOT

WRAPPER = ROOT / "e2e/in-image"
NOBODY_IN_PARTICULAR = "65532:65532"
MIB = 1024 * 1024
LARGEST_WITHOUT_PROGRAM = 8 * MIB
LARGEST_RELEASE = 30 * MIB

SMOKE = [
    "tests/compatibility/test_matrix.py::test_small_objects_survive_the_round_trip_and_are_stored_sealed"
    f"[{client}-seaweedfs-{scheme}-path]"
    for client in ("aws-cli", "boto3")
    for scheme in ("http", "https")
]


@pytest.fixture(scope="module", autouse=True)
def built():
    with image.built():
        yield


@pytest.fixture(scope="module")
def files(built):
    """The image's files, by path."""
    with image.mounted() as root:
        yield {f"/{path.relative_to(root)}": path for path in sorted(root.rglob("*"))}


@pytest.fixture(scope="module")
def bill(files):
    return json.loads(files["/usr/share/doc/s3proxy/sbom.cdx.json"].read_text())


def settings(**more) -> list[str]:
    """The older proxies' variables as arguments of `docker run`."""
    variables = {
        "AWS_ACCESS_KEY_ID": "XXX",
        "AWS_SECRET_ACCESS_KEY": "XXX",
        "S3PROXY_ENCRYPT_KEY": "a random text that is long enough for a passphrase",
        "S3PROXY_HOST": "s3.fr-par.example.com",
    } | more
    return [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]


def test_end_to_end_smoke_suite_passes_as_any_user_on_a_read_only_root():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *SMOKE],
        cwd=ROOT / "e2e",
        env=dict(os.environ) | {"S3PROXY_BINARY": str(WRAPPER), "PROXY_IMAGE": image.NAME},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert f"{len(SMOKE)} passed" in done.stdout


def test_line_that_started_the_older_image_starts_this_one():
    """The command in Intrinsec's README, with the options first, where docker reads them."""
    with Container("--rm", *settings(S3PROXY_DEKTAG_NAME="isec")) as container:
        container.wait_until_alive()


def test_folder_with_the_certificate_is_found_where_the_older_proxies_have_it(
    certificates, tmp_path
):
    folder = tmp_path / "certs"
    shutil.copytree(certificates.directory, folder)
    container = Container(
        "--user", NOBODY_IN_PARTICULAR, "--read-only",
        "--volume", f"{folder}:/etc/s3proxy/certs:ro,U", *settings(),
        arguments=["--level=-1"], ca_file=certificates.ca_file,
    )  # fmt: skip
    with container:
        container.wait_until_alive()


def test_mounted_file_configures_it(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[log]\nlevel = "debug"\nformat = "json"\n[listen]\ntls = "off"\n')
    container = Container(
        "--volume", f"{file}:/etc/s3proxy/config.toml:ro",
        *settings(S3PROXY_CONFIG="/etc/s3proxy/config.toml"),
        arguments=["serve"],
    )  # fmt: skip
    with container:
        container.wait_until_alive()
        first = json.loads(container.logs().splitlines()[0])
        assert first["level"] in {"DEBUG", "INFO", "WARN"}


def test_wrong_configuration_ends_it_with_1_and_the_reason():
    ended = podman("run", "--rm", "--no-healthcheck", "-e", "S3PROXY_HOST=a b", image.NAME)
    assert ended.returncode == 1
    assert "backend.host" in ended.stderr
    assert "keys" in ended.stderr


def test_other_commands_are_arguments():
    ended = podman("run", "--rm", "--no-healthcheck", image.NAME, "keygen")
    assert ended.returncode == 0
    assert ended.stdout.startswith("s3pk1.")


def test_health_command_says_whether_the_proxy_answers():
    with Container(*settings()) as container:
        container.wait_until_alive()
        assert container.execute("health", "--no-tls").returncode == 0
        assert container.execute("health", "--no-tls", "--port", "4434").returncode == 1
        check = image.configuration()["Healthcheck"]["Test"]
        assert check == ["CMD", image.PROGRAM, "health"]
        assert container.execute(*check[2:]).returncode == 0


def test_sigterm_ends_it_with_0():
    with Container(*settings(S3PROXY_LISTEN_DRAIN_DELAY="0s")) as container:
        container.wait_until_alive()
        podman("stop", "--time", "30", container.name)
        code = podman("inspect", "--format", "{{.State.ExitCode}}", container.name).stdout.strip()
        assert code == "0"


def test_nothing_is_written_even_to_a_writable_root(deployments):
    """As root on a writable root: any written file would show in the container's diff."""
    backend = deployments.server("seaweedfs").target
    variables = settings(
        AWS_ACCESS_KEY_ID=backend.credential.access_key,
        AWS_SECRET_ACCESS_KEY=backend.credential.secret_key,
        AWS_REGION=backend.region,
        S3PROXY_HOST=backend.url,
    )
    with Container("--user", "0", *variables, network="host") as container:
        container.wait_until_alive()
        s3 = boto3_client(replace(backend, url=container.url))
        bucket = container.name
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="key", Body=b"content")
        assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"
        shown = podman("diff", container.name)
    assert shown.returncode == 0, shown.stderr
    changed = shown.stdout.split()
    # The engine itself creates these to mount its own files.
    engine = ("/dev", "/etc", "/etc/hosts", "/etc/hostname", "/etc/mtab", "/etc/resolv.conf",
              "/proc", "/run", "/run/.containerenv", "/run/secrets", "/sys")  # fmt: skip
    assert [path for path in changed[1::2] if path not in engine] == []


def test_image_runs_as_a_number_and_tells_its_ports():
    configuration = image.configuration()["Config"]
    assert configuration["User"] == "1001:1001"
    assert configuration["ExposedPorts"].keys() == {"4433/tcp", "9090/tcp"}
    assert configuration["Entrypoint"] == [image.PROGRAM]


def test_labels_tell_version_and_commit():
    labels = image.configuration()["Config"]["Labels"]
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.revision"].removesuffix("-changed") == commit


def test_nothing_but_the_program_can_be_run(files):
    can_run = [
        name
        for name, path in files.items()
        if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK)
    ]
    assert [name for name in can_run if not name.startswith(("/lib/", "/lib64/"))] == ["/s3proxy"]
    assert not [name for name in can_run if ".so." not in name and name != "/s3proxy"]


def test_only_root_may_write_to_its_files(files):
    for name, path in files.items():
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (0, 0), name
        if not path.is_symlink():
            assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), name


def test_program_finds_every_library_that_it_needs(files):
    needed = subprocess.run(
        ["readelf", "--dynamic", files["/s3proxy"]], capture_output=True, text=True, check=True
    ).stdout
    libraries = [line.partition("[")[2].rstrip("]") for line in needed.splitlines() if "NEEDED" in line]
    assert libraries
    present = {Path(name).name for name in files}
    assert set(libraries) <= present


def test_everything_but_the_program_is_small(files):
    sizes = {name: path.lstat().st_size for name, path in files.items() if path.is_file()}
    assert sum(sizes.values()) - sizes["/s3proxy"] < LARGEST_WITHOUT_PROGRAM


@pytest.mark.skipif(not image.GIVEN, reason="a program with debugging information is larger")
def test_image_of_a_release_is_small(files):
    size = sum(path.lstat().st_size for path in files.values() if path.is_file())
    assert size < LARGEST_RELEASE


def test_bill_of_materials_has_the_linked_crates_and_nothing_else(bill):
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    locked = {(package["name"], package["version"]) for package in lock["package"]}
    listed = {
        (component["name"], component["version"])
        for component in bill["components"]
        if component["purl"].startswith("pkg:cargo/")
    }
    assert listed <= locked
    names = {name for name, _ in listed}
    assert {"aws-lc-rs", "aws-lc-sys", "rustls", "tokio", "s3proxy-envelope"} <= names
    for tool in ("proptest", "insta", "cc", "syn", "serde_derive"):
        assert tool not in names


def test_bill_of_materials_is_consistent(bill):
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references))
    known = {*references, bill["metadata"]["component"]["bom-ref"]}
    for dependency in bill["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= known
    for component in bill["components"]:
        assert component["licenses"][0]["expression"], component["name"]


def test_debian_packages_of_the_image_are_in_the_bill_and_have_their_licences(bill, files):
    listed = {
        component["name"]: component["version"]
        for component in bill["components"]
        if component["purl"].startswith("pkg:deb/")
    }
    assert {"libc6", "libgcc-s1", "ca-certificates"} <= listed.keys()
    status = files["/var/lib/dpkg/status.d/libc6"].read_text()
    assert f"Version: {listed['libc6']}\n" in status
    for package in ("libc6", "ca-certificates"):
        assert f"/usr/share/doc/{package}/copyright" in files


def test_licences_of_all_crates_are_beside_the_program(bill, files):
    notices = files["/usr/share/doc/s3proxy/THIRD-PARTY.txt"].read_text()
    told = set(notices.splitlines())
    for component in bill["components"]:
        if component["purl"].startswith("pkg:cargo/") and "hashes" in component:
            expression = component["licenses"][0]["expression"]
            assert f"{component['name']} {component['version']}: {expression}" in told
    assert "Permission is hereby granted, free of charge" in notices
    assert "/usr/share/doc/s3proxy/LICENSE" in files
