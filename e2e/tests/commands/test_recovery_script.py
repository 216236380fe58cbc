"""The script in recover/ opens objects that the proxy stored, from the backend and the key alone.

The stored object and its metadata come directly from the backend, without the proxy.
"""

import random
import sys
from pathlib import Path

import pytest

from clients import boto3_client
from processes import CommandFailed, clean_environment, run
from repository import ROOT

SCRIPT = ROOT / "recover" / "s3proxy_recover.py"
SIZES = [0, 1, 16384, 100000, 5 * 1024 * 1024, 7 * 1024 * 1024 + 1]
KEY = "2024/käse & cat.jpg"


@pytest.fixture
def recover(seaweedfs, bucket, tmp_path):
    """Runs the script on a stored object; further arguments replace those of the object itself."""
    kek = tmp_path / "kek.txt"
    kek.write_text(seaweedfs.proxy.key + "\n")

    def run_script(stored_key: str, **replaced) -> Path:
        answer = boto3_client(seaweedfs.backend.target).get_object(Bucket=bucket, Key=stored_key)
        stored, out = tmp_path / "stored", tmp_path / "out"
        stored.write_bytes(answer["Body"].read())
        arguments = {
            "stored": stored,
            "envelope": answer["Metadata"]["isec"],
            "key": stored_key,
            "kek-file": kek,
            "out": out,
        } | {name.replace("_", "-"): value for name, value in replaced.items()}
        words = [str(word) for pair in arguments.items() for word in (f"--{pair[0]}", pair[1])]
        run([sys.executable, SCRIPT, *words], clean_environment(tmp_path))
        return out

    return run_script


@pytest.mark.parametrize("size", SIZES)
def test_script_opens_what_the_proxy_stored(s3, bucket, recover, size):
    content = random.Random(size).randbytes(size)
    s3.put_object(Bucket=bucket, Key=KEY, Body=content, ChecksumAlgorithm="SHA256")
    assert recover(KEY).read_bytes() == content


def test_script_refuses_another_objects_key_and_writes_nothing(s3, bucket, recover, tmp_path):
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"content")
    with pytest.raises(CommandFailed) as refused:
        recover(KEY, key="another/key")
    assert refused.value.status == 1
    assert not (tmp_path / "out").exists()


def test_script_refuses_another_encryption_key(s3, bucket, recover, tmp_path):
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"content")
    other = tmp_path / "other-kek"
    other.write_text("s3pk1." + "A" * 43)
    with pytest.raises(CommandFailed) as refused:
        recover(KEY, kek_file=other)
    assert refused.value.status == 1
    assert not (tmp_path / "out").exists()
