"""The systemd unit: systemd accepts it, it is hardened, and its configuration is valid."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from processes import clean_environment
from proxy import binary, new_key
from repository import ROOT

UNIT = ROOT / "deploy/systemd/s3proxy.service"
PROGRAM = "/usr/local/bin/s3proxy"

WORST_EXPOSURE = 20
"""In tenths; systemd's rating OK begins below 50."""


@pytest.fixture
def installed(tmp_path) -> Path:
    """The unit with the program under test in place of an installed one."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(PROGRAM, str(binary())))
    return path


def analyze(*arguments) -> subprocess.CompletedProcess:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def settings() -> list[tuple[str, str]]:
    lines = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert lines
    return lines


def test_systemd_accepts_the_unit(installed):
    done = analyze("verify", "--man=no", installed)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_notices_a_faulty_unit(installed):
    installed.write_text(installed.read_text().replace("DynamicUser=yes", "DynamicUsr=yes"))
    assert "DynamicUsr" in analyze("verify", "--man=no", installed).stderr


def test_service_is_hardened(installed):
    done = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}", installed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_named_secret_is_handed_over_and_nothing_else():
    loaded = {value.partition(":")[0] for name, value in settings() if name == "LoadCredential"}
    named = {
        file for name, value in settings() if name == "Environment" for file in re.findall("%d/(.+)", value)
    }
    assert named and loaded == named | {"s3proxy.crt", "s3proxy.key"}


def test_its_environment_is_a_valid_configuration(tmp_path, certificates):
    credentials = tmp_path / "credentials"
    shutil.copytree(certificates.directory, credentials)
    (credentials / "encrypt-key").write_text(new_key() + "\n")
    (credentials / "backend-secret").write_text("storage-secret\n")
    for file in credentials.iterdir():
        file.chmod(0o400)
    configuration = tmp_path / "config.toml"
    configuration.write_text(
        '[backend]\nhost = "https://s3.example.com"\naccess_key_id = "storage-key"\n'
        '[audit]\noutput = "/var/log/s3proxy/audit.log"\n'
    )
    variables = dict(value.split("=", 1) for name, value in settings() if name == "Environment")
    variables = {name: text.replace("%d", str(credentials)) for name, text in variables.items()}
    assert variables["S3PROXY_CONFIG"] == "/etc/s3proxy/config.toml"
    variables["S3PROXY_CONFIG"] = str(configuration)
    done = subprocess.run(
        [binary(), "check-config"],
        env=clean_environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "The configuration is valid.\n"), done.stderr
    assert done.stderr == ""
