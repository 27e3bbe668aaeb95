"""Counterfactual exclusions: remove in every locality what was removed at the true one.

Training excludes a query's own creator and sequence, so evidence is thinner near the ground truth:
sets of evidence are short, or reach farther. A network can find the ground truth by that alone,
without comparing images, and serving excludes nothing. Therefore, if the true locality lost images,
one photo is drawn in every other locality, and the images that its own query would exclude are
removed there. Evidence is then read again, so that the next images move up everywhere. The draw
depends on the query only and is the same in every step, because evidence is read once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation.labels.labels import LabeledQuery
from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.ports import CatalogReader
from pinpoint.records import Candidate, Evidence, Exclusions, Image, Point

LOCALITY_RADIUS_M: Final = 30_000.0
"""Radius of a locality. Candidates within it of an earlier candidate belong to the same locality;
it is slightly larger than the radius within which an image supports the ground truth."""
_CREATOR, _SEQUENCE = "author", "sequence"
_MIN_COSINE: Final = np.cos(LOCALITY_RADIUS_M / EARTH_RADIUS_M)

UnitVectors = NDArray[np.float64]
EvidenceByCandidate = Mapping[UUID, Sequence[Evidence]]
FetchEvidence = Callable[..., EvidenceByCandidate]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locality:
    """A locality of the candidates, and the photo drawn for it."""

    center: UnitVectors
    """Unit vector `[3]` of its first candidate."""
    photo: UUID


def balance_exclusions(
    query: LabeledQuery,
    candidates: tuple[Candidate, ...],
    evidence_by_candidate: EvidenceByCandidate,
    *,
    requested: Exclusions,
    resolved: Exclusions,
    reader: CatalogReader,
    fetch_evidence: FetchEvidence,
) -> tuple[tuple[Candidate, ...], EvidenceByCandidate]:
    """Candidates and evidence after removing, in every locality, what was removed at the true one.

    Args:
        query: The query photo. It also seeds the draw: the same query draws the same photos.
        candidates: Candidates of the query, more than are selected: removed ones are not replaced.
        evidence_by_candidate: Evidence of the candidates. Each locality's photo is drawn from it
            and has the query's kind.
        requested: The exclusions as requested, by creator and sequence.
        resolved: The same as image ids, and all other exclusions.
        reader: Rows of the organization.
        fetch_evidence: Reads evidence of candidates, without `exclusions`.
    """
    removed = _images_to_remove(
        query,
        candidates,
        evidence_by_candidate,
        requested=requested,
        resolved=resolved,
        reader=reader,
    )
    if not removed:
        return candidates, evidence_by_candidate
    remaining = tuple(candidate for candidate in candidates if candidate.id not in removed)
    exclusions = replace(resolved, ids=tuple(sorted({*resolved.ids, *removed})))
    return remaining, fetch_evidence(remaining, exclusions=exclusions)


def _images_to_remove(
    query: LabeledQuery,
    candidates: Sequence[Candidate],
    evidence_by_candidate: EvidenceByCandidate,
    *,
    requested: Exclusions,
    resolved: Exclusions,
    reader: CatalogReader,
) -> Collection[UUID]:
    """For each locality except the true one: the drawn photo and its creator's images there."""
    truth = _unit_vectors([query.ground_truth])[0]
    excluded = [image.point for image in reader.images(resolved.ids).values()]
    if not candidates or not (_unit_vectors(excluded) @ truth > _MIN_COSINE).any():
        return ()  # Exclusions far from the ground truth do not reveal it.
    localities = _draw_localities(query, candidates, evidence_by_candidate, truth)
    photos = reader.images([locality.photo for locality in localities])
    related = _images_of_same_creators(list(photos.values()), requested, reader)
    positions = _unit_vectors([image.point for image in related])
    removed = {locality.photo for locality in localities}
    for locality in (locality for locality in localities if locality.photo in photos):
        keys = _creator_keys(photos[locality.photo], requested)
        inside = np.flatnonzero(positions @ locality.center > _MIN_COSINE).tolist()
        removed |= {
            related[row].id for row in inside if keys & _creator_keys(related[row], requested)
        }
    return removed


def _images_of_same_creators(
    images: Sequence[Image], requested: Exclusions, reader: CatalogReader
) -> list[Image]:
    """All images that share a creator or a sequence with one of the images."""
    keys = sorted(set().union(*(_creator_keys(image, requested) for image in images)))
    names = {
        key_type: [name for other_type, name in keys if other_type == key_type]
        for key_type in (_CREATOR, _SEQUENCE)
    }
    ids = reader.ids_by(hashes=(), creators=names[_CREATOR], sequences=names[_SEQUENCE])
    return list(reader.images(ids).values())


def _creator_keys(image: Image, requested: Exclusions) -> set[tuple[str, str]]:
    """Creator and sequence of an image, each only if the query requested such exclusions."""
    keys = (
        (_CREATOR, image.creator if requested.creators else None),
        (_SEQUENCE, image.sequence if requested.sequences else None),
    )
    return {(key_type, name) for key_type, name in keys if name}


def _draw_localities(
    query: LabeledQuery,
    candidates: Sequence[Candidate],
    evidence_by_candidate: EvidenceByCandidate,
    truth: UnitVectors,
) -> list[_Locality]:
    """The localities, except the true one, that have a photo of the query's kind."""
    digest = hashlib.sha256(query.file.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8]))
    positions = _unit_vectors([candidate.point for candidate in candidates])
    first = (positions @ positions.T > _MIN_COSINE).argmax(1)
    at_truth = positions @ truth > _MIN_COSINE
    localities = []
    for locality in np.unique(first[~at_truth]).tolist():
        rows = np.flatnonzero((first == locality) & ~at_truth).tolist()
        members = [candidates[row] for row in rows]
        photos = [photo for candidate in members for photo in evidence_by_candidate[candidate.id]]
        ids = sorted(
            {photo.id for photo in photos if query.query_kind in (None, photo.source_kind)}
        )
        if ids:
            localities.append(
                _Locality(center=positions[locality], photo=ids[rng.integers(len(ids))])
            )
    return localities


def _unit_vectors(points: Sequence[Point]) -> UnitVectors:
    return np.asarray(unit_xyz(lat_lon(points)))
