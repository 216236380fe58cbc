"""fsspec's s3fs: a presigned URL of an object, as its defaults make it. Prints the URL."""

import os

import s3fs


def main() -> None:
    # Without a region botocore presigns with Version 2.
    os.environ.pop("AWS_REGION", None)
    files = s3fs.S3FileSystem(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=os.environ["S3_ENDPOINT"],
    )
    path = f"{os.environ['S3_BUCKET']}/presigned"
    files.pipe_file(path, b"written by s3fs")
    print(files.url(path, expires=600))


if __name__ == "__main__":
    main()
