"""Multipart bodies altered on the backend: an error or the plaintext, never another byte."""

import secrets
from dataclasses import replace

import pytest

from content import content
from deployment import make_bucket
from multipart_samples import FIVE_MIB, FOOTER, UNKNOWN_MARK, Part, Sample, message, part, sample
from sealed import Stored, stored_length
from tampering import Vault, assert_detected, assert_only_plaintext, assert_refused_outright

SIZES = {1: FIVE_MIB, 2: FIVE_MIB, 5: 70_000}
LENGTH = sum(SIZES.values())
SPANS = ["0-99", "40000-40099", f"{FIVE_MIB - 9}-{FIVE_MIB + 9}", f"{FIVE_MIB + 40000}-", "-99"]
FEW_READS = [("", ""), ("40000-40099", ""), ("", "partNumber=5")]
"""Range and query of reads that need the seal, each in its own way."""

PARTS = {1: (0, FIVE_MIB), 2: (FIVE_MIB, 2 * FIVE_MIB), 5: (2 * FIVE_MIB, LENGTH)}
ALL_READS = [(span, "") for span in ["", *SPANS]] + [("", f"partNumber={n}") for n in PARTS]


@pytest.fixture(scope="module")
def vault(debugging):
    return Vault(debugging, make_bucket(debugging))


@pytest.fixture(scope="module")
def original():
    return sample({number: content(size, str(number)) for number, size in SIZES.items()})


@pytest.fixture(params=["cold", "cached"])
def read_altered(request, vault, original):
    """Stores an altered form and reads it in every way, without and with a cached layout."""

    def read_altered(altered: Stored | Sample, reads: list[tuple[str, str]] = FEW_READS):
        for span, query in reads:
            key = secrets.token_hex(8)
            untouched = original.stored(vault.deployment.proxy.key, vault.bucket, key)
            if request.param == "cached":
                vault.plant(key, untouched)
                answer = vault.read(key, span, query=query)
                assert answer.body == expected(original, span, query) and answer.complete
            stored = altered
            if isinstance(altered, Sample):
                stored = altered.stored(vault.deployment.proxy.key, vault.bucket, key)
            else:
                stored = Stored(altered.body, untouched.metadata)
            vault.plant(key, stored)
            yield span, query, vault.read(key, span, query=query)

    return read_altered


def expected(made: Sample, span: str, query: str) -> bytes:
    plaintext = made.plaintext
    if query:
        first, end = PARTS[int(query.removeprefix("partNumber="))]
        return plaintext[first:end]
    if not span:
        return plaintext
    first, _, last = span.partition("-")
    if not first:
        return plaintext[-int(last) :]
    return plaintext[int(first) : int(last or LENGTH) + 1]


def flipped(body: bytes, offset: int) -> bytes:
    return body[:offset] + bytes([body[offset] ^ 0x20]) + body[offset + 1 :]


def tail_starts(body: bytes) -> tuple[int, int]:
    """The offsets at which the padding and the seal message begin."""
    seal = int.from_bytes(body[-FOOTER : -FOOTER + 4], "big")
    return sum(72 + size + 16 * (size // 16384) for size in SIZES.values()), len(body) - FOOTER - seal


def altered_tails(made: Sample) -> dict[str, bytes]:
    body = made.body()
    padding, seal = tail_starts(body)
    twin = sample({number: bytes(size) for number, size in SIZES.items()}).body()
    found = {
        "first byte of the padding": flipped(body, padding),
        "last byte of the padding": flipped(body, seal - 1),
        "salt of the seal": flipped(body, seal + 3),
        "commitment of the seal": flipped(body, seal + 40),
        "list in the seal": flipped(body, seal + 60),
        "tag of the seal": flipped(body, len(body) - FOOTER - 1),
        "magic of the footer": flipped(body, len(body) - 1),
        "longer seal": body[:-FOOTER] + (2**31).to_bytes(4, "big") + body[-8:],
        "shorter seal": body[:-FOOTER] + (16).to_bytes(4, "big") + body[-8:],
        "seal of another object": body[:padding] + twin[padding:],
        "zeros": body[:padding] + bytes(len(body) - padding),
    }
    return found | {name: body for name, body in lists(made).items()}


def lists(made: Sample) -> dict[str, bytes]:
    """Authentic seals with another list of parts."""
    first, second, last = made.parts
    other = {
        "numbers descend": [replace(first, number=2), replace(second, number=1), last],
        "a number twice": [first, replace(second, number=1), last],
        "number zero": [replace(first, number=0), second, last],
        "a part less": [first, second],
        "no parts": [],
        "another length": [first, second, replace(last, plaintext=last.plaintext[1:])],
    }
    body = made.body()
    padding, _ = tail_starts(body)
    return {name: body[:padding] + tail(made, parts) for name, parts in other.items()}


def tail(made: Sample, parts: list[Part]) -> bytes:
    seal = message(made.dek, b"s3proxy/v1/seal", replace(made, parts=parts).list())
    footer = len(seal).to_bytes(4, "big") + b"s3p1seal"
    padding, _ = tail_starts(made.body())
    room = stored_length(LENGTH) - padding - len(seal) - FOOTER
    return bytes(room) + seal + footer


TAILS = [
    "first byte of the padding",
    "last byte of the padding",
    "salt of the seal",
    "commitment of the seal",
    "list in the seal",
    "tag of the seal",
    "magic of the footer",
    "longer seal",
    "shorter seal",
    "seal of another object",
    "zeros",
    "numbers descend",
    "a number twice",
    "number zero",
    "a part less",
    "no parts",
    "another length",
]


@pytest.fixture(scope="module")
def tails(original):
    found = altered_tails(original)
    assert list(found) == TAILS
    return found


@pytest.mark.parametrize("name", TAILS)
def test_altered_tail_is_refused_before_any_byte(read_altered, tails, name):
    for _, _, answer in read_altered(Stored(tails[name], {})):
        assert_refused_outright(answer)


def swapped(made: Sample) -> Sample:
    first, second, last = made.parts
    return replace(
        made, parts=[replace(first, sealed=second.sealed), replace(second, sealed=first.sealed), last]
    )


def exchanged(made: Sample, number: int, by: bytes) -> Sample:
    """The object with the bytes of one part replaced; the seal is unchanged."""
    parts = [replace(one, sealed=by) if one.number == number else one for one in made.parts]
    return replace(made, parts=parts)


def altered_parts(made: Sample) -> dict[str, tuple[Sample, int, int]]:
    """Altered objects, with the range of plaintext positions that the alteration affects."""
    second, last = made.parts[1], made.parts[2]
    older = part(made.dek, 2, bytes(FIVE_MIB))
    foreign = part(secrets.token_bytes(32), 2, second.plaintext)
    return {
        "parts swapped": (swapped(made), 0, 2 * FIVE_MIB),
        "an older attempt": (exchanged(made, 2, older.sealed), FIVE_MIB, 2 * FIVE_MIB),
        "a part of another object": (exchanged(made, 2, foreign.sealed), FIVE_MIB, 2 * FIVE_MIB),
        "salt of a part": (exchanged(made, 5, flipped(last.sealed, 3)), 2 * FIVE_MIB, LENGTH),
        "a late chunk": (exchanged(made, 5, flipped(last.sealed, -9)), LENGTH - 4464, LENGTH),
    }


@pytest.mark.parametrize(
    "name",
    [
        "parts swapped",
        "an older attempt",
        "a part of another object",
        "salt of a part",
        "a late chunk",
    ],
)
def test_altered_part_never_gives_a_wrong_byte(read_altered, original, name):
    altered, first, end = altered_parts(original)[name]
    for span, query, answer in read_altered(altered, ALL_READS):
        wanted = expected(original, span, query)
        at = original.plaintext.index(wanted)
        assert_only_plaintext(answer, wanted)
        if at < end and first < at + len(wanted):
            assert_detected(answer, wanted)
        if first <= at < end - 65536:
            assert_refused_outright(answer)


def test_dropped_part_is_refused_before_any_byte(read_altered, original):
    first, _, last = original.parts
    body = original.body()
    padding, _ = tail_starts(body)
    rest = stored_length(FIVE_MIB + 70_000) - len(first.sealed) - len(last.sealed)
    shorter = first.sealed + last.sealed + body[padding:][-rest:]
    for _, _, answer in read_altered(Stored(shorter, {})):
        assert answer.status in (416, 500)
        assert original.plaintext[:40] not in answer.body


def test_part_whose_mark_nobody_kept_is_read(vault, original):
    unmarked = replace(original, parts=[replace(one, mark=UNKNOWN_MARK) for one in original.parts])
    key = secrets.token_hex(8)
    vault.plant(key, unmarked.stored(vault.deployment.proxy.key, vault.bucket, key))
    for span in ["", *SPANS]:
        assert vault.read(key, span).body == expected(original, span, "")


def test_object_under_another_key_is_refused_before_any_byte(vault, original):
    stored = original.stored(vault.deployment.proxy.key, vault.bucket, "its-own-key")
    vault.plant("another-key", stored)
    for span in ["", *SPANS]:
        assert_refused_outright(vault.read("another-key", span))


def test_small_upload_with_an_altered_head_is_refused_before_any_byte(vault):
    made = sample({1: content(70_000)})
    for offset in (3, 40):
        for span in ("", "0-9", "40000-40009"):
            key = secrets.token_hex(8)
            stored = made.stored(vault.deployment.proxy.key, vault.bucket, key)
            vault.plant(key, Stored(flipped(stored.body, offset), stored.metadata))
            assert_refused_outright(vault.read(key, span))
            # The refused head is not cached.
            vault.plant(key, stored)
            assert expected_slice(made, span) == vault.read(key, span).body


def expected_slice(made: Sample, span: str) -> bytes:
    first, _, last = span.partition("-")
    return made.plaintext[int(first) : int(last) + 1] if span else made.plaintext
