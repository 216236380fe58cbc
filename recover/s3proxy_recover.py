#!/usr/bin/env python3
"""Opens one object that s3proxy stored, without s3proxy. The format: docs/format.md.

Needs the stored file, the object's envelope (the value of its metadata header, `s3p1.…`), its key
(and bucket, if the envelope is bound to it) and the key-encryption key. The envelope of an object
of Intrinsec's proxy is 80 hexadecimal digits; these objects also need the value of the metadata
header `…-kek-ver`, if there is one. Writes the plaintext only if everything is authentic, and
refuses the object otherwise. Cannot be used if only a key service has the key-encryption key.
"""

import argparse
import base64
import hashlib
import os
import re
import sys
import tempfile

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

CHUNK, TAG, HEAD = 16384, 16, 56
PADDED_FROM = 5 * 1024 * 1024
PIECE = 64 * (CHUNK + TAG)
OLDER_NONCE, OLDER_MOST = 12, 2**31 - 1
CHECKSUM_BYTES = {None: 0, "CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


class Refused(Exception):
    """The object, its envelope or the key is not as expected."""


def need(condition, message):
    if not condition:
        raise Refused(message)


# --- lengths -------------------------------------------------------------------------------


def message_length(plain):
    return HEAD + TAG + plain + TAG * (plain // CHUNK)


def tail_length(plain):
    return 160 * min(plain // PADDED_FROM + 1, 10000) + 512


def stored_length(plain):
    if plain < PADDED_FROM:
        return message_length(plain)
    return plain + TAG * (plain // CHUNK) + tail_length(plain)


def plaintext_length(stored):
    low, high = 0, stored
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if stored_length(middle) < stored else (low, middle)
    need(stored_length(low) == stored, f"no object has a stored length of {stored} bytes")
    return low


# --- base64url and CBOR, canonical or refused ------------------------------------------------


def base64url(text):
    need(re.fullmatch(r"[A-Za-z0-9_-]*", text), "not unpadded base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("not unpadded base64url") from None
    need(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "not canonical base64url")
    return data


def cbor_item(data, at, depth=0):
    """The item at `at` and its end: integers, bytes, text and maps, shortest form only."""
    need(at < len(data) and depth < 8, "damaged CBOR")
    major, size = data[at] >> 5, data[at] & 31
    at += 1
    if size < 24:
        number = size
    else:
        need(size < 28, "CBOR of indefinite length")
        width = 1 << size - 24
        number = int.from_bytes(data[at : at + width], "big")
        need(len(data) >= at + width and number >= max(24, 1 << 4 * width), "CBOR is not shortest")
        at += width
    if major == 0:
        return number, at
    if major in (2, 3):
        need(number <= len(data) - at, "damaged CBOR")
        content = data[at : at + number]
        return (content if major == 2 else content.decode()), at + number
    need(major == 5 and number <= len(data), "unexpected CBOR")
    pairs, last = {}, b""
    for _ in range(number):
        key, after = cbor_item(data, at, depth + 1)
        need(not isinstance(key, dict) and data[at:after] > last, "CBOR keys do not ascend")
        last = data[at:after]
        pairs[key], at = cbor_item(data, after, depth + 1)
    return pairs, at


def cbor_map(data, **types):
    """A map with the given keys (`k1=int`, …); other keys below 32 are refused."""
    try:
        fields, end = cbor_item(data, 0)
    except UnicodeDecodeError:
        raise Refused("damaged CBOR") from None
    need(isinstance(fields, dict) and end == len(data), "not one CBOR map")
    for key, value in fields.items():
        need(isinstance(key, int), "a key that is no number")
        known = types.get(f"k{key}")
        need(known or key >= 32, f"unknown key {key}")
        need(not known or isinstance(value, known), f"wrong value of key {key}")
    return fields


# --- keys ------------------------------------------------------------------------------------


def expand(key, info, length):
    return HKDFExpand(algorithm=SHA512(), length=length, info=info).derive(key)


def kek_of(configured):
    need(configured, "the encryption key is empty")
    if configured.lstrip().lower().startswith("s3pk1."):
        need(configured.startswith("s3pk1."), "not a canonical s3pk1. key")
        kek = base64url(configured[6:])
        need(len(kek) == 32, "not a canonical s3pk1. key")
        return kek
    stretch = Argon2id(
        salt=b"s3proxy/v1/kek", length=32, iterations=3, lanes=1, memory_cost=64 * 1024
    )
    return stretch.derive(configured.encode())


def local_name(kek):
    return "local:" + expand(kek, b"s3proxy/v1/key-id", 8).hex()


def read_envelope(value):
    need(value.startswith("s3p1."), "the envelope does not start with s3p1.")
    envelope = cbor_map(
        base64url(value[5:]), k1=int, k2=str, k3=bytes, k4=bytes, k5=int, k6=bytes, k7=bytes
    )
    need({1, 2, 3, 5} <= envelope.keys(), "the envelope lacks a field")
    need(envelope[1] in (1, 2), f"unknown layout {envelope[1]}")
    need(envelope[5] < 8, f"unknown flags {envelope[5]}")
    need(len(envelope[3]) == 40, "the wrapped key does not have 40 bytes")
    need((4 in envelope) == (envelope[1] == 1), "head and layout disagree")
    need(len(envelope.get(4, bytes(HEAD))) == HEAD, "the head does not have 56 bytes")
    need((6 in envelope) == bool(envelope[5] & 2), "private map and flags disagree")
    return envelope


def binding_of(envelope, bucket, key):
    binding = b"s3proxy/v1/wrap\0" + bytes([envelope[1], envelope[5]])
    if envelope[5] & 4:
        need(0 < len(bucket) < 256, "the envelope is bound to its bucket: name it")
        binding += bytes([len(bucket)]) + bucket
    return binding + (key if envelope[5] & 1 else b"")


def unwrap(envelope, kek, binding):
    name = local_name(kek)
    if envelope[2].startswith("local:"):
        need(envelope[2] == name, f"the envelope names the key {envelope[2]}, this is {name}")
    try:
        dek = aes_key_unwrap_with_padding(expand(kek, binding, 32), envelope[3])
    except (InvalidUnwrap, ValueError):
        dek = b""
    need(len(dek) == 32, "the wrapped key does not open: other encryption key, object key or bucket")
    return dek


# --- bodies ----------------------------------------------------------------------------------


def open_message(dek, context, source, plain, write, start=None):
    """Opens a message with `plain` plaintext bytes at the source's position."""
    left = message_length(plain)
    decryptor = Cobblestone256Decryptor(dek, context=context)
    written = 0
    try:
        while left:
            piece = source.read(min(left, PIECE))
            need(piece, "the stored file ends early")
            if start is not None:
                need(piece.startswith(start), "the body does not start as it should")
                start = None
            left -= len(piece)
            written += write(decryptor.update(piece))
        written += write(decryptor.finalize())
    except (InvalidTag, ValueError):
        raise Refused("the body is not authentic for this key, length and place") from None
    need(written == plain, "the body has another length than it should")


def open_seal(dek, source, stored, plain):
    """The parts, as (frame, plaintext length, mark), checked against the stored length."""
    source.seek(stored - tail_length(plain))
    tail = source.read()
    size = int.from_bytes(tail[-12:-8], "big")
    need(tail[-8:] == b"s3p1seal" and size <= len(tail) - 12, "the body has no footer")
    decryptor = Cobblestone256Decryptor(dek, context=b"s3proxy/v1/seal")
    seal_at = len(tail) - 12 - size
    try:
        listed = decryptor.update(tail[seal_at:-12]) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise Refused("the seal is not authentic") from None
    map_end = 2 + int.from_bytes(listed[:2], "big")
    need(map_end <= 258 and map_end <= len(listed), "the seal is damaged")
    fields = cbor_map(listed[2:map_end], k1=dict, k3=bytes, k4=str, k5=str)
    need(fields.get(5) in CHECKSUM_BYTES, "unknown algorithm of part checksums")
    width = 16 + CHECKSUM_BYTES[fields.get(5)]
    need((len(listed) - map_end) % width == 0, "the seal is damaged")
    parts, last = [], 0
    for at in range(map_end, len(listed), width):
        number = int.from_bytes(listed[at : at + 2], "big")
        need(last < number <= 10000, "the part numbers do not ascend from 1 to 10000")
        frame, last = listed[at : at + 8], number
        parts.append((frame, int.from_bytes(frame[2:], "big"), listed[at + 8 : at + 16]))
    need(sum(length for _, length, _ in parts) == plain, "the parts do not add up")
    zeros = stored - 12 - size - sum(message_length(length) for _, length, _ in parts)
    need(0 <= zeros <= seal_at and not any(tail[seal_at - zeros : seal_at]), "wrong padding")
    return parts


def open_body(dek, envelope, source, stored, write):
    plain = plaintext_length(stored)
    if envelope[1] == 2 and plain >= PADDED_FROM:
        parts = open_seal(dek, source, stored, plain)
        source.seek(0)
        for frame, length, mark in parts:
            if any(mark):
                at = source.tell()
                need(source.read(HEAD)[24:32] == mark, "a part is not the one that was sealed")
                source.seek(at)
            open_message(dek, b"s3proxy/v1/part\0" + frame, source, length, write)
        return
    context = b"s3proxy/v1/object\0" + plain.to_bytes(8, "big")
    open_message(dek, context, source, plain, write, envelope.get(4))
    need(not any(source.read()), "wrong padding")


def open_private(dek, envelope, binding):
    if 6 not in envelope:
        return {}
    decryptor = Cobblestone256Decryptor(dek, context=b"s3proxy/v1/private\0" + binding)
    try:
        content = decryptor.update(envelope[6]) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise Refused("the sealed metadata is not authentic") from None
    return cbor_map(content, k1=dict, k2=dict, k4=str)


# --- objects of Intrinsec's proxy --------------------------------------------------------------


def older_kek(configured, version):
    """The key derived from any text: up to 1.7 without a version, from 1.8.0 on version `1`."""
    need(configured, "the encryption key is empty")
    text = configured.encode()
    if version == "1":
        salt = hashlib.sha256(b"s3proxy-kek-salt-v1").digest()
        return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"s3proxy/kek/v1").derive(text)
    need(version == "", f"KEK version {version!r}: a newer version of Intrinsec's s3proxy wrote the "
         "object; look for a newer version of this script")
    return hashlib.sha256(text).digest()


def older_dek(wrapped, keks):
    for kek in keks:
        try:
            dek = aes_key_unwrap_with_padding(kek, wrapped)
        except (InvalidUnwrap, ValueError):
            continue
        if len(dek) == 32:
            return dek
    raise Refused("the wrapped key does not open: other encryption key or KEK version")


def open_older(dek, source, stored, write):
    """Opens the object's only message, which has to fit into memory."""
    need(stored >= OLDER_NONCE + TAG, f"no object of an older proxy has {stored} bytes")
    need(stored <= OLDER_MOST, "too long for this script; `s3proxy recover` opens it")
    nonce = source.read(OLDER_NONCE)
    try:
        write(AESGCMSIV(dek).decrypt(nonce, source.read(), None))
    except InvalidTag:
        raise Refused("the body is not authentic for this key") from None


def recover(stored_path, envelope_value, bucket, key, configured, out_path,
            kek_version="", zero_key=False):
    """Writes the plaintext to `out_path` and returns the private map, or raises `Refused`."""
    if re.fullmatch(r"[0-9A-Fa-f]{80}", envelope_value):
        keks = [older_kek(configured, kek_version)] + [bytes(32)] * zero_key
        dek, private = older_dek(bytes.fromhex(envelope_value), keks), {}
        opener = lambda *body: open_older(dek, *body)
    else:
        envelope = read_envelope(envelope_value)
        binding = binding_of(envelope, bucket, key)
        dek = unwrap(envelope, kek_of(configured), binding)
        private = open_private(dek, envelope, binding)
        opener = lambda *body: open_body(dek, envelope, *body)
    folder = os.path.dirname(os.path.abspath(out_path))
    with open(stored_path, "rb") as source:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".s3proxy-recover-")
        try:
            with os.fdopen(handle, "wb") as target:
                opener(source, os.fstat(source.fileno()).st_size, target.write)
                target.flush()
                os.fsync(target.fileno())
            os.replace(temporary, out_path)
        except BaseException:
            os.unlink(temporary)
            raise
    return private


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stored", required=True, help="file with the object as the backend has it")
    parser.add_argument("--envelope", required=True, help="value of its metadata header: s3p1.…, or "
                        "80 hexadecimal digits of Intrinsec's proxy")
    parser.add_argument("--kek-version", default="", help="value of the metadata header …-kek-ver "
                        "beside these digits, where there is one")
    parser.add_argument("--decryption-fallback", action="store_true", help="also try the all-zero "
                        "key, which faulty versions of the older proxies used")
    parser.add_argument("--key", required=True, help="its object key")
    parser.add_argument("--bucket", default="", help="its bucket, where the envelope is bound to it")
    parser.add_argument("--kek-file", help="file with the encryption key: s3pk1.… or a passphrase; "
                        "without it, S3PROXY_ENCRYPT_KEY of the environment")
    parser.add_argument("--out", required=True, help="file to write")
    args = parser.parse_args()
    try:
        if args.kek_file:
            with open(args.kek_file, encoding="utf-8") as file:
                configured = re.sub(r"\r?\n\Z", "", file.read())
        else:
            configured = os.environ.get("S3PROXY_ENCRYPT_KEY", "")
        private = recover(args.stored, args.envelope, os.fsencode(args.bucket),
                          os.fsencode(args.key), configured, args.out,
                          args.kek_version.strip(), args.decryption_fallback)
    except (Refused, OSError, UnicodeDecodeError) as error:
        sys.exit(f"refused: {error}")
    for name, value in sorted(private.get(2, {}).items()):
        print(f"{name}: {value.decode('utf-8', 'backslashreplace')}")


if __name__ == "__main__":
    main()
