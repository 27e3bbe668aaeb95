"""Mutants of signed photos: every one is answered, and the reading of pixels is not affected.

make trial TESTS=tests/trials/test_c2pa_mutants.py
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

pytest.importorskip("c2pa", reason="the extra pinpoint[c2pa] is not installed")

from media.c2pa_photos import assertion, created, metadata, sign
from media.pictures import noise, saved
from pinpoint.media.c2pa.reader import C2paReader
from pinpoint.settings import MediaSettings

MUTANTS_PER_PHOTO = 250
SEED = 24


def sign_photos() -> list[tuple[str, bytes]]:
    """Photos of four formats; one with nested manifests."""
    photos = [
        (kind, sign(saved(noise(), kind.upper()), [metadata()], media_type=f"image/{kind}"))
        for kind in ("jpeg", "png", "webp")
    ]
    place = {"contentLocation": {"geo": {"latitude": 1.0, "longitude": 2.0}}}
    nested = sign(photos[0][1], [assertion("stds.schema-org.CreativeWork", place), created()])
    for _ in range(4):
        nested = sign(nested, parent=nested)
    return [*photos, ("nested", nested)]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change one to eight places in or near the manifest: bits, numbers, cuts and repetitions."""
    mutant = bytearray(data)
    first = data.index(b"c2pa")
    end = min(len(data), data.rindex(b"c2pa") + 4_000)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(max(0, first - 60), min(end, len(mutant)))
        kind = rng.randrange(5)
        if kind == 0:
            mutant[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            mutant[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        elif kind == 2:
            del mutant[at : at + rng.randint(1, 200)]
        elif kind == 3:
            mutant[at:at] = mutant[at : at + rng.randint(1, 200)] * rng.randint(1, 20)
        else:
            # CBOR: deep arrays, maps, and lengths beyond the end.
            mutant[at:at] = rng.choice((b"\x81", b"\xa1\x61a", b"\x9f")) * rng.randint(1, 3_000)
    return bytes(mutant)


def test_mutants_are_answered(record_property):
    rng = random.Random(SEED)
    states: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    running = C2paReader(MediaSettings())
    for name, data in sign_photos():
        assert running.read(data).state == "valid", name
        for _ in range(MUTANTS_PER_PHOTO):
            claim = running.read(mutate(data, rng))
            states[claim.state] += 1
            if claim.state == "not_checked":
                reasons[str(claim.state_reason)] += 1
        assert running.read(data).state == "valid", name
    running.close()
    record_property("states", dict(states))
    record_property("reasons", dict(reasons))
    print(dict(states), dict(reasons))  # noqa: T201
    assert states["invalid"] > states["not_checked"]
    # A valid mutant is equal, or differs in padding, which no signature covers.
    assert states["trusted"] == 0
