"""Reads of objects that were altered on the backend, and their allowed results.

After any alteration of a stored object, a client gets its plaintext or an error. It never gets
another byte, and never a complete response with fewer bytes than announced.
"""

from dataclasses import dataclass
from functools import cached_property

import raw
import wire
from clients import boto3_client
from deployment import Deployment
from sealed import Stored

CHUNK = 16384
SEALED_CHUNK = CHUNK + 16
HEAD = 56
FIVE_MIB = 5 * 1024 * 1024


@dataclass(frozen=True)
class Vault:
    """One bucket, written through the proxy and directly."""

    deployment: Deployment
    bucket: str

    @cached_property
    def _backend(self):
        return boto3_client(self.deployment.backend.target)

    def seal(self, key: str, plaintext: bytes, **headers: str) -> Stored:
        """Stores plaintext through the proxy; returns the object as stored on the backend."""
        target = self.deployment.target
        answer = raw.ask(target, "PUT", self.bucket, key, headers=headers, body=plaintext)
        assert answer.status == 200, answer.body
        return self.deployment.stored(self.bucket, key)

    def plant(self, key: str, stored: Stored) -> None:
        """Stores an object on the backend directly."""
        self._backend.put_object(
            Bucket=self.bucket, Key=key, Body=stored.body, Metadata=stored.metadata
        )

    def read(
        self, key: str, span: str = "", method: str = "GET", query: str = ""
    ) -> wire.Answer:
        """Reads through the proxy, over a raw socket that hides nothing."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if span:
            headers["Range"] = f"bytes={span}"
        target = self.deployment.target
        built = raw.request(target, method, self.bucket, key, query, headers=headers)
        with wire.connect(target) as connection:
            connection.sendall(wire.message(raw.sign(built, target)))
            return wire.answer_to(connection, method)


def sealed_length(plaintext: int) -> int:
    """The offset at which the message of a single upload ends and padding begins."""
    return 72 + plaintext + 16 * (plaintext // CHUNK)


REFUSALS = {(500, "InternalError"), (403, "AccessDenied")}
"""Responses to altered data, and to an unknown key, which an altered envelope may name."""


def assert_only_plaintext(answer: wire.Answer, plaintext: bytes) -> None:
    """An error, or bytes of the plaintext: all of them if the response is complete."""
    if answer.status not in (200, 206):
        assert (answer.status, answer.code) in REFUSALS, answer.body
        return
    assert answer.announced == len(plaintext)
    assert plaintext.startswith(answer.body)
    assert answer.complete == (answer.body == plaintext)
    assert answer.rest == b""


def assert_detected(answer: wire.Answer, plaintext: bytes) -> None:
    """An error or an incomplete response."""
    assert_only_plaintext(answer, plaintext)
    assert answer.status in (403, 500) or not answer.complete


def assert_refused_outright(answer: wire.Answer) -> None:
    """An error without a byte of content: the alteration shows before the status line is sent."""
    assert (answer.status, answer.code) in REFUSALS, answer.body
