"""The first steps of a new user work: `dev`, a key, and the examples in docs/configuration.md."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from processes import CommandFailed, Process, clean_environment, run
from proxy import binary
from repository import ROOT

SECRET = "nobody else can read this"


@pytest.fixture
def development(tmp_path):
    """`s3proxy dev` in an empty folder, and its output."""
    environment = clean_environment(tmp_path)
    folder = tmp_path / "s3proxy-dev"
    process = Process(
        "dev", [binary(), "dev", folder, "--port", "0"], environment, tmp_path / "dev.log"
    )
    try:
        process.wait_until(lambda: "Ctrl-C stops both" in process.log_text(), "saying what to do")
        yield process.log_text(), folder
    finally:
        process.stop()


def test_commands_that_dev_prints_store_ciphertext_and_give_the_text_back(development, tmp_path):
    printed, folder = development
    commands = printed.partition("In another terminal:")[2].partition("What the storage provider")[0]
    assert [word in commands for word in ("export", "mb s3://", "cp -", "secret.txt -")] == [True] * 4
    aws = Path(os.environ["S3PROXY_TEST_DIR"]) / "venv-awscli" / "bin"
    environment = clean_environment(tmp_path, PATH=f"{aws}:{os.environ['PATH']}")
    output = run(["bash", "-ec", commands], environment)
    assert SECRET in output.splitlines()

    file = Path(re.search(r"hexdump -C (\S+)", printed).group(1))
    assert file.is_relative_to(folder)
    stored = file.read_bytes()
    assert len(stored) == 72 + len(SECRET) + 1
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert stored in everything
    assert SECRET.encode() not in everything


def test_dev_keeps_objects_key_and_credential_for_the_next_time(tmp_path):
    environment = clean_environment(tmp_path)
    seen = []
    for number in range(2):
        log = tmp_path / f"{number}.log"
        process = Process("dev", [binary(), "dev", tmp_path / "d", "--port", "0"], environment, log)
        process.wait_until(lambda: "Ctrl-C stops both" in process.log_text(), "started")
        assert process.stop() == 0
        files = [tmp_path / "d" / name for name in ("key", "secret")]
        seen.append([file.read_text() for file in files])
        assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 2
    assert seen[0] == seen[1]


def test_keygen_prints_a_new_key_alone_on_standard_output(tmp_path):
    environment = clean_environment(tmp_path)
    keys = [run([binary(), "keygen"], environment) for _ in range(2)]
    assert keys[0] != keys[1]
    for key in keys:
        assert re.fullmatch(r"s3pk1\.[A-Za-z0-9_-]{43}\n", key)


def test_documented_first_configuration_is_valid(tmp_path):
    """The first steps in docs: a key in a file, a backend, check-config."""
    key_file = tmp_path / "encrypt-key"
    key_file.write_text(run([binary(), "keygen"], clean_environment(tmp_path)))
    environment = clean_environment(
        tmp_path,
        S3PROXY_HOST="s3.eu-west-1.amazonaws.com",
        S3PROXY_ENCRYPT_KEY_FILE=str(key_file),
        AWS_ACCESS_KEY_ID="A",
        AWS_SECRET_ACCESS_KEY="S",
        AWS_REGION="eu-west-1",
    )
    assert "valid" in run([binary(), "check-config", "--no-tls"], environment)


def test_documented_configuration_file_is_valid(tmp_path):
    """The example at the top of docs/configuration.md, with its secrets in place."""
    example = re.search(r"```toml\n(.*?)```", configuration_page(), re.DOTALL).group(1)
    (tmp_path / "key").write_text(run([binary(), "keygen"], clean_environment(tmp_path)))
    (tmp_path / "reports").write_text("a secret")
    example = example.replace("/run/secrets/s3proxy-key", str(tmp_path / "key"))
    example = example.replace("/run/secrets/reports", str(tmp_path / "reports"))
    file = tmp_path / "example.toml"
    file.write_text(example)
    credential = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    environment = clean_environment(tmp_path, **credential)
    run([binary(), "check-config", "--config", file], environment)


def test_documented_defaults_are_values_of_their_settings(tmp_path):
    """Each documented default is a value that its setting accepts."""
    defaults = documented_defaults()
    assert len(defaults) > 25
    key = run([binary(), "keygen"], clean_environment(tmp_path)).strip()
    given = {"S3PROXY_HOST": "http://127.0.0.1:9", "S3PROXY_ENCRYPT_KEY": key} | defaults
    # The default folder of certificates does not exist here.
    given |= {"S3PROXY_LISTEN_TLS": "off"}
    given |= {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
    done = check_config(clean_environment(tmp_path, **given))
    assert (done.returncode, done.stderr) == (0, "")


def test_every_documented_variable_is_known(tmp_path):
    """An unknown variable causes a warning; a documented one fails with this value."""
    names = re.findall(r"`(S3PROXY_[A-Z_]+)`", configuration_page())
    done = check_config(clean_environment(tmp_path, **dict.fromkeys(names, "\x01 nonsense")))
    assert done.returncode == 1
    assert "is not a setting" not in done.stderr
    done = check_config(clean_environment(tmp_path, S3PROXY_NO_SUCH_SETTING="1"))
    assert "S3PROXY_NO_SUCH_SETTING is not a setting" in done.stderr


def test_all_mistakes_are_reported_at_once_and_no_secret_with_them(tmp_path):
    mistakes = {
        "S3PROXY_HOST": "ftp://nowhere",
        "S3PROXY_ENCRYPT_KEY": "s3pk1.not-a-key-but-secret",
        "S3PROXY_LISTEN_PORT": "70000",
        "S3PROXY_LISTEN_IDLE_TIMEOUT": "75",
    }
    done = check_config(clean_environment(tmp_path, **mistakes))
    assert done.returncode == 1
    for part in ("host", "encrypt_key", "port", "idle_timeout"):
        assert part in done.stderr
    assert "not-a-key-but-secret" not in done.stderr


def test_serve_refuses_what_check_config_refuses_before_it_listens(tmp_path):
    environment = clean_environment(tmp_path, S3PROXY_HOST="http://127.0.0.1:9", S3PROXY_LISTEN_PORT="0")
    started = time.monotonic()
    with pytest.raises(CommandFailed, match="encrypt_key"):
        run([binary(), "--no-tls"], environment)
    assert time.monotonic() - started < 10


def check_config(environment):
    return subprocess.run(
        [binary(), "check-config"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def configuration_page() -> str:
    return (ROOT / "docs" / "configuration.md").read_text()


def documented_defaults() -> dict[str, str]:
    """Variable to default, for every setting whose documented default is a literal value."""
    found = {}
    for section in configuration_page().split("\n### ")[1:]:
        default = re.search(r"^- Default: `([^`]*)`$", section, re.MULTILINE)
        variable = re.search(r"^- Environment: `(S3PROXY_[A-Z_]+)`", section, re.MULTILINE)
        if default and variable:
            found[variable.group(1)] = default.group(1)
    return found
