"""Candidate slots in training, compared with those of the search."""

from __future__ import annotations

import uuid
from dataclasses import replace
from itertools import product

import numpy as np

from pinpoint.nets.reranker.inputs import EmbeddingTable, InputShape, row_dtype
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, SOURCE_KINDS, Hit, Point
from pinpoint.search.candidate_slots import CandidateSlots
from pinpoint.training.reranker.config import AugmentationConfig
from pinpoint.training.reranker.objective import augment, collate
from pinpoint.training.reranker.slots import channel_scores, reassign_slots, select_slots
from search.slots_by_loop import slots_by_loop

MAX_CANDIDATES, DIM, PER_KIND = 20, 6, 2
NOTHING = AugmentationConfig(
    drop_evidence=0.0,
    drop_evidence_photo=0.0,
    drop_gps_channel=0.0,
    drop_source_kind=0.0,
    drop_region=0.0,
)


_CHANNEL_SETS = np.array([flags for flags in product((0, 1), repeat=3) if any(flags)])


def random_rows(queries=40, seed=4):
    """Random example rows of hits from some of the channels, and the vectors of their images."""
    rng = np.random.default_rng(seed)
    ids = [uuid.UUID(int=number + 1) for number in range(30)]
    vectors = {
        each: {IMAGE_CHANNEL: rng.normal(size=DIM), GPS_CHANNEL: rng.normal(size=DIM)}
        for each in ids
    }
    rows = np.zeros(
        queries, row_dtype(InputShape(dim=DIM, candidates=MAX_CANDIDATES, per_kind=PER_KIND))
    )
    for row in rows:
        count = rng.integers(3, MAX_CANDIDATES + 1)
        row["query"] = rng.normal(size=DIM)
        row["present"][:count] = True
        row["id"][:count] = [ids[n].bytes for n in rng.permutation(30)[:count]]
        row["kind"][:count] = rng.random(count) < rng.random()
        row["in_channel"][:count] = _CHANNEL_SETS[rng.integers(0, len(_CHANNEL_SETS), count)]
        row["raw_score"][:count] = np.where(row["in_channel"][:count, 2], rng.random(count), 0.0)
        row["evidence_distance_m"], row["evidence_present"] = (
            rng.random((MAX_CANDIDATES, 2 * PER_KIND)),
            True,
        )
    return rows, EmbeddingTable.of(vectors, DIM, np.float32)


def selected_by_loop(row, row_scores, slots):
    """Ids that `slots_by_loop` selects from the hits of the three channels."""
    channels = []
    for channel, scores in enumerate(row_scores.T):
        hits = [
            Hit(
                id=uuid.UUID(bytes=bytes(row["id"][slot]).ljust(16, b"\0")),
                score=float(scores[slot]),
                version=1,
                source_id=uuid.UUID(int=0),
                kind=SOURCE_KINDS[row["kind"][slot]],
                point=Point(lat=0.0, lon=0.0),
                captured_at=None,
                group=str(slot),
            )
            for slot in np.flatnonzero(row["present"] & row["in_channel"][:, channel])
        ]
        channels.append([[hit for hit in hits if hit.kind == kind] for kind in SOURCE_KINDS])
    image, gps, raw = channels
    selected = slots_by_loop(
        image,
        gps if slots.gps_quota else None,
        slots,
        dedupe_m=0.0,
        raw=raw if slots.raw_quota else None,
    )
    return {image_id.bytes.rstrip(b"\0") for image_id in selected}


def test_reassign_slots_agrees_with_search():
    rows, photos = random_rows()
    scores = channel_scores(rows, photos)
    for quotas in ((8, 2), (12, 0), (5, 4), (8, 2, 2), (12, 0, 4), (5, 2, 3), (6, 0, 6)):
        slots = CandidateSlots(*quotas)
        chosen = reassign_slots(rows, rows["present"], scores, slots)
        assert (chosen.sum(1) <= slots.candidates).all()
        for row, selected, row_scores in zip(rows, chosen, scores, strict=True):
            assert set(row["id"][selected].tolist()) == selected_by_loop(row, row_scores, slots)


def test_select_slots_keeps_chosen_candidates_in_order():
    rows, _ = random_rows()
    chosen = rows["present"] & (np.random.default_rng(1).random(rows["present"].shape) < 0.4)
    chosen &= chosen.cumsum(axis=1) <= 7
    found = select_slots(rows, chosen, 7)
    assert found["id"].shape == (len(rows), 7)
    for row, selected, result in zip(rows, chosen, found, strict=True):
        count = int(selected.sum())
        assert result["present"].tolist() == [True] * count + [False] * (7 - count)
        for name in ("id", "kind", "in_channel", "raw_score", "evidence_distance_m"):
            assert result[name][:count].tolist() == row[name][selected].tolist()
        assert not result["evidence_present"][count:].any()
        assert result["query"].tolist() == row["query"].tolist()


def test_augment_with_dropped_region_refills_slots(examples):
    """A gallery without the region would return as many candidates, and so does training."""
    _, found = examples
    rows = np.arange(len(found.rows))
    few = replace(found, slots=CandidateSlots(8, 1))
    before = collate(few, rows)
    after = augment(few, rows, 3, 0, NOTHING.model_copy(update={"drop_region": 1.0}))
    everyone = augment(found, rows, 3, 0, NOTHING.model_copy(update={"drop_region": 1.0}))
    left = everyone.inputs.present.sum(1).numpy()
    assert before.inputs.present.shape == (len(rows), 8)
    assert after.inputs.present.sum(1).tolist() == np.minimum(left, 8).tolist()
    hidden = before.in_gallery & ~after.in_gallery
    assert hidden.any()
    assert (after.distance_km()[hidden][after.inputs.present.numpy()[hidden]] > 25.0).all()
    changed = (before.inputs.position != after.inputs.position).any(-1).any(-1).numpy()
    assert changed[hidden].any()
    assert (left[hidden] >= 8).any(), "some queries have all slots filled"
