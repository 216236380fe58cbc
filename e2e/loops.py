"""Operations that clients repeat while something happens to the proxy, and the failures that they
see.

A loop runs one round after the other in its own thread until it is told to stop or has failed a few
times. A round raises an exception if the client saw a failure, or other bytes than it wrote.
Clients that can be told so (`WITHOUT_RETRIES`) do not retry requests.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import raw
import wire
from client_driver import Driver
from clients import Client
from refusal import put
from target import Target
from trees import KIB, MIB
from uploads import Upload, body_of

WITHOUT_RETRIES = {"AWS_MAX_ATTEMPTS": "1"}
"""For all AWS SDKs and the AWS CLI."""

_ENOUGH_FAILURES = 3


@dataclass
class Loop:
    """`round_of` is called with 0, 1, 2 and so on."""

    name: str
    round_of: Callable[[int], None]
    pause: float = 0.05
    done: int = 0
    failures: list[str] = field(default_factory=list)


class Loops:
    """Loops that run in parallel."""

    def __init__(self, loops: list[Loop]):
        self.loops = loops
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(loop,)) for loop in loops]

    def __enter__(self) -> "Loops":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        """Lets every loop finish its round."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def rounds(self) -> dict[str, int]:
        return {loop.name: loop.done for loop in self.loops}

    def failures(self) -> list[str]:
        return [f"{loop.name}: {text}" for loop in self.loops for text in loop.failures]

    def _run(self, loop: Loop) -> None:
        while len(loop.failures) < _ENOUGH_FAILURES:
            try:
                loop.round_of(loop.done)
                loop.done += 1
            # Any exception means that the client did not get the expected result.
            except Exception as error:  # noqa: BLE001
                loop.failures.append(f"round {loop.done}: {type(error).__name__}: {error}"[:2000])
            if self._stopping.wait(loop.pause):
                return


def body(name: str, number: int, size: int) -> bytes:
    return Random(f"{name}/{number}").randbytes(size)


def assert_same(received: bytes, expected: bytes) -> None:
    """Reports the position of the first difference, and never prints the bytes."""
    if received != expected:
        length = min(len(received), len(expected))
        at = next((i for i in range(length) if received[i] != expected[i]), length)
        raise AssertionError(f"{len(received)} bytes for {len(expected)}, others from {at} on")


# Third-party clients


def sdk_objects(s3, bucket: str, name: str) -> Loop:
    """All operations on one object; the proxy holds every other object, and streams the rest."""

    def round_of(number):
        key, content = f"{name}/{number}", body(name, number, (3 * KIB, 2 * MIB)[number % 2])
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        assert_same(body_of(s3, bucket, key), content)
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(content)
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        assert [entry["Size"] for entry in listed if entry["Key"] == key] == [len(content)]
        s3.copy_object(Bucket=bucket, Key=key + "-copy", CopySource={"Bucket": bucket, "Key": key})
        part = s3.get_object(Bucket=bucket, Key=key + "-copy", Range="bytes=100-199")["Body"].read()
        assert_same(part, content[100:200])
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": key + "-copy"}]})

    return Loop(name, round_of)


def sdk_uploads(s3, bucket: str, name: str, wait: Callable[[], None]) -> Loop:
    """Multipart uploads that wait between steps, so that replicas restart during an upload."""

    def round_of(number):
        upload = Upload(s3, bucket, f"{name}/{number}")
        for part, size in enumerate((5 * MIB, 5 * MIB + 1, 70 * KIB), start=1):
            upload.part(part, body(name, 10 * number + part, size))
            wait()
        upload.complete()
        assert_same(body_of(s3, bucket, upload.key), upload.plaintext)

    return Loop(name, round_of)


def folders(client: Client, bucket: str, name: str, scratch: Path) -> Loop:
    """A command-line client of the matrix: uploads a folder and downloads it again."""

    def round_of(number):
        there, back = (scratch / f"{name}-{number}-{way}" for way in ("there", "back"))
        for folder in (there, back):
            folder.mkdir(parents=True)
        contents = {str(size): body(name, number, size) for size in (1, 3 * KIB, 2 * MIB)}
        for file, content in contents.items():
            (there / file).write_bytes(content)
        prefix = f"{name}/{number}/"
        client.upload(bucket, prefix, there)
        client.download(bucket, prefix, list(contents), back)
        for file, content in contents.items():
            assert_same((back / file).read_bytes(), content)

    return Loop(name, round_of)


def driven(driver: Driver, bucket: str, name: str, scratch: Path) -> Loop:
    """An SDK driven by lines: single requests and multipart uploads in turn."""

    def round_of(number):
        in_parts = number % 3 == 2
        there, back = scratch / f"{name}-there", scratch / f"{name}-back"
        back.unlink(missing_ok=True)
        content = body(name, number, 11 * MIB if in_parts else (5 * KIB, 2 * MIB)[number % 2])
        there.write_bytes(content)
        key = f"{name}/{number}"
        driver.do("upload" if in_parts else "put", bucket, key, there)
        driver.do("get", bucket, key, back)
        assert_same(back.read_bytes(), content)

    return Loop(name, round_of)


# Clients on a socket


class Kept:
    """A connection that is reused until the server closes it.

    A server may close an idle connection. A client that sees this before it sends opens another
    one; once it has sent a request, it must get a response.
    """

    def __init__(self, target: Target):
        self._target = target
        self._connection: socket.socket | None = None
        self.idle_closes = 0

    def ask(self, data: bytes, method: str) -> wire.Answer:
        connection = self._usable()
        connection.sendall(data)
        answer = wire.answer_to(connection, method)
        self.done(answer)
        return answer

    def begin(self, data: bytes) -> socket.socket:
        """Sends the beginning of a request."""
        connection = self._usable()
        connection.sendall(data)
        return connection

    def done(self, answer: wire.Answer) -> None:
        assert answer.status, "the connection ended without an answer"
        assert answer.complete, "the answer was cut short"
        if answer.headers.get("Connection", "").lower() == "close":
            self.close()

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _usable(self) -> socket.socket:
        if self._connection and wire.has_ended(self._connection):
            self.idle_closes += 1
            self.close()
        if self._connection is None:
            self._connection = wire.connect(self._target, seconds=60)
        return self._connection


def kept_connection(target: Target, bucket: str, name: str, pause: float) -> Loop:
    """One connection, used again and again."""
    kept = Kept(target)

    def round_of(number):
        key, content = f"{name}/{number}", body(name, number, 9 * KIB)
        try:
            built = raw.sign(put(target, bucket, key, content), target)
            assert kept.ask(wire.message(built), "PUT").status == 200
            built = raw.sign(raw.request(target, "GET", bucket, key), target)
            answer = kept.ask(wire.message(built), "GET")
            assert answer.status == 200
            assert_same(answer.body, content)
        except BaseException:
            kept.close()
            raise

    return Loop(name, round_of, pause)


def slow_uploads(target: Target, bucket: str, name: str, wait: Callable[[], None]) -> Loop:
    """`Expect: 100-continue`, and then a body that takes seconds."""
    kept = Kept(target)

    def round_of(number):
        key, content = f"{name}/{number}", body(name, number, 3 * MIB)
        built = put(target, bucket, key, content, {"Expect": "100-continue"})
        raw.sign(built, target, unsigned_headers=("content-length", "expect"))
        try:
            connection = kept.begin(wire.head(built))
            go_on = wire.answer_to(connection)
            assert go_on.status == 100, f"{go_on.status} for 100"
            for at in range(0, len(content), 64 * KIB):
                connection.sendall(content[at : at + 64 * KIB])
                wait()
            answer = wire.answer_to(connection, "PUT")
            assert answer.status == 200, f"{answer.status} {answer.code}"
            kept.done(answer)
            built = raw.sign(raw.request(target, "GET", bucket, key), target)
            assert_same(kept.ask(wire.message(built), "GET").body, content)
        except BaseException:
            kept.close()
            raise

    return Loop(name, round_of)


def slow_downloads(target: Target, bucket: str, name: str, size: int, wait) -> Loop:
    """A long object, read piece by piece on a persistent connection."""
    key, content = f"{name}/long", body(name, 0, size)
    stored = raw.ask(target, "PUT", bucket, key, body=content)
    assert stored.status == 200
    kept = Kept(target)

    def round_of(_):
        built = raw.sign(raw.request(target, "GET", bucket, key), target)
        try:
            connection = kept.begin(wire.message(built))
            answer = wire.parse(b"", _Slowly(connection, wait))
            assert answer.status == 200, f"{answer.status} {answer.code}"
            kept.done(answer)
            assert_same(answer.body, content)
        except BaseException:
            kept.close()
            raise

    return Loop(name, round_of)


@dataclass
class _Slowly:
    """A connection that is read slowly."""

    connection: socket.socket
    wait: Callable[[], None]

    def recv(self, size: int) -> bytes:
        self.wait()
        return self.connection.recv(size)


def without_retries(program):
    """A driven SDK without retries."""
    return replace(program, environment=program.environment | WITHOUT_RETRIES)
