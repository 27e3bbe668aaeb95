"""What fuzzing starts from and what it found: none of it may break a promise again."""

from __future__ import annotations

import random

import pytest

from fuzz.seeds import FOUND, requests, seeds, twist
from fuzz.targets import TARGETS, sweep
from pinpoint.store.vectors.rpc import codec


@pytest.fixture(scope="module", autouse=True)
def _swept():
    yield
    sweep()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, as in the decoding child
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_seeds_and_findings_hold(target):
    assert len(seeds(target)) > len(FOUND.get(target, []))
    for data in seeds(target):
        TARGETS[target](data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_few_seeded_mutants_hold(target):
    """The same without atheris, and the same on every machine."""
    rng = random.Random(5)
    for number in range(300):
        data = rng.choice(seeds(target)[:12])
        if target == "frames" and number % 3:
            TARGETS[target](twist(data, 20_000, number) or data)
            continue
        changed = bytearray(data[: rng.randrange(1, len(data) + 1)])
        for _ in range(rng.choice((1, 3, 9))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        TARGETS[target](bytes(changed))


def test_every_verb_is_fuzzed():
    from pinpoint.store.vectors.rpc.handlers import HANDLERS
    from pinpoint.store.vectors.rpc.server import OWNER_HANDLERS, READS, WRITES

    assert {fields["verb"] for fields, _ in requests()} | {"rebuild"} == {
        *HANDLERS,
        *OWNER_HANDLERS,
    }
    assert READS | set(WRITES) <= set(HANDLERS)
    frame = codec.encode({"verb": "ping"})
    assert twist(frame, 20_000, 1) is not None
    assert twist(b"no frame", 20_000, 1) is None
