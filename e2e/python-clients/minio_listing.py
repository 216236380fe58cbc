"""MinIO's Python SDK: a listing that asks for user metadata, which only MinIO's servers put there."""

import io
import os
from urllib.parse import urlsplit

from minio import Minio


def main() -> None:
    endpoint = urlsplit(os.environ["S3_ENDPOINT"])
    client = Minio(
        endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=endpoint.scheme == "https",
        region=os.environ["AWS_REGION"],
    )
    bucket = os.environ["S3_BUCKET"]
    client.put_object(bucket, "a/b", io.BytesIO(b"content"), 7, metadata={"colour": "blue"})
    for options in ({}, {"use_api_v1": True}):
        entries = client.list_objects(bucket, "a/", include_user_meta=True, **options)
        found = [(entry.object_name, entry.size) for entry in entries]
        assert found == [("a/b", 7)], found


if __name__ == "__main__":
    main()
