"""State of uploads beside the data: hidden, listed as parts, swept, never in the way."""

import base64
import datetime
import hashlib
import secrets
import time

import pytest
from botocore.exceptions import ClientError

import raw
from clients import boto3_client
from deployment import make_bucket

PREFIX = ".s3proxy/uploads/"
MIB = 1024 * 1024
LONG = 5 * MIB

KEYS = ["!before", "-a/1", "-a/2", ".s3", ".s3proxyx", ".t/1", "a", "b/1", "b/2", "c"]
"""Keys before and after the hidden ones, in byte order."""


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.fixture
def empty(deployment):
    """A bucket for this test only."""
    return make_bucket(deployment)


def state_id(bucket: str, key: str, upload_id: str) -> str:
    """The name of an upload's folder, as the published format defines it."""
    digest = hashlib.sha256(b"\0".join(part.encode() for part in (bucket, key, upload_id))).digest()
    return base64.b32encode(digest[:20]).decode().lower()


def plant(backend_s3, bucket: str, parts: int = 1) -> list[str]:
    """Leaves the objects of an upload that was ended directly at the backend."""
    folder = PREFIX + state_id(bucket, "gone", secrets.token_hex(8))
    keys = [f"{folder}/part-{number}" for number in range(1, parts + 1)] + [f"{folder}/state"]
    for key in keys:
        backend_s3.put_object(Bucket=bucket, Key=key, Body=b"left over")
    return keys


BY_LIST = ("--older-than", "0s", "--by-list")
"""The planted states name no upload, like states of earlier versions."""


def kept(backend_s3, bucket: str) -> list[str]:
    """All keys under the proxy's prefix, with versions and delete markers."""
    listed = backend_s3.list_object_versions(Bucket=bucket, Prefix=".s3proxy/")
    entries = listed.get("Versions", []) + listed.get("DeleteMarkers", [])
    return sorted(entry["Key"] for entry in entries)


def refusal(call, **arguments) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"]


# Listings


def pages_of_objects(s3, **arguments):
    while True:
        page = s3.list_objects(**arguments)
        shown = [entry["Key"] for entry in page.get("Contents", [])]
        prefixes = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        yield page, shown + prefixes
        if not page["IsTruncated"]:
            return
        # Clients do the same if a server gives no marker.
        arguments["Marker"] = page.get("NextMarker") or max(shown)


def pages_of_objects_v2(s3, **arguments):
    while True:
        page = s3.list_objects_v2(**arguments)
        shown = [entry["Key"] for entry in page.get("Contents", [])]
        prefixes = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(shown + prefixes)
        yield page, shown + prefixes
        if not page["IsTruncated"]:
            return
        arguments["ContinuationToken"] = page["NextContinuationToken"]


def pages_of_versions(s3, **arguments):
    while True:
        page = s3.list_object_versions(**arguments)
        shown = [entry["Key"] for entry in page.get("Versions", [])]
        prefixes = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        yield page, shown + prefixes
        if not page["IsTruncated"]:
            return
        arguments["KeyMarker"] = page["NextKeyMarker"]
        arguments.pop("VersionIdMarker", None)
        if page.get("NextVersionIdMarker"):
            arguments["VersionIdMarker"] = page["NextVersionIdMarker"]


LISTINGS = [pages_of_objects, pages_of_objects_v2, pages_of_versions]


@pytest.fixture(scope="module")
def mixed(deployment):
    """A bucket with objects, and with more hidden keys than fit into any page below."""
    s3, bucket = boto3_client(deployment.target), make_bucket(deployment)
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for _ in range(4):
        plant(boto3_client(deployment.backend.target), bucket, parts=3)
    return bucket


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("pages", LISTINGS)
def test_pages_of_every_size_show_every_key_once_and_nothing_of_the_proxys(
    s3, mixed, pages, delimiter
):
    expected = KEYS
    if delimiter:
        expected = sorted({key if "/" not in key else key.split("/")[0] + "/" for key in KEYS})
    for size in range(1, len(KEYS) + 3):
        seen = []
        for page, shown in pages(s3, Bucket=mixed, MaxKeys=size, Delimiter=delimiter):
            assert len(shown) <= size
            assert shown or not page["IsTruncated"], f"an empty page of {size} is not the last"
            # The server chooses its token; SeaweedFS derives it from a key.
            told = {name: page[name] for name in page if "Token" not in name}
            assert "s3proxy/" not in str(told | {"ResponseMetadata": {}})
            seen += shown
            assert len(seen) <= len(expected), f"a key twice in pages of {size}: {seen}"
        assert sorted(seen) == expected, size


@pytest.mark.parametrize("pages", LISTINGS)
def test_a_bucket_with_nothing_but_state_is_empty_to_clients(s3, backend_s3, empty, pages):
    plant(backend_s3, empty, parts=3)
    for size in (1, 2, 1000):
        [(page, shown)] = pages(s3, Bucket=empty, MaxKeys=size)
        assert not shown
        assert not page["IsTruncated"]


def test_a_moved_page_names_the_requested_start(s3, mixed):
    page = s3.list_objects(Bucket=mixed, Marker=".s3", MaxKeys=1)
    assert page["Marker"] == ".s3"
    assert [entry["Key"] for entry in page["Contents"]] == [".s3proxyx"]
    page = s3.list_objects_v2(Bucket=mixed, StartAfter=".s3", MaxKeys=1)
    assert page["StartAfter"] == ".s3"
    assert [entry["Key"] for entry in page["Contents"]] == [".s3proxyx"]
    first = s3.list_objects_v2(Bucket=mixed, MaxKeys=KEYS.index(".s3") + 1)
    token = first["NextContinuationToken"]
    page = s3.list_objects_v2(Bucket=mixed, ContinuationToken=token, MaxKeys=1)
    assert (page["ContinuationToken"], page.get("StartAfter")) == (token, None)
    assert [entry["Key"] for entry in page["Contents"]] == [".s3proxyx"]


def test_uploads_are_listed_in_pages_of_every_size(s3, empty):
    created = set()
    for key in ("a", "a", "b", "c/1", "c/2"):
        upload = s3.create_multipart_upload(Bucket=empty, Key=key, ChecksumAlgorithm="CRC32")
        created.add((key, upload["UploadId"]))
    for size in (1, 2, 3, 1000):
        seen, markers = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=empty, MaxUploads=size, **markers)
            seen += [(upload["Key"], upload["UploadId"]) for upload in page.get("Uploads", [])]
            if not page["IsTruncated"]:
                break
            # SeaweedFS uses only the upload's marker.
            names = ("KeyMarker", "UploadIdMarker")
            markers = {name: page["Next" + name] for name in names if page.get("Next" + name)}
        assert sorted(seen) == sorted(created), size
    for key, upload_id in created:
        s3.abort_multipart_upload(Bucket=empty, Key=key, UploadId=upload_id)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=empty)


# Parts


@pytest.fixture
def upload(s3, bucket, key):
    created = s3.create_multipart_upload(Bucket=bucket, Key=key)
    named = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
    yield named
    s3.abort_multipart_upload(**named)


def test_long_and_short_parts_are_one_list_in_plaintext_terms(s3, upload):
    sizes = {1: LONG, 2: 17, 4: LONG + 1, 7: 0, 9: LONG, 10000: 5}
    for number, size in sorted(sizes.items(), reverse=True):
        s3.upload_part(**upload, PartNumber=number, Body=bytes(size))
    for length in (1, 2, 3, 5, 6, 1000):
        seen, marker = [], 0
        while True:
            page = s3.list_parts(**upload, MaxParts=length, PartNumberMarker=marker)
            parts = page.get("Parts", [])
            assert (page["PartNumberMarker"], page["MaxParts"]) == (marker, length)
            assert len(parts) <= length
            seen += [(part["PartNumber"], part["Size"]) for part in parts]
            assert all(part["ETag"].endswith('-0"') for part in parts)
            if not page["IsTruncated"]:
                break
            marker = page["NextPartNumberMarker"]
        assert seen == sorted(sizes.items()), length


def wait_for_the_second_after(moment: datetime.datetime) -> None:
    """SeaweedFS keeps a replaced part beside the new one, with times in whole seconds."""
    following = moment.replace(microsecond=0) + datetime.timedelta(seconds=1)
    while datetime.datetime.now(datetime.UTC) < following:
        time.sleep(0.05)


def test_a_replaced_part_is_listed_once_in_its_new_state(s3, upload):
    attempts = {1: [LONG, LONG + 9], 2: [5, LONG], 3: [7, 8]}
    for attempt in (0, 1):
        for number, sizes in attempts.items():
            s3.upload_part(**upload, PartNumber=number, Body=bytes(sizes[attempt]))
        listed = s3.list_parts(**upload)["Parts"]
        now = [(number, sizes[attempt]) for number, sizes in attempts.items()]
        assert [(part["PartNumber"], part["Size"]) for part in listed] == now
        wait_for_the_second_after(max(part["LastModified"] for part in listed))


def test_an_upload_that_does_not_exist_has_no_parts(s3, bucket, key, upload):
    assert refusal(s3.list_parts, **(upload | {"UploadId": "none"})) == "NoSuchUpload"
    # The same upload id under another key has no state, and so no parts either.
    assert refusal(s3.list_parts, **(upload | {"Key": key + "x"})) == "NoSuchUpload"


def test_parameters_of_a_list_of_parts_are_numbers(deployment, upload):
    for parameter in ("max-parts=x", "max-parts=-1", "part-number-marker=x"):
        request = raw.request(
            deployment.target,
            "GET",
            upload["Bucket"],
            upload["Key"],
            query=f"uploadId={upload['UploadId']}&{parameter}",
        )
        answer = raw.send(raw.sign(request, deployment.target), deployment.target)
        assert (answer.status, answer.code) == (400, "InvalidArgument"), parameter


# The sweep


def test_a_sweep_removes_state_without_an_upload_and_nothing_else(
    s3, backend_s3, deployment, empty
):
    s3.put_object(Bucket=empty, Key="object", Body=b"content")
    # Servers disagree on the encoding of such a key in a list of uploads.
    upload = {"Bucket": empty, "Key": "in progress+%2B é"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    etag = s3.upload_part(**upload, PartNumber=3, Body=b"the only part")["ETag"]
    in_progress = kept(backend_s3, empty)
    assert len(in_progress) == 2
    planted = plant(backend_s3, empty) + plant(backend_s3, empty, parts=3)

    young = deployment.proxy.finish("sweep", "--bucket", empty)
    assert young.returncode == 0, young.stdout
    assert f"{empty}: 1 upload in progress, 2 ended too recently, 0 left over" in young.stdout

    spared = deployment.proxy.finish("sweep", "--bucket", empty, "--older-than", "0s")
    assert spared.returncode == 0, spared.stdout
    assert f"{empty}: 2 states of an earlier version, without the name of an upload" in spared.stdout
    assert kept(backend_s3, empty) == sorted(in_progress + planted)

    shown = deployment.proxy.finish("sweep", "--bucket", empty, *BY_LIST, "--dry-run")
    assert shown.returncode == 0, shown.stdout
    for key in planted:
        assert f"{empty}: would remove {key}\n" in shown.stdout
    assert kept(backend_s3, empty) == sorted(in_progress + planted)

    swept = deployment.proxy.finish("sweep", "--bucket", empty, *BY_LIST)
    assert swept.returncode == 0, swept.stdout
    assert swept.stdout.endswith("6 objects of 2 ended uploads removed, in 1 bucket\n")
    assert kept(backend_s3, empty) == in_progress
    parts = {"Parts": [{"PartNumber": 3, "ETag": etag}]}
    s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=empty, Key=upload["Key"])["Body"].read() == b"the only part"
    assert s3.get_object(Bucket=empty, Key="object")["Body"].read() == b"content"
    assert kept(backend_s3, empty) == []


def test_an_upload_that_was_aborted_at_the_backend_is_swept(s3, backend_s3, deployment, empty):
    upload = {"Bucket": empty, "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    s3.upload_part(**upload, PartNumber=1, Body=b"short")
    backend_s3.abort_multipart_upload(**upload)
    assert kept(backend_s3, empty)
    swept = deployment.proxy.finish("sweep", "--bucket", empty, "--older-than", "0s")
    assert swept.returncode == 0, swept.stdout
    assert kept(backend_s3, empty) == []


def test_a_sweep_without_a_bucket_covers_all_buckets(backend_s3, deployment, empty):
    [key] = plant(backend_s3, empty, parts=0)
    shown = deployment.proxy.finish("sweep", *BY_LIST, "--dry-run")
    assert shown.returncode == 0, shown.stdout
    assert f"{empty}: would remove {key}\n" in shown.stdout


def test_a_bucket_that_cannot_be_swept_is_reported_and_the_others_are_swept(
    backend_s3, deployment, empty
):
    plant(backend_s3, empty)
    missing = empty + "-missing"
    arguments = ("--bucket", missing, "--bucket", empty, *BY_LIST)
    swept = deployment.proxy.finish("sweep", *arguments)
    assert swept.returncode == 3
    assert f"{missing}: not swept: the backend answered 404 NoSuchBucket\n" in swept.stdout
    assert swept.stdout.endswith("in 2 buckets; 1 bucket not swept\n")
    assert kept(backend_s3, empty) == []


def test_a_serving_proxy_sweeps_buckets_that_uploads_went_to(deployments, deployment):
    if deployment.backend.name != "seaweedfs":
        pytest.skip("one server is enough to see the timer at work")
    sweeping = deployments.proxy(
        deployment.backend,
        "proxy-sweeping",
        environment={"S3PROXY_POLICY_SWEEP_INTERVAL": "1s", "S3PROXY_LISTEN_DRAIN_DELAY": "0s"},
    )
    s3, bucket = boto3_client(sweeping.target), make_bucket(sweeping)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")
    sweeping.proxy.wait_for_log("swept the state of uploads")
    # The upload is in progress and young.
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload["UploadId"])


# Buckets with versions


@pytest.fixture
def versioned(s3, empty):
    s3.put_bucket_versioning(Bucket=empty, VersioningConfiguration={"Status": "Enabled"})
    return empty


@pytest.mark.parametrize("end", ["complete", "abort"])
def test_an_upload_leaves_no_versions_behind(s3, backend_s3, versioned, end):
    upload = {"Bucket": versioned, "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    etags = {}
    for number, bodies in {1: [b"short", bytes(LONG)], 2: [b"first", b"second"]}.items():
        for body in bodies:
            answer = s3.upload_part(**upload, PartNumber=number, Body=body)
            etags[number] = answer["ETag"]
    assert len(kept(backend_s3, versioned)) == 3
    if end == "complete":
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        read = s3.get_object(Bucket=versioned, Key="k")["Body"].read()
        assert read == bytes(LONG) + b"second"
    else:
        s3.abort_multipart_upload(**upload)
    assert kept(backend_s3, versioned) == []


def test_a_sweep_leaves_no_versions_behind(backend_s3, deployment, versioned):
    planted = plant(backend_s3, versioned, parts=2)
    for key in planted[:2]:
        backend_s3.put_object(Bucket=versioned, Key=key, Body=b"again")
    backend_s3.delete_object(Bucket=versioned, Key=planted[-1])
    assert len(kept(backend_s3, versioned)) == 6
    swept = deployment.proxy.finish("sweep", "--bucket", versioned, "--older-than", "0s")
    assert swept.returncode == 0, swept.stdout
    assert kept(backend_s3, versioned) == []


# One state bucket for all buckets


def test_states_of_all_buckets_in_one_are_swept_by_the_uploads_of_all(deployments, deployment):
    server = deployment.backend
    states = make_bucket(deployment)
    elsewhere = deployments.proxy(
        server,
        f"proxy-state-bucket-{server.name}",
        environment={"S3PROXY_POLICY_STATE_BUCKET": states, "S3PROXY_LISTEN_DRAIN_DELAY": "0s"},
    )
    s3, backend_s3 = boto3_client(elsewhere.target), boto3_client(server.target)
    uploads = []
    for _ in range(2):
        upload = {"Bucket": make_bucket(elsewhere), "Key": "k"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        etag = s3.upload_part(**upload, PartNumber=1, Body=b"short")["ETag"]
        uploads.append((upload, etag))
        assert kept(backend_s3, upload["Bucket"]) == []
    in_progress = kept(backend_s3, states)
    planted = plant(backend_s3, states)
    assert kept(backend_s3, states) == sorted(in_progress + planted)

    # Emptying the state bucket in order to delete it would also remove the states of other buckets.
    if server.name == "radosgw":
        assert refusal(s3.delete_bucket, Bucket=states) == "BucketNotEmpty"
        assert kept(backend_s3, states) == sorted(in_progress + planted)

    named = uploads[0][0]["Bucket"]
    swept = elsewhere.proxy.finish("sweep", "--bucket", named, *BY_LIST)
    assert swept.returncode == 0, swept.stdout
    assert kept(backend_s3, states) == in_progress
    for upload, etag in uploads:
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(**upload, MultipartUpload=parts)
        read = s3.get_object(Bucket=upload["Bucket"], Key="k")["Body"].read()
        assert read == b"short"
    assert kept(backend_s3, states) == []


# DeleteBucket


@pytest.fixture
def strict(deployment):
    """For servers that refuse to delete a bucket unless it is empty."""
    if deployment.backend.name == "seaweedfs":
        pytest.skip("SeaweedFS deletes buckets with all that is in them")


@pytest.mark.usefixtures("strict")
def test_leftover_state_alone_does_not_keep_a_bucket(s3, backend_s3, empty):
    plant(backend_s3, empty, parts=2)
    assert refusal(backend_s3.delete_bucket, Bucket=empty) == "BucketNotEmpty"
    s3.delete_bucket(Bucket=empty)
    assert refusal(s3.list_objects_v2, Bucket=empty) == "NoSuchBucket"


@pytest.mark.usefixtures("strict")
def test_leftover_versions_alone_do_not_keep_a_bucket(s3, backend_s3, versioned):
    for key in plant(backend_s3, versioned, parts=2):
        backend_s3.delete_object(Bucket=versioned, Key=key)
    assert refusal(backend_s3.delete_bucket, Bucket=versioned) == "BucketNotEmpty"
    s3.delete_bucket(Bucket=versioned)
    assert refusal(s3.list_objects_v2, Bucket=versioned) == "NoSuchBucket"


@pytest.mark.usefixtures("strict")
def test_an_object_keeps_its_bucket_and_all_state_in_it(s3, backend_s3, empty):
    planted = plant(backend_s3, empty)
    s3.put_object(Bucket=empty, Key="z", Body=b"content")
    assert refusal(s3.delete_bucket, Bucket=empty) == "BucketNotEmpty"
    assert kept(backend_s3, empty) == sorted(planted)


@pytest.mark.usefixtures("strict")
def test_uploads_in_progress_do_not_keep_a_bucket(s3, backend_s3, empty):
    planted = plant(backend_s3, empty)
    upload = {"Bucket": empty, "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    s3.upload_part(**upload, PartNumber=1, Body=b"short")
    assert len(kept(backend_s3, empty)) > len(planted)
    s3.delete_bucket(Bucket=empty)
    assert refusal(s3.list_parts, **upload) in ("NoSuchBucket", "NoSuchUpload")
