"""`s3proxy decrypt` restores plaintext: to a file, in place, or in another bucket."""

import subprocess

import pytest

import proxy as program
from commands import command
from content import LARGE, SMALL, content
from deployment import make_bucket
from legacy import KEK_VERSIONS, Older
from uploads import FIVE_MIB, Upload, piece

PASSPHRASE = "the passphrase of the older proxy"
HEADERS = {"ContentType": "text/x-test", "Metadata": {"colour": "blue"}, "Tagging": "a=1"}


@pytest.fixture(scope="module")
def deployment(deployments):
    """A proxy that seals user metadata too."""
    environment = {"S3PROXY_POLICY_METADATA": "sealed", "S3PROXY_KEYS_DECRYPT_KEYS": PASSPHRASE}
    server = deployments.server("seaweedfs")
    return deployments.proxy(server, "proxy-decrypt", environment=environment)


@pytest.fixture
def filled(deployment, s3, backend_s3):
    """A bucket with objects of every kind, and their contents."""
    bucket = make_bucket(deployment)
    contents = {f"d/{size}": content(size, str(size)) for size in (0, SMALL, LARGE)}
    for key, body in contents.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, **HEADERS)
    upload = Upload(s3, bucket, "d/parts", ContentType="text/x-test", Metadata={"colour": "blue"})
    upload.part(1, piece(FIVE_MIB, "one"))
    upload.part(2, piece(SMALL, "two"))
    upload.complete()
    contents["d/parts"] = piece(FIVE_MIB, "one") + piece(SMALL, "two")
    for version in KEK_VERSIONS:
        key = f"d/older-{version}"
        contents[key] = content(SMALL, key)
        Older.of_text(PASSPHRASE, version).put(backend_s3, bucket, key, contents[key], **HEADERS)
    return bucket, contents


def plaintext_of(backend, bucket, prefix=""):
    """The plaintext of all objects, read directly from the backend."""
    found = {}
    for entry in backend.list_objects_v2(Bucket=bucket).get("Contents", []):
        answer = backend.get_object(Bucket=bucket, Key=entry["Key"])
        assert (answer["ContentType"], answer["Metadata"]) == ("text/x-test", {"colour": "blue"})
        found[entry["Key"].removeprefix(prefix)] = answer["Body"].read()
    return found


def test_one_object_goes_to_a_file_and_to_standard_output(deployment, filled, tmp_path):
    bucket, contents = filled
    for key, body in contents.items():
        path = tmp_path / "object"
        done = deployment.proxy.finish("decrypt", f"{bucket}/{key}", "--output", path)
        assert (done.returncode, path.read_bytes()) == (0, body), done.stderr
        arguments = ["--config", deployment.proxy._config, f"{bucket}/{key}", "--output", "-"]
        printed = subprocess.run(
            [program.binary(), "decrypt", *map(str, arguments)],
            env=deployment.proxy._environment(),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert printed.stdout == body
    assert [entry.name for entry in tmp_path.iterdir()] == ["object"]


def test_an_object_that_was_not_encrypted_and_a_directory_marker_are_reported(
    deployment, filled, s3, backend_s3, tmp_path
):
    bucket, _ = filled
    backend_s3.put_object(Bucket=bucket, Key="plain", Body=b"as it is")
    backend_s3.put_object(Bucket=bucket, Key="folder/", Body=b"")
    s3.put_object(Bucket=bucket, Key="sealed/", Body=b"")
    for key, body, told in (
        ("plain", b"as it is", "not encrypted; the content was copied as it is stored"),
        ("folder/", b"", "a directory marker, which is an empty object"),
        ("sealed/", b"", "a directory marker, which is an empty object"),
        ("d/0", b"", ""),
    ):
        path = tmp_path / "object"
        done = deployment.proxy.finish("decrypt", f"{bucket}/{key}", "--output", path)
        assert (done.returncode, path.read_bytes()) == (0, body), done.stderr
        assert told in done.stderr
        assert told or done.stderr == ""


def test_no_partial_output_is_left(deployment, filled, backend_s3, tmp_path):
    bucket, _ = filled
    key = f"d/{LARGE}"
    stored = backend_s3.get_object(Bucket=bucket, Key=key)
    body = bytearray(stored["Body"].read())
    body[-1000] ^= 1
    backend_s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), Metadata=stored["Metadata"])
    done = deployment.proxy.finish("decrypt", f"{bucket}/{key}", "--output", tmp_path / "object")
    assert done.returncode == 3
    assert "stored data" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_in_place_everything_becomes_plaintext(deployment, filled, backend_s3):
    bucket, contents = filled
    shown = command(deployment.proxy, "decrypt", "--in-place", "--dry-run", bucket)
    assert shown.summary["would"]["decrypted"]["objects"] == len(contents)
    ran = command(deployment.proxy, "decrypt", "--in-place", bucket)
    assert (ran.status, ran.summary["done"]["decrypted"]["objects"]) == (0, len(contents)), ran
    assert plaintext_of(backend_s3, bucket) == contents
    tags = backend_s3.get_object_tagging(Bucket=bucket, Key="d/100")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}]
    again = command(deployment.proxy, "decrypt", "--in-place", bucket)
    assert (again.status, again.summary["done"]) == (0, {})
    assert again.summary["skipped"]["plaintext"]["objects"] == len(contents)


def test_existing_objects_elsewhere_are_left_alone(deployment, filled, backend_s3):
    bucket, contents = filled
    target = make_bucket(deployment)
    mine = {"ContentType": "text/x-test", "Metadata": {"colour": "blue"}}
    backend_s3.put_object(Bucket=target, Key="back/d/0", Body=b"mine", **mine)
    ran = command(deployment.proxy, "decrypt", "--to", f"{target}/back/", bucket)
    assert (ran.status, ran.summary["skipped"]["there-already"]["objects"]) == (0, 1), ran
    assert plaintext_of(backend_s3, target, "back/") == contents | {"d/0": b"mine"}
    ran = command(deployment.proxy, "decrypt", "--to", f"{target}/back/", "--overwrite", bucket)
    assert (ran.status, ran.summary["done"]["decrypted"]["objects"]) == (0, len(contents))
    assert plaintext_of(backend_s3, target, "back/") == contents
    kept = command(deployment.proxy, "inspect", bucket)
    assert "plaintext" not in {line["format"] for line in kept.objects}


def test_wrong_arguments_start_nothing(deployment):
    for arguments, status in [
        (["photos"], 2),
        (["photos", "--in-place", "--to", "other"], 2),
        (["photos", "--output", "x"], 1),
        (["photos", "--to", "photos"], 1),
        (["photos", "--to", "photos/x"], 1),
    ]:
        assert deployment.proxy.finish("decrypt", *arguments).returncode == status, arguments
