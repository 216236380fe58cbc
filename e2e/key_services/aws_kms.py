"""AWS KMS for tests: moto's server, and a relay in front that records requests and adds rules.

The behaviour of KMS in moto, as read and tried in the pinned version:

- correct: missing keys and aliases, encryption contexts; ciphertexts are bound to their key and
  refused under another key (with AccessDeniedException, whereas AWS returns IncorrectKeyException),
  and altered ones are refused;
- stored but ignored: the state of a key that is disabled or pending deletion. The relay asks moto
  for the key's state before each use, and answers as AWS documents it;
- in name only: rotation. The key's material stays the same, and ciphertexts name no version
  (neither do those of AWS);
- absent: credentials. The relay records which key signed a request, and with which token.
"""

import datetime
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3

from processes import Process, accepts_connections, clean_environment, free_port
from recorder import Answer, Recorded, Relay
from servers import tools
from target import Credential, Target

REGION = "eu-central-1"
CONTEXT = {"s3proxy": "v1/kek"}
_USES = ("GenerateDataKey", "Decrypt")
_STATES = {
    "Disabled": "DisabledException",
    "PendingDeletion": "KMSInvalidStateException",
}


class MotoKms:
    """moto's server. Its keys are in memory, so an outage is a suspended process."""

    def __init__(self, directory: Path):
        port = free_port()
        self.target = Target(f"http://127.0.0.1:{port}", Credential("moto", "moto"), REGION)
        self.process = Process(
            "moto-kms",
            [tools("moto") / "moto_server", "-H", "127.0.0.1", "-p", port],
            clean_environment(directory),
            directory / "moto-kms.log",
        )
        self.process.wait_until(lambda: accepts_connections(port), "accepting connections")
        self.client = boto3.client(
            "kms",
            endpoint_url=self.target.url,
            region_name=REGION,
            aws_access_key_id="moto",
            aws_secret_access_key="moto",
        )

    def new_key(self) -> str:
        """The ARN of a new symmetric key."""
        return self.client.create_key()["KeyMetadata"]["Arn"]

    def disable(self, key: str) -> None:
        self.client.disable_key(KeyId=_id(key))

    def schedule_deletion(self, key: str) -> None:
        self.client.schedule_key_deletion(KeyId=_id(key), PendingWindowInDays=7)

    def restore(self, key: str) -> None:
        """Reverts `disable` and `schedule_deletion`."""
        self.client.cancel_key_deletion(KeyId=_id(key))
        self.client.enable_key(KeyId=_id(key))

    def kek(self, ciphertext: bytes) -> bytes:
        answer = self.client.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)
        return answer["Plaintext"]

    def stop(self) -> None:
        self.process.stop(seconds=0.1)


class KmsRelay(Relay):
    """Forwards requests to moto, unless the key's state forbids the operation."""

    name = "kms-relay"

    def __init__(self, moto: MotoKms):
        self._moto = moto
        super().__init__(moto.target)

    def answer(self, recorded: Recorded) -> Answer:
        if operation(recorded) in _USES and (refusal := self._refusal(recorded)):
            return refusal
        return super().answer(recorded)

    def uses(self) -> int:
        """The number of operations that used a key."""
        return sum(operation(recorded) in _USES for recorded in [*self._requests])

    def access_keys(self) -> list[str]:
        """The access key ids that signed the uses, in order."""
        return [
            re.search("Credential=([^/]+)/", recorded.headers["Authorization"]).group(1)
            for recorded in [*self._requests]
            if operation(recorded) in _USES
        ]

    def tokens(self) -> list[str]:
        """The session tokens of the uses, in order."""
        return [
            recorded.headers["X-Amz-Security-Token"]
            for recorded in [*self._requests]
            if operation(recorded) in _USES
        ]

    def _refusal(self, recorded: Recorded) -> Answer | None:
        client = self._moto.client
        try:
            metadata = client.describe_key(KeyId=json.loads(recorded.body)["KeyId"])["KeyMetadata"]
        except client.exceptions.NotFoundException:
            return None
        code = _STATES.get(metadata["KeyState"])
        if code is None:
            return None
        message = f"{metadata['Arn']} is {metadata['KeyState']}."
        body = json.dumps({"__type": code, "message": message}).encode()
        return Answer(400, [("Content-Type", "application/x-amz-json-1.1")], body, str(len(body)))


def _id(key: str) -> str:
    """The id of a key without the ARN: moto changes the state of keys only by id."""
    return key.rpartition("/")[2]


def operation(recorded: Recorded) -> str:
    return recorded.headers.get("X-Amz-Target", "").rpartition(".")[2]


class ContainerCredentials:
    """The endpoint from which containers get credentials: each response is a new login.

    `lifetime` is the duration of a login. While `broken`, the endpoint answers with an error.
    """

    def __init__(self, lifetime: datetime.timedelta):
        self.lifetime = lifetime
        self.broken = False
        self.given: list[str] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = endpoint._answer()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *arguments):
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/credentials"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self) -> tuple[int, bytes]:
        if self.broken:
            return 400, b'{"code": "AssumeRoleFailed", "message": "broken on request"}'
        access_key = f"ASIALOGIN{len(self.given):011}"
        self.given.append(access_key)
        expiry = datetime.datetime.now(datetime.timezone.utc) + self.lifetime
        login = {
            "AccessKeyId": access_key,
            "SecretAccessKey": "secret-of-a-login",
            "Token": f"token-of-{access_key}",
            "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 200, json.dumps(login).encode()
