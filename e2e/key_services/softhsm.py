"""SoftHSM 2 as the hardware security module: real PKCS#11, with its own token directory.

The proxy calls it through OpenSC's spy, a PKCS#11 library that logs every call and forwards it: the
log gives the number of calls. Keys are generated here and imported, so that a test can decrypt the
token's ciphertexts without the token.

An unplugged token is a token directory that was moved away. A token that hangs is a spy whose log
is a pipe that nobody reads.
"""

import os
import secrets
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from processes import clean_environment, run

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
SPY = next(Path("/usr/lib").glob("*-linux-gnu/pkcs11-spy.so"), Path("pkcs11-spy.so"))
# Not hexadecimal, so that no id in a log contains it by chance.
PIN = "suite-pin"
_SECURITY_OFFICER = "1234"
_ASSOCIATED_DATA = b"s3proxy/v1/kek"


class SoftHSM:
    """One installation with one token."""

    token = "e2e token"

    def __init__(self, directory: Path):
        self._directory = directory / f"softhsm-{secrets.token_hex(4)}"
        self._tokens = self._directory / "tokens"
        self._tokens.mkdir(parents=True)
        configuration = self._directory / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(configuration)}
        self.keys: dict[str, bytes] = {}
        arguments = ["--init-token", "--free", "--label", self.token]
        self._run("softhsm2-util", *arguments, "--so-pin", _SECURITY_OFFICER, "--pin", PIN)

    def new_key(self, label: str, length: int = 32) -> str:
        """Imports an AES key. Does not check for another key with the same label."""
        key = secrets.token_bytes(length)
        file = self._directory / "key"
        file.write_bytes(key)
        kind = ["--type", "secrkey", "--key-type", f"AES:{length}", "--usage-decrypt", "--sensitive"]
        self._tool("--write-object", file, *kind, "--label", label, "--id", secrets.token_hex(4))
        file.unlink()
        self.keys[label] = key
        return label

    def delete_key(self, label: str) -> None:
        self._tool("--delete-object", "--type", "secrkey", "--label", label)

    def kek(self, label: str, ciphertext: bytes) -> bytes:
        """Decrypts a KEK that is encrypted as the format demands."""
        assert len(ciphertext) == 60
        opener = AESGCM(self.keys[label])
        return opener.decrypt(ciphertext[:12], ciphertext[12:], _ASSOCIATED_DATA)

    def encrypt(self, label: str, plaintext: bytes, associated_data: bytes = _ASSOCIATED_DATA):
        nonce = secrets.token_bytes(12)
        return nonce + AESGCM(self.keys[label]).encrypt(nonce, plaintext, associated_data)

    @property
    def _away(self) -> Path:
        return self._tokens.with_name("unplugged")

    def unplug(self) -> None:
        self._tokens.rename(self._away)

    def plug_in(self) -> None:
        self._away.rename(self._tokens)

    def _tool(self, *arguments) -> None:
        login = ["--module", SOFTHSM, "--token-label", self.token, "--login", "--pin", PIN]
        self._run("pkcs11-tool", *login, *arguments)

    def _run(self, *command) -> None:
        run(list(command), clean_environment(self._directory, **self.environment))


class Spy:
    """The calls of one proxy."""

    def __init__(self, hsm: SoftHSM, log: Path):
        self._log = log
        self.environment = hsm.environment | {"PKCS11SPY": str(SOFTHSM), "PKCS11SPY_OUTPUT": str(log)}

    def uses(self) -> int:
        """The number of encryptions and decryptions that were begun."""
        return self._count("C_EncryptInit") + self._count("C_DecryptInit")

    def logins(self) -> int:
        return self._count("C_Login")

    def _count(self, function: str) -> int:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return sum(line.endswith(f": {function}") for line in text.splitlines())


class HangingSpy:
    """A spy whose calls do not return while a test holds them."""

    def __init__(self, hsm: SoftHSM, pipe: Path):
        os.mkfifo(pipe)
        self.environment = Spy(hsm, pipe).environment
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._reading = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with self._reading:
            # A write to a full pipe blocks.
            with suppress(BlockingIOError):
                while True:
                    os.write(self._pipe, bytes(512))
            yield

    def stop(self) -> None:
        self._ended = True
        self._thread.join()
        os.close(self._pipe)

    def _read(self) -> None:
        while not self._ended:
            with self._reading:
                if select.select([self._pipe], [], [], 0.05)[0]:
                    os.read(self._pipe, 65536)
