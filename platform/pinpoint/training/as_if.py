"""What would be kept from a question, had it been taken in another of the candidates' towns.

A question's own author and sequence are kept from it, so near the truth the gallery is thinner than
elsewhere, and that can be seen: sets of evidence are short, or reach farther. A network finds the
truth by it without a look at the pictures, and in serving nothing is kept out. So where the truth's
town has lost something, every town among the candidates loses what one of its photos would have
kept from its own question, and evidence is read again: what stands behind moves up everywhere. The
choice is the question's, the same in every step; that is the price of reading again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation.labels import Question
from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.ports import CatalogueReader
from pinpoint.records import Candidate, Evidence, Exclusions, Image, Point

TOWN_M: Final = 30_000.0
"""Candidates so near to an earlier one are of its town; as far as a photo supports the truth, and a
little more."""
_AUTHOR, _SEQUENCE = "author", "sequence"
_LEAST: Final = np.cos(TOWN_M / EARTH_RADIUS_M)

Units = NDArray[np.float64]
Near = Mapping[UUID, Sequence[Evidence]]
Gather = Callable[..., Near]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Town:
    """One of the candidates' towns, and whose photo stands for the question there."""

    place: Units
    """Unit vector `[3]` of its first candidate."""
    photo: UUID


def evened(
    question: Question,
    candidates: tuple[Candidate, ...],
    near: Near,
    *,
    asked: Exclusions,
    out: Exclusions,
    reader: CatalogueReader,
    gather: Gather,
) -> tuple[tuple[Candidate, ...], Near]:
    """Candidates and evidence, once every town has lost what that of the truth has lost.

    Args:
        question: Names the photos that are chosen, too: the same question, the same choice.
        candidates: Of the question; more than are shown, for nobody takes the place of who goes.
        near: Their evidence. A town's photo is one of it, of the question's kind.
        asked: What was to be kept out, by author and sequence.
        out: The same by ids, and what else was kept out.
        reader: The organisation's rows.
        gather: Reads evidence of candidates, without `exclusions`.
    """
    lost = _lost(question, candidates, near, asked=asked, out=out, reader=reader)
    if not lost:
        return candidates, near
    left = tuple(each for each in candidates if each.id not in lost)
    every = replace(out, ids=tuple(sorted({*out.ids, *lost})))
    return left, gather(left, exclusions=every)


def _lost(
    question: Question,
    candidates: Sequence[Candidate],
    near: Near,
    *,
    asked: Exclusions,
    out: Exclusions,
    reader: CatalogueReader,
) -> Collection[UUID]:
    """Of each town but the truth's: the chosen photo, and what its makers took there."""
    here = _units([question.truth])[0]
    missing = [each.point for each in reader.images(out.ids).values()]
    if not candidates or not (_units(missing) @ here > _LEAST).any():
        return ()  # What is missing elsewhere only tells nothing of the truth.
    towns = _towns(question, candidates, near, here)
    chosen = reader.images([each.photo for each in towns])
    kin = _kin(list(chosen.values()), asked, reader)
    places = _units([each.point for each in kin])
    lost = {each.photo for each in towns}
    for town in (each for each in towns if each.photo in chosen):
        makers = _makers(chosen[town.photo], asked)
        there = np.flatnonzero(places @ town.place > _LEAST).tolist()
        lost |= {kin[seat].id for seat in there if makers & _makers(kin[seat], asked)}
    return lost


def _kin(images: Sequence[Image], asked: Exclusions, reader: CatalogueReader) -> list[Image]:
    """Everything of anybody who made one of the images."""
    makers = sorted(set().union(*(_makers(each, asked) for each in images)))
    named = {what: [name for of, name in makers if of == what] for what in (_AUTHOR, _SEQUENCE)}
    ids = reader.ids_by(hashes=(), creators=named[_AUTHOR], sequences=named[_SEQUENCE])
    return list(reader.images(ids).values())


def _makers(image: Image, asked: Exclusions) -> set[tuple[str, str]]:
    """Whose an image is, as far as the question was asked without its own."""
    said = (
        (_AUTHOR, image.creator if asked.creators else None),
        (_SEQUENCE, image.sequence if asked.sequences else None),
    )
    return {(what, name) for what, name in said if name}


def _towns(
    question: Question, candidates: Sequence[Candidate], near: Near, here: Units
) -> list[_Town]:
    """Those but that of the truth that have a photo of the question's kind."""
    name = hashlib.sha256(question.file.encode()).digest()
    dice = np.random.default_rng(int.from_bytes(name[:8]))
    places = _units([each.point for each in candidates])
    first, at_truth = (places @ places.T > _LEAST).argmax(1), places @ here > _LEAST
    found = []
    for town in np.unique(first[~at_truth]).tolist():
        own = [candidates[seat] for seat in np.flatnonzero((first == town) & ~at_truth).tolist()]
        photos = [photo for each in own for photo in near[each.id]]
        there = sorted({one.id for one in photos if question.kind in (None, one.kind)})
        if there:
            found.append(_Town(place=places[town], photo=there[dice.integers(len(there))]))
    return found


def _units(points: Sequence[Point]) -> Units:
    return np.asarray(unit_xyz(lat_lon(points)))
