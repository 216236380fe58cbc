"""Stored bodies flipped, cut, extended, reordered, exchanged: no wrong byte reaches a client."""

import pytest

from content import LARGE, content
from sealed import Stored
from tampering import (
    CHUNK,
    FIVE_MIB,
    HEAD,
    SEALED_CHUNK,
    Vault,
    assert_detected,
    assert_only_plaintext,
    assert_refused_outright,
    sealed_length,
)

SIZES = {
    "empty": 0,
    "one-chunk": 100,
    "whole-chunks": 3 * CHUNK,
    "four-chunks": 3 * CHUNK + 100,
    "streamed": LARGE,
    "padded": FIVE_MIB + 1000,
}


@pytest.fixture(scope="module")
def vault(debugging, touched):
    return Vault(debugging, touched)


@pytest.fixture(scope="module", params=SIZES.values(), ids=SIZES)
def original(request, vault):
    """Plaintext and stored form of one size; tests alter copies of it."""
    size = request.param
    key = f"original-{size}"
    plaintext = content(size)
    return key, plaintext, vault.seal(key, plaintext)


def offsets(size, stored):
    """One offset in every region, by the region's name."""
    end = sealed_length(size)
    last_chunk = HEAD + size // CHUNK * SEALED_CHUNK
    middle = size // CHUNK // 2
    regions = {
        "salt": 3,
        "commitment": 24 + 17,
        "first chunk": HEAD + 7,
        "tag of the first chunk": HEAD + min(size, CHUNK) + 5,
        "middle chunk": HEAD + middle * SEALED_CHUNK + 11,
        "last chunk": last_chunk,
        "last tag": end - 1,
        "first byte of padding": end,
        "last byte of padding": len(stored) - 1,
    }
    return {name: offset for name, offset in regions.items() if offset < len(stored)}


def flipped(stored: bytes, offset: int) -> bytes:
    return stored[:offset] + bytes([stored[offset] ^ 0x20]) + stored[offset + 1 :]


def chunk_at(offset: int) -> int:
    return (offset - HEAD) // SEALED_CHUNK


def test_untouched_object_is_read_whole_and_in_ranges(vault, original):
    key, plaintext, _ = original
    whole = vault.read(key)
    assert (whole.status, whole.body, whole.complete) == (200, plaintext, True)
    for span, expected in ranges(plaintext):
        answer = vault.read(key, span)
        assert (answer.status, answer.body, answer.complete) == (206, expected, True)


def ranges(plaintext):
    """Ranges that begin and end inside, at the edges of and across chunks."""
    size = len(plaintext)
    spans = [(0, 0), (size - 1, size - 1), (size // 2, size // 2 + 9), (CHUNK - 5, CHUNK + 5)]
    spans += [(0, size - 1), (2 * CHUNK, 3 * CHUNK - 1)]
    return [
        (f"{first}-{last}", plaintext[first : last + 1])
        for first, last in spans
        if 0 <= first <= last < size
    ]


def test_flipped_byte_is_detected_in_every_region(vault, original):
    key, plaintext, stored = original
    for region, offset in offsets(len(plaintext), stored.body).items():
        vault.plant(key, Stored(flipped(stored.body, offset), stored.metadata))
        answer = vault.read(key)
        assert_detected(answer, plaintext)
        if offset < HEAD + SEALED_CHUNK:
            assert_refused_outright(answer)
        for span, expected in ranges(plaintext):
            answer = vault.read(key, span)
            assert_only_plaintext(answer, expected)
            first, last = (int(edge) // CHUNK for edge in span.split("-"))
            if HEAD <= offset < sealed_length(len(plaintext)) and first <= chunk_at(offset) <= last:
                assert_detected(answer, expected)
    vault.plant(key, stored)


@pytest.mark.parametrize("original", [LARGE, FIVE_MIB + 1000], indirect=True)
def test_late_fault_breaks_the_connection_off(vault, original):
    key, plaintext, stored = original
    last = sealed_length(len(plaintext)) - 1
    vault.plant(key, Stored(flipped(stored.body, last), stored.metadata))
    answer = vault.read(key)
    assert answer.status == 200
    assert 0 < len(answer.body) < answer.announced == len(plaintext)
    assert plaintext.startswith(answer.body)
    vault.plant(key, stored)


def test_every_change_of_length_is_refused_outright(vault, original):
    key, plaintext, stored = original
    size, body = len(plaintext), stored.body
    end = sealed_length(size)
    changed = {
        "nothing left": b"",
        "head alone": body[:HEAD],
        "head cut": body[: HEAD - 1],
        "one byte less": body[:-1],
        "last chunk gone": body[: HEAD + size // CHUNK * SEALED_CHUNK],
        "one chunk left": body[: HEAD + SEALED_CHUNK],
        "half": body[: len(body) // 2],
        "no padding": body[:end],
        "a zero more": body + b"\0",
        "a tag more": body + bytes(16),
        "last chunk twice": body + body[HEAD + size // CHUNK * SEALED_CHUNK : end],
        "twice": body + body,
    }
    for alteration, altered in changed.items():
        if altered == body:
            continue
        vault.plant(key, Stored(altered, stored.metadata))
        assert_refused_outright(vault.read(key))
        # In a body that is too short, the range may lie beyond the end.
        assert vault.read(key, "-1").status in (500, 416), alteration
    vault.plant(key, stored)


@pytest.mark.parametrize(
    "original", [3 * CHUNK, 3 * CHUNK + 100, LARGE, FIVE_MIB + 1000], indirect=True
)
def test_exchanged_or_doubled_chunks_are_detected(vault, original):
    key, plaintext, stored = original
    chunks = len(plaintext) // CHUNK
    body = stored.body
    chunk = [
        body[at : at + SEALED_CHUNK]
        for at in range(HEAD, HEAD + chunks * SEALED_CHUNK, SEALED_CHUNK)
    ]
    rest = body[HEAD + chunks * SEALED_CHUNK :]
    orders = [
        [1, 0, *range(2, chunks)],
        [*range(chunks - 2), chunks - 1, chunks - 2],
        [0, 0, *range(2, chunks)],
        [*range(chunks - 1), 0],
    ]
    for order in orders:
        vault.plant(
            key, Stored(body[:HEAD] + b"".join(chunk[n] for n in order) + rest, stored.metadata)
        )
        assert_detected(vault.read(key), plaintext)
        wrong = next(place for place, number in enumerate(order) if place != number)
        assert_refused_outright(vault.read(key, f"{wrong * CHUNK}-{wrong * CHUNK + 9}"))
        third = 2 * CHUNK
        assert_only_plaintext(vault.read(key, f"{third}-{third}"), plaintext[third : third + 1])
    vault.plant(key, stored)


@pytest.mark.parametrize("size", [100, 3 * CHUNK + 100, LARGE])
def test_exchanged_objects_are_refused_outright(vault, prefix, size):
    one, two = content(size, "one"), content(size, "two")
    keys = [prefix + "one", prefix + "two"]
    first, second = (vault.seal(key, text) for key, text in zip(keys, (one, two), strict=True))
    exchanges = {
        "bodies": (Stored(second.body, first.metadata), Stored(first.body, second.metadata)),
        "envelopes": (Stored(first.body, second.metadata), Stored(second.body, first.metadata)),
        "both": (second, first),
    }
    for planted in exchanges.values():
        for key, stored in zip(keys, planted, strict=True):
            vault.plant(key, stored)
            assert_refused_outright(vault.read(key))
            for span in ("0-0", f"{size // 2}-{size // 2 + 5}", "-1"):
                assert_refused_outright(vault.read(key, span))


def test_object_moved_to_another_key_is_refused_outright(vault, prefix):
    stored = vault.seal(prefix + "own", content(LARGE))
    for key in ("moved", "moved/own", "Own", "own%20"):
        vault.plant(prefix + key, stored)
        assert_refused_outright(vault.read(prefix + key))
        assert_refused_outright(vault.read(prefix + key, "0-9"))
        assert vault.read(prefix + key, method="HEAD").status in (200, 500)


def test_object_is_opened_under_its_own_key_again(vault, prefix):
    key = prefix + "own"
    stored = vault.seal(key, content(LARGE))
    vault.plant(key, stored)
    assert vault.read(key).body == content(LARGE)
