"""MinIO's Python SDK: a folder up, copied and composed on the server, and down again.

usage: minio_sdk.py SOURCE RECEIVED
"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.commonconfig import ComposeSource, CopySource

PART = 5 * 1024 * 1024


def main(source: Path, received: Path) -> None:
    endpoint = urlsplit(os.environ["S3_ENDPOINT"])
    client = Minio(
        endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=endpoint.scheme == "https",
        region=os.environ["AWS_REGION"],
    )
    bucket = os.environ["S3_BUCKET"]
    for path in sorted(source.iterdir()):
        name, size = path.name, path.stat().st_size
        client.fput_object(bucket, f"up/{name}", str(path), part_size=PART, num_parallel_uploads=4)
        assert client.stat_object(bucket, f"up/{name}").size == size
        client.fget_object(bucket, f"up/{name}", str(received / "up" / name))
        client.copy_object(bucket, f"copied/{name}", CopySource(bucket, f"up/{name}"))
        client.fget_object(bucket, f"copied/{name}", str(received / "copied" / name))
    with (source / "largest").open("rb") as stream:
        client.put_object(bucket, "streamed/largest", stream, length=-1, part_size=PART)
    client.fget_object(bucket, "streamed/largest", str(received / "streamed" / "largest"))
    pieces = [ComposeSource(bucket, "up/largest"), ComposeSource(bucket, "up/small")]
    client.compose_object(bucket, "composed", pieces)
    client.fget_object(bucket, "composed", str(received / "composed"))
    listed = sorted(entry.object_name for entry in client.list_objects(bucket, "up/"))
    assert listed == [f"up/{path.name}" for path in sorted(source.iterdir())], listed


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
