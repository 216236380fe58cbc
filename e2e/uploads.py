"""Multipart uploads of the suite: content for parts, an upload step by step, and its leftover
state.

Parts are few and small (5 MiB is S3's minimum), so that a test with several uploads stays short.
"""

from content import content

FIVE_MIB = 5 * 1024 * 1024
STATE_PREFIX = ".s3proxy/"


def piece(size: int, name: str) -> bytes:
    """Content of one part; each name gives other bytes."""
    return content(size, name)


class Upload:
    """One upload through boto3; `through` sends the next steps to another replica."""

    def __init__(self, s3, bucket: str, key: str, **options):
        self.s3, self.bucket, self.key = s3, bucket, key
        answer = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)
        self.id = answer["UploadId"]
        self.parts: dict[int, dict] = {}
        self.plaintexts: dict[int, bytes] = {}

    @property
    def named(self) -> dict:
        return {"Bucket": self.bucket, "Key": self.key, "UploadId": self.id}

    def through(self, s3) -> "Upload":
        self.s3 = s3
        return self

    def part(self, number: int, body: bytes, **options) -> dict:
        answer = self.s3.upload_part(**self.named, PartNumber=number, Body=body, **options)
        checksums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        named = {"PartNumber": number, "ETag": answer["ETag"]} | checksums
        self.parts[number] = named
        self.plaintexts[number] = body
        return named

    def complete(self, parts: list[dict] | None = None, **options) -> dict:
        if parts is None:
            parts = [self.parts[number] for number in sorted(self.parts)]
        listed = {"Parts": parts}
        return self.s3.complete_multipart_upload(**self.named, MultipartUpload=listed, **options)

    def abort(self) -> dict:
        return self.s3.abort_multipart_upload(**self.named)

    @property
    def plaintext(self) -> bytes:
        return b"".join(self.plaintexts[number] for number in sorted(self.plaintexts))


def states(backend_s3, bucket: str) -> list[str]:
    """The keys of the proxy's state beside the data."""
    answer = backend_s3.list_objects_v2(Bucket=bucket, Prefix=STATE_PREFIX)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def body_of(s3, bucket: str, key: str) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
