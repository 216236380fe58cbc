"""The SDKs built by e2e/setup-java, setup-javascript and setup-go, and the actions that each can
do.

Versions come from the files that pin them. Actions have the names used in docs/clients.md.
"""

import json
import re
from pathlib import Path

from client_driver import Program, built

OBJECTS = "put, get, head, list, delete in a batch"
PARTS = "upload in parts, read ranges"
DOWNLOADS = "download in parts"
COPIES = "copy"
COPIES_IN_PARTS = "copy in parts"
PRESIGNED = "presigned GET and PUT"
METADATA = "list with user metadata, as MinIO's servers answer it (`metadata=true`)"
FOLDERS = "rename and delete folders"
VECTORED = "vectored reads"

_ALL_OF_AN_SDK = (OBJECTS, PARTS, DOWNLOADS, COPIES, COPIES_IN_PARTS, PRESIGNED)
_WITHOUT_DOWNLOADS = (OBJECTS, PARTS, COPIES, COPIES_IN_PARTS, PRESIGNED)
_CHECKSUMS_WHEN_REQUIRED = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
_NO_EMPTY_CHUNKS = {"radosgw": "it refuses empty bodies that are signed in chunks"}
_NO_TRAILERS = {"radosgw": "it knows no checksums in trailers"}
_NO_SIGNED_TRAILERS = {"garage": "it refuses checksums behind a body that is signed"}
_CONTINUES_TWICE = {"moto": "it says `100 Continue` twice, and the SDK takes one for the answer"}
_NO_PART_NUMBERS = {"moto": "asked for a part of an object it sends the whole object"}
_WRONG_CHECKSUMS = {"moto": "it gives copies of uploads in parts a checksum of the parts' checksums"}
_IN_PARTS = (PARTS, DOWNLOADS, COPIES, COPIES_IN_PARTS)
_HERE = Path(__file__).parent


def _maven(module: str, artifact: str) -> str:
    """The version of an artifact in a module's pom.xml."""
    text = (_HERE / "java" / module / "pom.xml").read_text()
    return re.search(rf"<artifactId>{artifact}</artifactId>\s*<version>(.*?)</version>", text)[1]


PAGE_SCRIPT = built("javascript-browser", "page.bundle.js")
"""Upload libraries for a page, as one script."""


def _npm(package: str, project: str = "javascript") -> str:
    """The version of a package in package.json."""
    return json.loads((_HERE / project / "package.json").read_text())["dependencies"][package]


def of_page(package: str) -> str:
    """The version of a package that is part of the page's script."""
    return _npm(package, "javascript-browser")


def _go(module: str) -> str:
    """The version of a module in go.mod."""
    text = (_HERE / "go/go.mod").read_text()
    return re.search(rf"^\s*{re.escape(module)} v(\S+)", text, re.MULTILINE)[1]


def _java(module: str, main: str) -> tuple[str | Path, ...]:
    """A virtual machine for many short requests: it compiles little and needs little memory."""
    options = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC", "-Xmx512m")
    return ("java", *options, f"@{built('java', module, 'class-path-option')}", f"s3proxy.e2e.{main}")


def _javascript(name: str, **options) -> Program:
    command = ("node", built("javascript", "client.js"))
    return Program(name, _npm("@aws-sdk/client-s3"), command, **options)


_GO_CLIENT = built("go", "client")
_GO_SDK = _go("github.com/aws/aws-sdk-go-v2/service/s3")
_JAVA_V2 = _maven("sdk-v2", "s3-transfer-manager")

PROGRAMS = [
    Program(
        "AWS SDK for Java 1",
        _maven("sdk-v1", "aws-java-sdk-s3"),
        _java("sdk-v1", "SdkV1"),
        _ALL_OF_AN_SDK,
        direct_limits={OBJECTS: _NO_EMPTY_CHUNKS, DOWNLOADS: _NO_PART_NUMBERS},
    ),
    Program(
        "AWS SDK for Java 2.29",
        _maven("sdk-v2-29", "s3-transfer-manager"),
        _java("sdk-v2-29", "SdkV2"),
        _ALL_OF_AN_SDK,
        direct_limits={
            OBJECTS: _NO_EMPTY_CHUNKS,
            **dict.fromkeys(_IN_PARTS, _NO_TRAILERS | _CONTINUES_TWICE),
        },
    ),
    Program(
        "AWS SDK for Java 2",
        _JAVA_V2,
        _java("sdk-v2", "SdkV2"),
        _ALL_OF_AN_SDK,
        direct_limits={
            OBJECTS: _NO_TRAILERS | _NO_SIGNED_TRAILERS,
            **dict.fromkeys(_IN_PARTS, _NO_TRAILERS | _CONTINUES_TWICE),
            COPIES: _NO_TRAILERS | _CONTINUES_TWICE | _NO_SIGNED_TRAILERS,
        },
    ),
    Program(
        "AWS SDK for Java 2, checksums when required",
        _JAVA_V2,
        _java("sdk-v2", "SdkV2"),
        _ALL_OF_AN_SDK,
        environment=_CHECKSUMS_WHEN_REQUIRED,
        direct_limits={
            OBJECTS: _NO_EMPTY_CHUNKS,
            **dict.fromkeys(_IN_PARTS, _CONTINUES_TWICE),
        },
    ),
    Program(
        "Hadoop S3A",
        _maven("hadoop", "hadoop-aws"),
        _java("hadoop", "S3a"),
        (OBJECTS, PARTS, FOLDERS, VECTORED),
        direct_limits=dict.fromkeys((OBJECTS, FOLDERS), _NO_EMPTY_CHUNKS),
    ),
    _javascript(
        "AWS SDK for JavaScript v3",
        actions=_WITHOUT_DOWNLOADS,
        direct_limits={
            OBJECTS: _NO_TRAILERS,
            COPIES: _NO_TRAILERS | _WRONG_CHECKSUMS,
            PRESIGNED: dict.fromkeys(
                ("seaweedfs", "garage"), "it holds bodies to the checksum of none, which the URL carries"
            ),
        },
    ),
    _javascript(
        "AWS SDK for JavaScript v3, checksums when required",
        actions=_WITHOUT_DOWNLOADS,
        environment=_CHECKSUMS_WHEN_REQUIRED,
    ),
    Program(
        "AWS SDK for Go v2",
        _GO_SDK,
        (_GO_CLIENT, "sdk"),
        _ALL_OF_AN_SDK,
        direct_limits={COPIES: _WRONG_CHECKSUMS},
    ),
    Program(
        "AWS SDK for Go v2, checksums when required",
        _GO_SDK,
        (_GO_CLIENT, "sdk"),
        (OBJECTS, PARTS),
        environment=_CHECKSUMS_WHEN_REQUIRED,
    ),
    Program(
        "AWS SDK for Go v2, feature/s3/manager",
        _go("github.com/aws/aws-sdk-go-v2/feature/s3/manager"),
        (_GO_CLIENT, "sdk-manager"),
        (PARTS, DOWNLOADS),
    ),
    Program(
        "minio-go",
        _go("github.com/minio/minio-go/v7"),
        (_GO_CLIENT, "minio"),
        (*_WITHOUT_DOWNLOADS, METADATA),
        direct_limits={OBJECTS: _NO_EMPTY_CHUNKS},
    ),
]
