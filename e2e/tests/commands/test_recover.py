"""`s3proxy recover` opens stored objects from files and the key, without storage or network."""

import json
import subprocess

import pytest

import proxy as program
from clients import boto3_client
from content import LARGE, SMALL, content
from legacy import CONSTELLATION, INTRINSEC, ZERO_KEK, Older
from processes import clean_environment
from uploads import FIVE_MIB, Upload, piece

PASSPHRASE = "the passphrase of the older proxy"


@pytest.fixture(scope="module")
def deployment(deployments):
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-recover", environment={"S3PROXY_POLICY_METADATA": "sealed"})


@pytest.fixture(scope="module")
def contents(deployment, bucket):
    s3, backend = boto3_client(deployment.target), boto3_client(deployment.backend.target)
    contents = {f"{size}": content(size, f"{size}") for size in (0, SMALL, LARGE, FIVE_MIB + 7)}
    for key, body in contents.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"colour": "blue"})
    for key, sizes in {"short": [SMALL], "parts": [FIVE_MIB, SMALL]}.items():
        upload = Upload(s3, bucket, key, Metadata={"colour": "blue"})
        for number, size in enumerate(sizes, 1):
            upload.part(number, piece(size, key))
        upload.complete()
        contents[key] = b"".join(piece(size, key) for size in sizes)
    olders = {
        "intrinsec": Older.of_text(PASSPHRASE, "0"),
        "version-1": Older.of_text(PASSPHRASE, "1"),
        "constellation": Older.of_text(PASSPHRASE, "0", CONSTELLATION),
        "zero": Older(INTRINSEC, ZERO_KEK),
    }
    for name, older in olders.items():
        for size in (0, SMALL, LARGE):
            key = f"{name} {size}"
            contents[key] = content(size, key)
            older.put(backend, bucket, key, contents[key])
    return contents


@pytest.fixture
def recover(deployment, bucket, tmp_path):
    """Fetches an object from the backend and runs the command without the backend's address."""
    backend = boto3_client(deployment.backend.target)

    def run(key, *arguments, edit=bytes, **variables):
        answer = backend.get_object(Bucket=bucket, Key=key)
        (tmp_path / "stored").write_bytes(edit(answer["Body"].read()))
        head = backend.head_object(Bucket=bucket, Key=key)
        (tmp_path / "head.json").write_text(json.dumps(head, default=str))
        files = ["--stored", tmp_path / "stored", "--metadata", tmp_path / "head.json"]
        files += ["--key", key, "--out", tmp_path / "out"]
        return subprocess.run(
            [program.binary(), "recover", *map(str, [*files, *arguments])],
            env=clean_environment(tmp_path, **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_every_kind_is_recovered_from_files(deployment, contents, recover, tmp_path):
    keys = {"S3PROXY_ENCRYPT_KEY": deployment.proxy.key, "S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE}
    for key, body in contents.items():
        done = recover(key, S3PROXY_DECRYPTION_FALLBACK="1", **keys)
        assert done.returncode == 0, (key, done.stderr)
        assert (tmp_path / "out").read_bytes() == body, key
        is_sealed = key in {"short", "parts"} or key.isdigit()
        assert done.stdout == ("colour: blue\n" if is_sealed else ""), key


def test_a_key_in_a_file_comes_before_the_configured_ones(deployment, contents, recover, tmp_path):
    kek = tmp_path / "kek.txt"
    kek.write_text(deployment.proxy.key + "\n")
    done = recover("100", "--kek-file", kek, S3PROXY_ENCRYPT_KEY=program.new_key())
    assert (done.returncode, (tmp_path / "out").read_bytes()) == (0, contents["100"]), done.stderr
    kek.write_text(PASSPHRASE)
    done = recover("intrinsec 100", "--kek-file", kek)
    assert (done.returncode, (tmp_path / "out").read_bytes()) == (0, contents["intrinsec 100"])


def test_the_kek_version_is_given_beside_the_envelope(deployment, bucket, contents, recover, tmp_path):
    kek = tmp_path / "kek.txt"
    kek.write_text(PASSPHRASE)
    assert recover("version-1 100", "--kek-file", kek).returncode == 0
    head = json.loads((tmp_path / "head.json").read_text())["Metadata"]
    for version, status, words in [("1", 0, ""), ("", 3, "none of the"), ("2", 3, "newer version")]:
        arguments = ["--stored", tmp_path / "stored", "--envelope", head[INTRINSEC], "--kek-file", kek]
        arguments += ["--key", "version-1 100", "--kek-version", version, "--out", tmp_path / "again"]
        done = subprocess.run(
            [program.binary(), "recover", *map(str, arguments)],
            env=clean_environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
        )
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert (tmp_path / "again").read_bytes() == contents["version-1 100"]


def test_an_object_that_is_not_authentic_is_refused_and_nothing_is_written(
    deployment, contents, recover, tmp_path
):
    keys = {"S3PROXY_ENCRYPT_KEY": deployment.proxy.key, "S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE}

    def flipped(body):
        body = bytearray(body)
        body[len(body) // 2] ^= 1
        return bytes(body)

    for key in ["100", f"{LARGE}", "parts", f"intrinsec {LARGE}", f"version-1 {LARGE}"]:
        for edit in (flipped, lambda body: body[:-1], lambda body: body + b"\0"):
            done = recover(key, edit=edit, **keys)
            assert (done.returncode, "refused" in done.stderr) == (3, True), key
            assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "stored"]
    other = recover("100", S3PROXY_ENCRYPT_KEY=program.new_key())
    assert (other.returncode, "not configured" in other.stderr) == (3, True)
    zero = recover("zero 100", **keys)
    assert (zero.returncode, "decryption_fallback" in zero.stderr) == (3, True)
