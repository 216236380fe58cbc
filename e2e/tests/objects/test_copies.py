"""CopyObject: attributes that a copy preserves, and that a sealed source is copied by the backend.

Every test goes through SeaweedFS and Ceph's gateway. Copies are read back through the proxy and
inspected on the backend.
"""

from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from content import LARGE, SMALL, content
from deployment import make_bucket
from multipart_samples import FIVE_MIB, sample
from recorder import Replacing
from refusal import assert_nothing_stored, assert_refused
from sealed import open_sealed, parse_envelope

SERVED_WITH = {
    "CacheControl": "max-age=7",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentEncoding": "identity-of-a-kind",
    "ContentLanguage": "de-AT",
    "ContentType": "text/x-source",
}
METADATA = {"a": "1", "long-name": "with, a comma"}

NOTHING_CHANGES = (
    "This copy request is illegal because it is trying to copy an object to itself without changing "
    "the object's metadata, storage class, website redirect location or encryption attributes."
)


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture
def source(bucket, prefix):
    return {"Bucket": bucket, "Key": prefix + "source"}


@pytest.mark.parametrize("size", [0, SMALL, 16384, LARGE, FIVE_MIB + 1])
def test_copy_has_the_content_and_all_attributes(deployment, s3, bucket, source, key, size):
    put = s3.put_object(**source, Body=content(size), Metadata=METADATA, **SERVED_WITH)
    copied = s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
    read = s3.get_object(Bucket=bucket, Key=key)
    assert read["Body"].read() == content(size)
    assert read["ContentLength"] == size
    assert read["Metadata"] == METADATA
    assert {name: read[name] for name in SERVED_WITH} == SERVED_WITH
    assert copied["CopyObjectResult"]["ETag"] == read["ETag"]
    assert abs((copied["CopyObjectResult"]["LastModified"] - read["LastModified"]).total_seconds()) < 2
    assert copied["ServerSideEncryption"] == put["ServerSideEncryption"]


def test_body_on_the_backend_is_the_same_and_the_envelope_is_another(deployment, s3, bucket, source, key):
    s3.put_object(**source, Body=content(LARGE))
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
    before = deployment.stored(bucket, source["Key"])
    after = deployment.stored(bucket, key)
    assert after.body == before.body
    assert open_sealed(after, deployment.proxy.key, bucket, key, LARGE) == content(LARGE)
    old, new = (parse_envelope(stored.metadata["isec"]) for stored in (before, after))
    assert old[3] != new[3], "the wrapped key is bound to the object's own"
    assert old[4] == new[4]


def test_envelope_of_the_source_does_not_open_under_the_copys_key(
    deployment, s3, backend_s3, bucket, source, key
):
    s3.put_object(**source, Body=content(SMALL))
    stored = deployment.stored(bucket, source["Key"])
    backend_s3.put_object(Bucket=bucket, Key=key, Body=stored.body, Metadata=stored.metadata)
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key=key)
    assert refused.value.response["Error"]["Code"] == "InternalError"


def test_replaced_metadata_replace_all_of_it(s3, bucket, source, key):
    s3.put_object(**source, Body=content(SMALL), Metadata=METADATA, **SERVED_WITH)
    s3.copy_object(
        Bucket=bucket,
        Key=key,
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/x-copy",
    )
    read = s3.get_object(Bucket=bucket, Key=key)
    assert read["Body"].read() == content(SMALL)
    assert read["Metadata"] == {"b": "2"}
    assert read["ContentType"] == "text/x-copy"
    assert not {"CacheControl", "ContentDisposition", "ContentLanguage"} & set(read)


def test_metadata_of_the_request_is_ignored_if_the_sources_is_copied(s3, bucket, source, key):
    s3.put_object(**source, Body=content(SMALL), Metadata=METADATA, **SERVED_WITH)
    s3.copy_object(
        Bucket=bucket, Key=key, CopySource=source, Metadata={"b": "2"}, ContentType="text/x-copy"
    )
    read = s3.head_object(Bucket=bucket, Key=key)
    assert read["Metadata"] == METADATA
    assert read["ContentType"] == SERVED_WITH["ContentType"]


def test_copy_across_buckets(deployment, s3, source, key):
    other = make_bucket(deployment)
    s3.put_object(**source, Body=content(SMALL), Metadata=METADATA)
    s3.copy_object(Bucket=other, Key=key, CopySource=source)
    read = s3.get_object(Bucket=other, Key=key)
    assert (read["Body"].read(), read["Metadata"]) == (content(SMALL), METADATA)


def test_copy_of_a_copy_outlives_both(s3, bucket, source, prefix):
    s3.put_object(**source, Body=content(SMALL))
    first, second = ({"Bucket": bucket, "Key": prefix + name} for name in ("first", "second"))
    s3.copy_object(**first, CopySource=source)
    s3.copy_object(**second, CopySource=first)
    for gone in (source, first):
        s3.delete_object(**gone)
    assert s3.get_object(**second)["Body"].read() == content(SMALL)


def test_object_onto_itself_with_new_metadata(s3, source):
    s3.put_object(**source, Body=content(LARGE), Metadata=METADATA)
    s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"})
    read = s3.get_object(**source)
    assert (read["Body"].read(), read["Metadata"]) == (content(LARGE), {"b": "2"})


def test_object_onto_itself_without_a_change_is_refused(deployment, s3, bucket, source):
    s3.put_object(**source, Body=content(SMALL))
    before = deployment.stored(bucket, source["Key"])
    headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}"}
    answer = raw.ask(deployment.target, "PUT", bucket, source["Key"], headers=headers)
    assert_refused(answer, 400, "InvalidRequest")
    assert answer.element("Message") == NOTHING_CHANGES
    assert deployment.stored(bucket, source["Key"]) == before


@pytest.mark.parametrize("checksum", ["CRC32", "SHA256"])
def test_checksum_is_copied(s3, bucket, source, key, checksum):
    put = s3.put_object(**source, Body=content(SMALL), ChecksumAlgorithm=checksum)
    member = f"Checksum{checksum}"
    for asked in ({}, {"ChecksumAlgorithm": checksum}):
        copied = s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **asked)
        assert copied["CopyObjectResult"][member] == put[member]
        assert copied["CopyObjectResult"]["ChecksumType"] == "FULL_OBJECT"
    head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head[member] == put[member]


def test_checksum_that_the_source_does_not_have_is_not_made_up(s3, bucket, source, key):
    s3.put_object(**source, Body=content(SMALL), ChecksumAlgorithm="CRC32")
    copied = s3.copy_object(Bucket=bucket, Key=key, CopySource=source, ChecksumAlgorithm="SHA1")
    assert not [name for name in copied["CopyObjectResult"] if name.startswith("Checksum")]
    assert "ChecksumCRC32" in s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("x-amz-metadata-directive", "KEEP", "InvalidArgument"),
        ("x-amz-tagging-directive", "copy", "InvalidArgument"),
        ("x-amz-checksum-algorithm", "CRC16", "InvalidRequest"),
        ("x-amz-copy-source-if-modified-since", "yesterday", "InvalidArgument"),
        ("x-amz-copy-source", "nothing-but-a-bucket", "InvalidArgument"),
        ("x-amz-meta-isec", "s3p1.x", "InvalidArgument"),
        ("x-amz-meta-isec-kek-ver", "1", "InvalidArgument"),
    ],
)
def test_invalid_headers_are_refused(deployment, s3, bucket, source, key, header, value, code):
    s3.put_object(**source, Body=content(SMALL))
    headers = {
        "x-amz-copy-source": f"{bucket}/{source['Key']}",
        "x-amz-metadata-directive": "REPLACE",
    } | {header: value}
    answer = raw.ask(deployment.target, "PUT", bucket, key, headers=headers)
    assert_refused(answer, 400, code)
    assert_nothing_stored(deployment, bucket, key)


class TestTags:
    """Tags have a separate directive."""

    @pytest.fixture
    def tagged(self, s3, source):
        s3.put_object(**source, Body=content(SMALL), Tagging="a=1&b=x%20y")
        return source

    @pytest.mark.parametrize("metadata", ["COPY", "REPLACE"])
    def test_tags_of_the_source_are_copied(self, s3, bucket, tagged, key, metadata):
        s3.copy_object(Bucket=bucket, Key=key, CopySource=tagged, MetadataDirective=metadata)
        assert tags(s3, bucket, key) == {"a": "1", "b": "x y"}

    @pytest.mark.parametrize("metadata", ["COPY", "REPLACE"])
    @pytest.mark.parametrize("replaced", ["c=3", ""])
    def test_tags_of_the_request_replace_them(self, s3, bucket, tagged, key, metadata, replaced):
        s3.copy_object(
            Bucket=bucket,
            Key=key,
            CopySource=tagged,
            MetadataDirective=metadata,
            TaggingDirective="REPLACE",
            Tagging=replaced,
        )
        assert tags(s3, bucket, key) == ({"c": "3"} if replaced else {})


def tags(s3, bucket, key):
    tagging = s3.get_object_tagging(Bucket=bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in tagging["TagSet"]}


HOSTILE_KEYS = [
    "a b",
    "a+b",
    "a%2Bb",
    "a%25b",
    "a%b",
    "a?b",
    "a?versionId=b",
    "a#b&c=d",
    "\u00fc\u20ac\U0001f642",
    "a//b",
    "/a",
    "a/./b",
    "a'\"<>&",
    "a:b@c,d;e=f$g!h*(i)",
    "a\u00a0b",
    "x" * 200,
]


@pytest.mark.parametrize("name", HOSTILE_KEYS)
def test_names_arrive_as_they_are(deployment, bucket, prefix, name):
    if deployment.backend.name == "seaweedfs" and ("//" in name or "/." in name or name[0] == "/"):
        pytest.skip("SeaweedFS keeps keys as paths of files")
    source, key = f"{prefix}from/{name}", f"{prefix}to/{name}"
    assert raw.ask(deployment.target, "PUT", bucket, source, body=content(SMALL)).status == 200
    headers = {"x-amz-copy-source": quote(f"{bucket}/{source}", safe="/~")}
    answer = raw.ask(deployment.target, "PUT", bucket, key, headers=headers)
    assert answer.status == 200, answer.body
    assert raw.ask(deployment.target, "GET", bucket, key).body == content(SMALL)


class TestUploads:
    """Sources that were uploaded in parts."""

    @pytest.fixture
    def planted(self, deployment, backend_s3, source):
        def plant(parts):
            made = sample({number: content(size, str(number)) for number, size in parts.items()})
            stored = made.stored(deployment.proxy.key, source["Bucket"], source["Key"])
            backend_s3.put_object(**source, Body=stored.body, Metadata=stored.metadata | METADATA)
            return made

        return plant

    @pytest.mark.parametrize("parts", [{1: FIVE_MIB, 2: FIVE_MIB + 9, 5: 100}, {1: 70000}, {3: 0}])
    def test_body_is_copied_unchanged(self, deployment, s3, bucket, source, key, planted, parts):
        made = planted(parts)
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
        assert deployment.stored(bucket, key).body == deployment.stored(bucket, source["Key"]).body
        read = s3.get_object(Bucket=bucket, Key=key)
        assert read["Body"].read() == made.plaintext
        assert read["Metadata"] == METADATA


@pytest.fixture(scope="module")
def relay(deployments, deployment):
    relay = Replacing(deployment.backend.target)
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def relayed(deployments, deployment, relay):
    name = f"proxy-copies-{deployment.backend.name}"
    return deployments.proxy(
        relay, name, environment={"S3PROXY_ENCRYPT_KEY": deployment.proxy.key}
    )


class TestRequests:
    """The number of backend requests for a copy."""

    @pytest.mark.parametrize("size", [SMALL, LARGE, FIVE_MIB])
    def test_sealed_source_costs_a_head_and_a_copy(self, relayed, relay, bucket, source, key, size):
        s3 = boto3_client(relayed.target)
        s3.put_object(**source, Body=content(size))
        relay.forget()
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source, ChecksumAlgorithm="CRC32")
        asked = relay.naming(bucket)
        assert [one.method for one in asked] == ["HEAD", "PUT"]
        assert not any(one.body for one in asked)
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == content(size)

    def test_source_that_is_replaced_during_the_copy_is_copied_in_its_new_state(
        self, deployment, relayed, relay, bucket, source, key
    ):
        s3, other = boto3_client(relayed.target), boto3_client(deployment.target)
        s3.put_object(**source, Body=content(LARGE), Metadata={"state": "old"})
        relay.forget()
        newer = content(LARGE, "newer")
        relay.before = {2: lambda: other.put_object(**source, Body=newer, Metadata={"state": "new"})}
        s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
        assert not relay.before, "the source was replaced behind the look and before the copy"
        read = s3.get_object(Bucket=bucket, Key=key)
        assert (read["Body"].read(), read["Metadata"]) == (newer, {"state": "new"})

    def test_source_that_is_deleted_during_the_copy_is_a_missing_one(
        self, deployment, relayed, relay, bucket, source, key
    ):
        s3, other = boto3_client(relayed.target), boto3_client(deployment.target)
        s3.put_object(**source, Body=content(SMALL))
        relay.forget()
        relay.before = {2: lambda: other.delete_object(**source)}
        headers = {"x-amz-copy-source": f"{bucket}/{source['Key']}"}
        assert_refused(raw.ask(relayed.target, "PUT", bucket, key, headers=headers), 404, "NoSuchKey")
        assert_nothing_stored(deployment, bucket, key)
