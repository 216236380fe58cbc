"""Reads of objects that somebody altered behind the proxy's back, and what may come of them.

Whatever was done to a stored object, a client gets its plaintext or an error, never another byte,
and never fewer bytes than were announced on a connection that looks as if all were there.
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
    """One bucket, written through the proxy and around it."""

    deployment: Deployment
    bucket: str

    @cached_property
    def _backend(self):
        return boto3_client(self.deployment.backend.target)

    def seal(self, key: str, plaintext: bytes, **headers: str) -> Stored:
        """Stores plaintext through the proxy; returns what then lies on the backend."""
        target = self.deployment.target
        answer = raw.ask(target, "PUT", self.bucket, key, headers=headers, body=plaintext)
        assert answer.status == 200, answer.body
        return self.deployment.stored(self.bucket, key)

    def plant(self, key: str, stored: Stored) -> None:
        """Puts a stored form under a key, around the proxy."""
        self._backend.put_object(
            Bucket=self.bucket, Key=key, Body=stored.body, Metadata=stored.metadata
        )

    def read(
        self, key: str, span: str = "", method: str = "GET", query: str = ""
    ) -> wire.Answer:
        """Reads through the proxy, over a socket that hides nothing."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if span:
            headers["Range"] = f"bytes={span}"
        target = self.deployment.target
        built = raw.request(target, method, self.bucket, key, query, headers=headers)
        with wire.connect(target) as connection:
            connection.sendall(wire.message(raw.sign(built, target)))
            return wire.answer_to(connection, method)


def sealed_length(plaintext: int) -> int:
    """Where the message of a single upload ends, and padding begins."""
    return 72 + plaintext + 16 * (plaintext // CHUNK)


REFUSALS = {(500, "InternalError"), (403, "AccessDenied")}
"""Of altered data, and of a key that is not configured: an altered envelope may name one."""


def assert_only_plaintext(answer: wire.Answer, plaintext: bytes) -> None:
    """An error, or bytes of the plaintext; all of them where the answer ends as announced."""
    if answer.status not in (200, 206):
        assert (answer.status, answer.code) in REFUSALS, answer.body
        return
    assert answer.announced == len(plaintext)
    assert plaintext.startswith(answer.body)
    assert answer.complete == (answer.body == plaintext)
    assert answer.rest == b""


def assert_detected(answer: wire.Answer, plaintext: bytes) -> None:
    """As before, and the answer is not complete."""
    assert_only_plaintext(answer, plaintext)
    assert answer.status in (403, 500) or not answer.complete


def assert_refused_outright(answer: wire.Answer) -> None:
    """Not one byte of an answer: the alteration shows before the status line goes out."""
    assert (answer.status, answer.code) in REFUSALS, answer.body
