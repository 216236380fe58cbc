"""S3 requests, signed here and sent byte for byte over http.client, with every part open to change.

The clients in clients.py normalise paths, sort headers and repair mistakes. This one sends requests
as given: `..`, doubled slashes, duplicate headers, wrong signatures. A request is built, signed by
`sign`, `presign` or `sign_chunked`, changed at will, and sent. Keyword arguments of the signing
functions break a signature in one chosen way; setting a field afterwards breaks it in any other.

The signature is SigV4 as AWS documents it; tests/suite/test_raw.py compares it with botocore's.
"""

import datetime
import hashlib
import hmac
import http.client
import ssl
from dataclasses import dataclass, field
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from target import PATH, Target

UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


@dataclass
class Request:
    """A request as sent: path and query unchanged, headers in order."""

    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        return found[0] if found else None

    def set_header(self, name: str, value: str) -> None:
        self.drop_header(name)
        self.headers.append((name, value))

    def drop_header(self, name: str) -> None:
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]

    @property
    def line(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        """S3's error code, or the empty string if the body is no error document."""
        return self.element("Code") if self.status >= 300 else ""

    def element(self, name: str) -> str:
        """The text of the first XML element with that name, in any namespace."""
        return next(iter(self.elements(name)), "")

    def elements(self, name: str) -> list[str]:
        if not self.body:
            return []
        return [
            element.text or ""
            for element in ElementTree.fromstring(self.body).iter()
            if element.tag.rpartition("}")[2] == name
        ]


def encode_key(key: str | bytes) -> str:
    """An object key as S3 clients write it into a path: percent-encoded once, `/` unchanged."""
    return quote(key, safe="/-._~")


def request(
    target: Target,
    method: str,
    bucket: str = "",
    key: str | bytes = "",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Request:
    """An unsigned request for that target, in its addressing style."""
    authority, path = target.authority, "/" + encode_key(key)
    if bucket and target.style == PATH:
        path = f"/{bucket}{path}" if key else f"/{bucket}"
    elif bucket:
        authority = f"{bucket}.{authority}"
    built = Request(method, path, query, [("Host", authority)], body)
    built.headers.extend((headers or {}).items())
    if body or method in ("PUT", "POST"):
        built.headers.append(("Content-Length", str(len(body))))
    return built


@dataclass(frozen=True)
class Signing:
    """The credential scope of one signature, and the key derived from it."""

    time: str
    region: str
    secret_key: str
    service: str = "s3"

    @property
    def scope(self) -> str:
        return f"{self.time[:8]}/{self.region}/{self.service}/aws4_request"

    def signature(self, text: str) -> str:
        key = b"AWS4" + self.secret_key.encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def of_request(self, built: Request, signed: list[str], payload: str) -> str:
        canonical = canonical_request(built, signed, payload)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return self.signature("\n".join([ALGORITHM, self.time, self.scope, digest]))


def sign(
    built: Request,
    target: Target,
    *,
    payload: str | None = None,
    clock_offset: datetime.timedelta = datetime.timedelta(),
    region: str | None = None,
    service: str = "s3",
    unsigned_headers: tuple[str, ...] = ("content-length", "user-agent"),
) -> Request:
    """Signs all headers but the unsigned ones. `payload` is the hash, by default the body's."""
    payload = payload or hashlib.sha256(built.body).hexdigest()
    signing = Signing(_now(clock_offset), region or target.region, target.credential.secret_key, service)
    built.set_header("x-amz-date", signing.time)
    built.set_header("x-amz-content-sha256", payload)
    signed = sorted({name.lower() for name, _ in built.headers} - set(unsigned_headers))
    signature = signing.of_request(built, signed, payload)
    credential = f"{target.credential.access_key}/{signing.scope}"
    names = ";".join(signed)
    built.set_header(
        "Authorization",
        f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}",
    )
    return built


def presign(
    built: Request,
    target: Target,
    *,
    seconds: int = 600,
    clock_offset: datetime.timedelta = datetime.timedelta(),
    region: str | None = None,
) -> Request:
    """Adds a signature to the query; it covers the headers present at that time."""
    signing = Signing(_now(clock_offset), region or target.region, target.credential.secret_key)
    signed = sorted({name.lower() for name, _ in built.headers} - {"content-length"})
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{target.credential.access_key}/{signing.scope}",
        "X-Amz-Date": signing.time,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(signed),
    }
    added = "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in parameters.items())
    built.query = f"{built.query}&{added}" if built.query else added
    built.query += f"&X-Amz-Signature={signing.of_request(built, signed, UNSIGNED)}"
    return built


def sign_chunked(built: Request, target: Target, *, chunk_bytes: int = 65536) -> Request:
    """Signs headers and every chunk of the body, and frames the body as aws-chunked."""
    plain = built.body
    built.set_header("x-amz-decoded-content-length", str(len(plain)))
    chunks = [plain[at : at + chunk_bytes] for at in range(0, len(plain), chunk_bytes)] + [b""]
    framing = sum(len(f"{len(chunk):x};chunk-signature=") + 64 + 4 for chunk in chunks)
    built.set_header("Content-Length", str(len(plain) + framing))
    sign(built, target, payload=SIGNED_CHUNKS)
    previous = built.header("Authorization").rpartition("Signature=")[2]
    signing = Signing(built.header("x-amz-date"), target.region, target.credential.secret_key)
    framed = []
    for chunk in chunks:
        text = [f"{ALGORITHM}-PAYLOAD", signing.time, signing.scope, previous, EMPTY_HASH]
        previous = signing.signature("\n".join([*text, hashlib.sha256(chunk).hexdigest()]))
        framed.append(f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n")
    built.body = b"".join(framed)
    return built


def sign_trailer(built: Request, target: Target, name: str, value: str) -> Request:
    """Frames the body as unsigned chunks with a checksum after them, as SDKs do over HTTPS."""
    plain = built.body
    built.body = (f"{len(plain):x}\r\n".encode() + plain + b"\r\n") if plain else b""
    built.body += f"0\r\n{name}:{value}\r\n\r\n".encode()
    built.set_header("x-amz-decoded-content-length", str(len(plain)))
    built.set_header("x-amz-trailer", name)
    built.set_header("Content-Length", str(len(built.body)))
    return sign(built, target, payload=UNSIGNED_CHUNKS_TRAILER)


def canonical_request(built: Request, signed: list[str], payload: str) -> str:
    pairs = [pair.partition("=")[::2] for pair in built.query.split("&") if pair]
    # Both names and values are sorted and written in the canonical encoding.
    query = sorted((quote(unquote(n), safe="-._~"), quote(unquote(v), safe="-._~")) for n, v in pairs)
    values = {
        name: ",".join(" ".join(v.split()) for known, v in built.headers if known.lower() == name)
        for name in signed
    }
    return "\n".join(
        [
            built.method,
            built.path,
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{values[name]}" for name in signed),
            "",
            ";".join(signed),
            payload,
        ]
    )


def send(built: Request, target: Target, seconds: float = 60) -> Response:
    """Sends the request unchanged on its own connection."""
    if target.scheme == "https":
        context = ssl.create_default_context(cafile=target.ca_file)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", target.port, timeout=seconds, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=seconds)
    try:
        connection.putrequest(built.method, built.line, skip_host=True, skip_accept_encoding=True)
        for name, value in built.headers:
            connection.putheader(name, value.encode())
        connection.endheaders(built.body or None)
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def ask(target: Target, method: str, bucket: str = "", key: str | bytes = "", **parts) -> Response:
    """Builds, signs and sends one request: the usual case."""
    return send(sign(request(target, method, bucket, key, **parts), target), target)


def _now(offset: datetime.timedelta) -> str:
    return (datetime.datetime.now(datetime.timezone.utc) + offset).strftime("%Y%m%dT%H%M%SZ")
