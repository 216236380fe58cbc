"""Operations without object data end as they do without the proxy: same status, same document.

Each case is a list of requests, sent once through the proxy and once directly to the server, on two
separate buckets. Bucket names, dates and request ids are normalised, nothing else.

Sub-resources that the server does not know are not forwarded: it would answer a read with a
listing, and take a deletion for that of the bucket.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

import raw
from deployment import make_bucket

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
KEY = "object"


@dataclass(frozen=True)
class Step:
    method: str
    query: str
    body: str = ""
    key: str = ""


def set_read_delete(query: str, body: str, key: str = "") -> list[Step]:
    """A configuration is set, read and deleted, with a read before and after."""
    return [
        Step("GET", query, key=key),
        Step("PUT", query, body, key),
        Step("GET", query, key=key),
        Step("DELETE", query, key=key),
        Step("GET", query, key=key),
    ]


def set_read(query: str, body: str, key: str = "") -> list[Step]:
    return set_read_delete(query, body, key)[:3]


TAGS = f"<Tagging {XMLNS}><TagSet><Tag><Key>k&amp;</Key><Value>v 1</Value></Tag></TagSet></Tagging>"
CORS = f"""<CORSConfiguration {XMLNS}><CORSRule><AllowedOrigin>https://e2e.test</AllowedOrigin>
<AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>"""
LIFECYCLE = f"""<LifecycleConfiguration {XMLNS}><Rule><ID>r</ID><Filter><Prefix>old/</Prefix></Filter>
<Status>Enabled</Status><Expiration><Days>365</Days></Expiration></Rule></LifecycleConfiguration>"""
ENCRYPTION = f"""<ServerSideEncryptionConfiguration {XMLNS}><Rule><ApplyServerSideEncryptionByDefault>
<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>
</ServerSideEncryptionConfiguration>"""
OWNERSHIP = f"""<OwnershipControls {XMLNS}><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>
</Rule></OwnershipControls>"""
PUBLIC_ACCESS = f"""<PublicAccessBlockConfiguration {XMLNS}><BlockPublicAcls>true</BlockPublicAcls>
</PublicAccessBlockConfiguration>"""
VERSIONING = f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status></VersioningConfiguration>"
WEBSITE = f"""<WebsiteConfiguration {XMLNS}><IndexDocument><Suffix>index.html</Suffix></IndexDocument>
</WebsiteConfiguration>"""
POLICY = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
"Action": "s3:GetObject", "Resource": "arn:aws:s3:::BUCKET/public/*"}]}"""
LOCK = f"<ObjectLockConfiguration {XMLNS}><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
RETENTION = f"""<Retention {XMLNS}><Mode>GOVERNANCE</Mode><RetainUntilDate>2020-01-01T00:00:00Z
</RetainUntilDate></Retention>"""
LEGAL_HOLD = f"<LegalHold {XMLNS}><Status>ON</Status></LegalHold>"
PAYMENT = f"<RequestPaymentConfiguration {XMLNS}><Payer>Requester</Payer></RequestPaymentConfiguration>"

CASES = {
    "bucket-location": [Step("GET", "location")],
    "bucket-head": [Step("HEAD", "")],
    "bucket-acl": [Step("GET", "acl")],
    "bucket-tagging": set_read_delete("tagging", TAGS),
    "bucket-cors": set_read_delete("cors", CORS),
    "bucket-lifecycle": set_read_delete("lifecycle", LIFECYCLE),
    "bucket-policy": set_read_delete("policy", POLICY),
    "bucket-policy-status": [Step("GET", "policyStatus")],
    "bucket-encryption": set_read_delete("encryption", ENCRYPTION),
    "bucket-ownership": set_read_delete("ownershipControls", OWNERSHIP),
    "bucket-public-access-block": set_read_delete("publicAccessBlock", PUBLIC_ACCESS),
    "bucket-website": set_read_delete("website", WEBSITE),
    "bucket-versioning": set_read("versioning", VERSIONING),
    "bucket-object-lock": set_read("object-lock", LOCK),
    "bucket-request-payment": set_read("requestPayment", PAYMENT),
    "bucket-logging": [Step("GET", "logging")],
    "bucket-notification": [Step("GET", "notification")],
    "bucket-replication": [Step("GET", "replication")],
    "bucket-accelerate": [Step("GET", "accelerate")],
    "bucket-analytics": [Step("GET", "analytics"), Step("GET", "analytics&id=a")],
    "bucket-inventory": [Step("GET", "inventory")],
    "bucket-metrics": [Step("GET", "metrics")],
    "bucket-intelligent-tiering": [Step("GET", "intelligent-tiering")],
    "bucket-malformed-document": [Step("PUT", "tagging", "<not-a-document")],
    "object-tagging": set_read_delete("tagging", TAGS, KEY),
    "object-acl": [Step("GET", "acl", key=KEY)],
    "object-retention": set_read("retention", RETENTION, KEY),
    "object-legal-hold": set_read("legal-hold", LEGAL_HOLD, KEY),
    "missing-object": [Step("GET", "", key="missing"), Step("HEAD", "", key="missing")],
    "missing-object-tagging": [Step("GET", "tagging", key="missing")],
    "empty-listing": [Step("GET", "list-type=2"), Step("GET", ""), Step("GET", "versions")],
    "listing-refused": [Step("GET", "list-type=2&max-keys=none")],
}

# Fields that cannot be equal: ids of single requests, and times.
DIFFERS_BY_NATURE = {"RequestId", "HostId", "LastModified", "CreationDate", "Resource", "VersionId"}


@pytest.fixture(scope="module", params=["seaweedfs", "radosgw"])
def deployment(request, deployments):
    return deployments.get(request.param, "http")


@pytest.mark.parametrize("steps", CASES.values(), ids=CASES)
def test_operation_ends_as_without_the_proxy(deployment, steps):
    outcomes = []
    for target in (deployment.backend.target, deployment.target):
        bucket = make_bucket(deployment)
        if any(step.key == KEY for step in steps):
            assert raw.ask(target, "PUT", bucket, KEY, body=b"content").status == 200
        outcomes.append([outcome(target, bucket, step) for step in steps])
    direct, proxied = outcomes
    for step, expected, seen in zip(steps, direct, proxied, strict=True):
        if is_unknown(step, direct[0]):
            assert seen[1:] == (501, ("Error", "NotImplemented"))
        elif expected[2] == ("Error", "NoSuchBucket") and step.query:
            break  # The server took the deletion before for that of the bucket.
        elif step.method != "DELETE":
            assert seen == expected
    assert raw.ask(deployment.target, "HEAD", bucket).status == 200


def is_unknown(step: Step, first_read) -> bool:
    """Whether the server's response to a read shows that it does not know the sub-resource."""
    _, status, document = first_read
    listing = document[0] == "ListBucketResult" and step.query.partition("=")[0] not in ("", "list-type", "versions")
    return listing or (status in (405, 501) and step.method != "GET")


def test_missing_bucket_is_the_backends_answer(deployment):
    for query in ("", "location", "list-type=2"):
        answers = [
            raw.ask(target, "GET", "e2e-no-such-bucket", query=query)
            for target in (deployment.target, deployment.backend.target)
        ]
        assert (answers[0].status, answers[0].code) == (answers[1].status, answers[1].code)
        assert answers[0].code == "NoSuchBucket"


def test_bucket_is_created_listed_and_deleted(s3, backend_s3):
    name = "e2e-made-through-the-proxy"
    s3.create_bucket(Bucket=name)
    assert name in [entry["Name"] for entry in backend_s3.list_buckets()["Buckets"]]
    assert name in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    s3.delete_bucket(Bucket=name)
    assert name not in [entry["Name"] for entry in backend_s3.list_buckets()["Buckets"]]


def test_cors_preflight_is_the_backends_answer(deployment, bucket):
    assert raw.ask(deployment.target, "PUT", bucket, query="cors", body=CORS.encode()).status == 200
    headers = {"Origin": "https://e2e.test", "Access-Control-Request-Method": "GET"}
    answers = [
        raw.send(raw.request(target, "OPTIONS", bucket, KEY, headers=headers), target)
        for target in (deployment.target, deployment.backend.target)
    ]
    allowed = [answer.headers["Access-Control-Allow-Origin"] for answer in answers]
    assert answers[0].status == answers[1].status
    assert allowed[0] == allowed[1]


def outcome(target, bucket, step):
    body = step.body.replace("BUCKET", bucket).encode()
    headers = {"Content-MD5": content_md5(body)} if body else {}
    answer = raw.ask(target, step.method, bucket, step.key, query=step.query, headers=headers, body=body)
    return step.method, answer.status, evened(answer.body, bucket)


def evened(body: bytes, bucket: str):
    text = body.decode().replace(bucket, "BUCKET")
    if text.startswith("{"):
        return json.loads(text)
    if not text.startswith("<"):
        return (re.sub(r"\s+", "", text),)
    return tree(ElementTree.fromstring(text))


def tree(element):
    name = element.tag.rpartition("}")[2]
    if name in DIFFERS_BY_NATURE:
        return name
    # The text of S3 errors may differ; clients act on the code.
    if name == "Error":
        return name, element.findtext("{*}Code")
    return name, (element.text or "").strip(), [tree(child) for child in element]


def content_md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()
