"""UploadPartCopy: stored objects, and ranges of them, as parts of uploads."""

from itertools import count

import pytest
from botocore.exceptions import ClientError

import raw
from content import LARGE, SMALL, content
from deployment import make_bucket
from multipart_samples import FIVE_MIB, sample
from refusal import assert_refused

SIZE = 2 * FIVE_MIB + 12345
CONTENT = content(SIZE)


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture(scope="module")
def bucket(deployment):
    """A bucket with the same content in every form that a source can have."""
    bucket = make_bucket(deployment)
    made = sample(
        {
            1: CONTENT[:FIVE_MIB],
            2: CONTENT[FIVE_MIB : 2 * FIVE_MIB + 5],
            3: CONTENT[2 * FIVE_MIB + 5 :],
        }
    )
    stored = made.stored(deployment.proxy.key, bucket, "multipart")
    backend = deployment.backend.target
    metadata = {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()}
    for target, key, headers, body in [
        (deployment.target, "single", {}, CONTENT),
        (backend, "multipart", metadata, stored.body),
        (backend, "plain", {}, CONTENT),
        (deployment.target, "empty", {}, b""),
        (deployment.target, "small", {}, content(SMALL)),
    ]:
        assert raw.ask(target, "PUT", bucket, key, headers=headers, body=body).status == 200
    return bucket


@pytest.fixture
def upload(s3, bucket, key):
    """An upload, aborted at the end if it is still open."""
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32")
    named = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
    yield named
    try:
        s3.abort_multipart_upload(**named)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchUpload"


def complete(s3, upload, answers):
    numbers = count(1)
    parts = [
        {"PartNumber": next(numbers), "ETag": one["ETag"], "ChecksumCRC32": one["ChecksumCRC32"]}
        for one in answers
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    return s3.get_object(Bucket=upload["Bucket"], Key=upload["Key"])["Body"].read()


@pytest.mark.parametrize("form", ["single", "multipart", "plain"])
def test_any_source_becomes_a_part_whole_and_in_ranges(s3, bucket, upload, form):
    source = {"Bucket": bucket, "Key": form}
    ranges = [None, (0, FIVE_MIB - 1), (100, FIVE_MIB + 99), (7, FIVE_MIB * 2 + 7), (3, 9)]
    answers, expected = [], b""
    for number, span in enumerate(ranges, 1):
        limits = {"CopySourceRange": f"bytes={span[0]}-{span[1]}"} if span else {}
        copied = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, **limits)
        answers.append(copied["CopyPartResult"])
        expected += CONTENT[span[0] : span[1] + 1] if span else CONTENT
    listed = s3.list_parts(**upload)["Parts"]
    assert [part["Size"] for part in listed] == [
        span[1] - span[0] + 1 if span else SIZE for span in ranges
    ]
    assert complete(s3, upload, answers) == expected


def test_copied_and_uploaded_parts_mix(s3, bucket, upload):
    first = s3.upload_part_copy(
        **upload, PartNumber=1, CopySource={"Bucket": bucket, "Key": "single"}
    )["CopyPartResult"]
    second = s3.upload_part(**upload, PartNumber=2, Body=content(LARGE), ChecksumAlgorithm="CRC32")
    assert complete(s3, upload, [first, second]) == CONTENT + content(LARGE)


@pytest.mark.parametrize(("form", "expected"), [("small", content(SMALL)), ("empty", b"")])
def test_short_source_becomes_the_only_part(s3, bucket, upload, form, expected):
    source = {"Bucket": bucket, "Key": form}
    copied = s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)
    assert complete(s3, upload, [copied["CopyPartResult"]]) == expected


@pytest.mark.parametrize(
    ("span", "code"),
    [
        (f"bytes=0-{SIZE}", "InvalidArgument"),
        (f"bytes={SIZE}-{SIZE + 5}", "InvalidArgument"),
        ("bytes=5-", "InvalidArgument"),
        ("bytes=-5", "InvalidArgument"),
        ("bytes=6-5", "InvalidArgument"),
        ("0-5", "InvalidArgument"),
    ],
)
@pytest.mark.parametrize("form", ["single", "plain"])
def test_range_outside_the_source_is_refused(deployment, s3, bucket, upload, form, span, code):
    answer = copy_part(deployment, upload, bucket, form, {"x-amz-copy-source-range": span})
    assert_refused(answer, 400, code)
    assert "Parts" not in s3.list_parts(**upload)


def test_range_of_an_empty_source_is_refused(deployment, s3, bucket, upload):
    answer = copy_part(deployment, upload, bucket, "empty", {"x-amz-copy-source-range": "bytes=0-0"})
    assert_refused(answer, 400, "InvalidArgument")


@pytest.mark.parametrize("form", ["single", "multipart", "plain"])
def test_conditions_on_the_source_decide(deployment, s3, bucket, upload, form):
    etag = raw.ask(deployment.target, "HEAD", bucket, form).headers["ETag"]
    for name, value, status in [
        ("x-amz-copy-source-if-match", etag, 200),
        ("x-amz-copy-source-if-none-match", etag, 412),
        ("x-amz-copy-source-if-match", '"other"', 412),
        ("x-amz-copy-source-if-none-match", '"other"', 200),
    ]:
        assert copy_part(deployment, upload, bucket, form, {name: value}).status == status


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [("missing", 404, "NoSuchKey"), (".s3proxy/x", 403, "AccessDenied")],
)
def test_source_that_may_not_be_read_is_no_part(deployment, s3, bucket, upload, source, status, code):
    assert_refused(copy_part(deployment, upload, bucket, source), status, code)
    assert "Parts" not in s3.list_parts(**upload)


def test_upload_that_is_not_there_takes_no_part(deployment, bucket, upload):
    last = "1" if upload["UploadId"].endswith("0") else "0"
    gone = upload | {"UploadId": upload["UploadId"][:-1] + last}
    assert_refused(copy_part(deployment, gone, bucket, "small"), 404, "NoSuchUpload")


@pytest.mark.parametrize("name", ["a+b %2B%25", "\u00fc\u20ac", "a?versionId=b"])
def test_names_of_sources_arrive_as_they_are(s3, bucket, upload, prefix, name):
    source = {"Bucket": bucket, "Key": prefix + name}
    s3.put_object(**source, Body=content(SMALL))
    copied = s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)
    assert complete(s3, upload, [copied["CopyPartResult"]]) == content(SMALL)


def copy_part(deployment, upload, bucket, source, headers=None):
    query = f"partNumber=1&uploadId={upload['UploadId']}"
    headers = {"x-amz-copy-source": f"/{bucket}/{source}"} | (headers or {})
    return raw.ask(
        deployment.target, "PUT", upload["Bucket"], upload["Key"], query=query, headers=headers
    )
