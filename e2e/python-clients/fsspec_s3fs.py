"""fsspec's s3fs: a folder up and down, files written and read like local ones, copies and moves.

usage: fsspec_s3fs.py SOURCE RECEIVED
"""

import os
import sys
from pathlib import Path

import s3fs

BLOCK = 5 * 1024 * 1024


def main(source: Path, received: Path) -> None:
    files = s3fs.S3FileSystem(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=os.environ["S3_ENDPOINT"],
        client_kwargs={"region_name": os.environ["AWS_REGION"]},
        config_kwargs={"s3": {"addressing_style": "path"}},
        default_block_size=BLOCK,
    )
    bucket = os.environ["S3_BUCKET"]
    files.put(f"{source}/", f"{bucket}/up/", recursive=True)
    files.get(f"{bucket}/up/", f"{received}/up/", recursive=True)
    for path in sorted(source.iterdir()):
        content = path.read_bytes()
        # Written in pieces: a multipart upload from one block on.
        with files.open(f"{bucket}/written/{path.name}", "wb", block_size=BLOCK) as out:
            for at in range(0, len(content), 1_000_003):
                out.write(content[at : at + 1_000_003])
        files.copy(f"{bucket}/written/{path.name}", f"{bucket}/copied/{path.name}")
        assert files.cat_file(f"{bucket}/copied/{path.name}") == content, path.name
        assert files.info(f"{bucket}/copied/{path.name}")["size"] == len(content), path.name
    content = (source / "largest").read_bytes()
    with files.open(f"{bucket}/written/largest", "rb", block_size=100_000) as opened:
        for at in (0, 7, 16384, BLOCK - 3, BLOCK, len(content) - 5):
            opened.seek(at)
            assert opened.read(10) == content[at : at + 10], at
    files.mv(f"{bucket}/copied/largest", f"{bucket}/moved")
    assert not files.exists(f"{bucket}/copied/largest")
    files.get_file(f"{bucket}/moved", f"{received}/moved")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
