"""What would be kept from a question, had it been taken in another of the candidates' towns.

A question's own author and sequence are kept from it, so near the truth the gallery is thinner than
elsewhere, and that can be seen: sets of evidence are short, or reach farther. A network finds the
truth by it without a look at the pictures, and in serving nothing is kept out. So in training every
town loses as much in the same way: what one of its photos would have kept from its own question.
Then the gallery is read again, for what stands behind moves up everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.evaluation.labels import Question
from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.ports import CatalogueReader
from pinpoint.records import Candidate, Evidence, Exclusions

TOWN_M: Final = 30_000.0
"""Candidates so near to an earlier one are of its town; as far as a photo supports the truth, and a
little more."""

Near = Mapping[UUID, Sequence[Evidence]]


def as_if_elsewhere(
    question: Question,
    candidates: Sequence[Candidate],
    near: Near,
    *,
    exclusions: Exclusions,
    reader: CatalogueReader,
) -> Exclusions:
    """What is kept out for the question, and for one of the photos of every other town.

    Questions from which nothing was kept are asked as in serving, and get nothing more.

    Args:
        question: Names the photos that are chosen, too: the same question, the same choice.
        candidates: Of the question.
        near: Their evidence; a town's photo is one of it, of the question's kind.
        exclusions: Of the question, by ids.
        reader: The organisation's rows.
    """
    if not exclusions.ids:
        return exclusions
    chosen = list(_one_of_each(question, candidates, near))
    images = reader.images(chosen).values()
    gone = reader.ids_by(
        hashes=(),
        creators=sorted({each.creator for each in images if each.creator}),
        sequences=sorted({each.sequence for each in images if each.sequence}),
    )
    return replace(exclusions, ids=tuple(sorted({*exclusions.ids, *chosen, *gone})))


def _one_of_each(question: Question, candidates: Sequence[Candidate], near: Near) -> Iterator[UUID]:
    """A photo of each town but that of the truth."""
    name = hashlib.sha256(question.file.encode()).digest()
    dice = np.random.default_rng(int.from_bytes(name[:8]))
    for town in _towns(question, candidates):
        there = {
            photo.id
            for each in town
            for photo in near[each.id]
            if question.kind in (None, photo.kind)
        }
        if there:
            yield sorted(there)[dice.integers(len(there))]


def _towns(question: Question, candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates by town, without those at the truth; each is of the first in reach."""
    if not candidates:
        return []
    places = unit_xyz(lat_lon([each.point for each in candidates]))
    here = unit_xyz(lat_lon([question.truth]))[0]
    least = np.cos(TOWN_M / EARTH_RADIUS_M)
    first, at_truth = (places @ places.T > least).argmax(1), places @ here > least
    towns: dict[int, list[Candidate]] = {}
    for each, town, there in zip(candidates, first.tolist(), at_truth.tolist(), strict=True):
        if not there:
            towns.setdefault(town, []).append(each)
    return list(towns.values())
