"""Browser forms for PostObject, signed and encoded here, with every part open to change.

A form is its fields in order, followed by a file. `policy_of` covers every field exactly; `signed`
adds policy and signature; `encode` writes the bytes that a browser would send, and `post` sends
them. A test breaks a form between any two of these steps.
"""

import base64
import datetime
import json
from dataclasses import dataclass, field

import raw
from target import Target

BOUNDARY = "----FormBoundaryOfTheSuite"


@dataclass
class Form:
    key: str
    content: bytes = b""
    fields: dict[str, str] = field(default_factory=dict)
    file_name: str = "picture.png"

    def pairs(self) -> list[tuple[str, str]]:
        return [("key", self.key), *self.fields.items()]


def policy_of(form: Form, bucket: str, *more, covered: bool = True) -> dict:
    """A policy with the exact value of every field, and `more` conditions, for ten minutes."""
    exact = [{name: value} for name, value in form.pairs()] if covered else []
    return {"expiration": moment(minutes=10), "conditions": [{"bucket": bucket}, *exact, *more]}


def moment(**later) -> str:
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**later)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def signed(form: Form, target: Target, policy: dict, *, secret_key: str | None = None) -> Form:
    """Adds the fields of the signature to the form, and conditions for them to the policy."""
    time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    signing = raw.Signing(time, target.region, secret_key or target.credential.secret_key)
    form.fields |= {
        "x-amz-algorithm": raw.ALGORITHM,
        "x-amz-credential": f"{target.credential.access_key}/{signing.scope}",
        "x-amz-date": time,
    }
    own = [{name: form.fields[name]} for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date")]
    document = policy | {"conditions": policy["conditions"] + own}
    text = base64.b64encode(json.dumps(document).encode()).decode()
    form.fields |= {"policy": text, "x-amz-signature": signing.signature(text)}
    return form


def encode(form: Form, *, end: bytes = b"\r\n", boundary: str = BOUNDARY) -> bytes:
    return head(form, boundary) + form.content + f"\r\n--{boundary}--".encode() + end


def head(form: Form, boundary: str = BOUNDARY) -> bytes:
    """All bytes before the first byte of the file."""
    fields = b"".join(one_field(name, value, boundary) for name, value in form.pairs())
    disposition = f'Content-Disposition: form-data; name="file"; filename="{form.file_name}"'
    return fields + f"--{boundary}\r\n{disposition}\r\nContent-Type: a/b\r\n\r\n".encode()


def one_field(name: str, value: str, boundary: str = BOUNDARY) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{boundary}\r\n{disposition}\r\n\r\n{value}\r\n".encode()


def request(target: Target, bucket: str, body: bytes, **headers: str) -> raw.Request:
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return raw.request(target, "POST", bucket, headers=kind | headers, body=body)


def post(target: Target, bucket: str, form: Form, **headers: str) -> raw.Response:
    return raw.send(request(target, bucket, encode(form), **headers), target)
