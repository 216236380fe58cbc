"""The suite's SigV4 agrees with botocore's, so the signatures that tests break were correct."""

import datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import raw
from target import Credential, Target

TARGET = Target("http://127.0.0.1:9000", Credential("ACCESS", "secret/+key"))


@pytest.mark.parametrize(
    ("key", "query"),
    [
        ("plain", ""),
        ("with space+plus%percent", ""),
        ("a//b/../c", "list-type=2&prefix=a%2Fb%20c&acl"),
        ("ünï/☃/\U0001f980", "uploads"),
        ("quotes'\"()*!~", "b=2&a=1&a=0"),
    ],
)
def test_signature_equals_botocores(key, query, monkeypatch):
    built = raw.request(TARGET, "PUT", "bucket", key, query=query, headers={"x-amz-meta-a": " b  c "})
    raw.sign(built, TARGET)

    moment = datetime.datetime.strptime(built.header("x-amz-date"), "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    theirs = AWSRequest(
        "PUT",
        f"{TARGET.url}{built.line}",
        headers={"Host": TARGET.authority, "x-amz-meta-a": " b  c "},
        data=b"",
    )
    theirs.context["payload_signing_enabled"] = True
    credentials = Credentials(TARGET.credential.access_key, TARGET.credential.secret_key)
    S3SigV4Auth(credentials, "s3", TARGET.region).add_auth(theirs)
    assert built.header("Authorization") == theirs.headers["Authorization"]
