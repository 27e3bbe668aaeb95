"""The decision: a point, the discs that contain given shares of the mass, and cited photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import LatLonArray, lat_lon
from pinpoint.geo.regions import mode, radius_for_mass_m
from pinpoint.ports import CatalogReader
from pinpoint.records import (
    SOURCE_KINDS,
    Answer,
    CalibratedResult,
    Citation,
    CitedCopy,
    Contract,
    CredibleDisc,
    Image,
    Point,
    RankedCandidate,
    RankedCoordinate,
    SourceKind,
)

REGION_PROBABILITIES: Final = (0.5, 0.9)
PLACE_M: Final = 1_000.0
"""Candidates within this distance count as one location when masses are compared."""
REFINE_M: Final = 50.0
"""The answer moves to the mean of the candidates within this distance of the best one."""
POSITION_ERROR_M: Final = 10.0
"""Minimum radius of a region, because gallery positions are not more precise."""

CitationRole = Literal["candidate", "evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Result computed from ranked candidates or ranked coordinates."""

    point: Point | None
    regions: tuple[CredibleDisc, ...]
    citations: tuple[Citation, ...] = ()
    ranked: tuple[RankedCandidate, ...] = ()
    ranked_coordinates: tuple[RankedCoordinate, ...] = ()
    considered: int
    believed: CalibratedResult = field(default_factory=CalibratedResult)


def decide_answer(
    ranked: Sequence[RankedCandidate],
    believed: CalibratedResult,
    *,
    reader: CatalogReader,
    cited: int,
) -> Decision:
    """Decide where the photo was taken and which photos to cite.

    Args:
        ranked: `[K]`, best first, masses sum to 1.
        believed: Calibrated result. If it has a posterior, that gives the point and the regions.
        reader: Catalog rows of the organization; read once, for names and licenses.
        cited: Maximum number of citations per role and kind.

    Returns:
        The decision; without candidates its point is None and it is otherwise empty.
    """
    if not ranked:
        return Decision(point=None, regions=(), considered=0, believed=believed)
    # A reranker may move the position of a candidate by kilometers. The answer and the citations
    # use the same positions, so that the cited photos support the answer.
    positions = lat_lon([entry.refined or entry.candidate.point for entry in ranked])
    mass = np.array([entry.mass for entry in ranked])
    if believed.belief is None:
        point, regions = _select_mode_and_regions(positions, mass, num_modes=len(ranked))
    else:
        point, regions = believed.belief.point, believed.belief.regions
    distances_m = haversine_m(positions, lat_lon([point])[0])
    return Decision(
        point=point,
        regions=regions,
        citations=_collect_citations(ranked, distances_m, point, reader, cited),
        ranked=tuple(ranked),
        considered=len(ranked),
        believed=believed,
    )


def decide_coordinates(
    best: Sequence[RankedCoordinate], positions: LatLonArray, mass: NDArray[np.float64]
) -> Decision:
    """Decide among coordinates without images; nothing is cited.

    Args:
        best: `[K]` coordinates, best first. The point is chosen among them, by comparing all pairs.
        positions: `[N, 2]` degrees of all coordinates, best first. If empty, the point is None.
        mass: `[N]`, sums to 1. The regions contain shares of the total.
    """
    if not best:
        return Decision(
            point=None,
            regions=(),
            considered=0,
            believed=CalibratedResult(abstained="no_candidates"),
        )
    point, regions = _select_mode_and_regions(positions, mass, num_modes=len(best))
    return Decision(
        point=point, regions=regions, ranked_coordinates=tuple(best), considered=len(mass)
    )


def build_answer(
    decision: Decision,
    contract: Contract,
    timings_ms: Mapping[str, float],
    *,
    ranker: str,
    engine: str,
    build: str | None,
    reason: str | None = None,
    note: str | None = None,
) -> Answer:
    """Build the answer record from a decision and its provenance.

    Args:
        decision: The decision.
        contract: Contract of the bundle that encoded the photo.
        timings_ms: Milliseconds by stage.
        ranker: Name of the ranker that computed the masses.
        engine: Name of the index engine.
        build: Build of the index that was searched.
        reason: Reason why no reranker ran, if one was expected.
        note: Limitation of the answer, for the user.
    """
    return Answer(
        point=decision.point,
        regions=decision.regions,
        calibrated=decision.believed.belief is not None,
        ranked=decision.ranked,
        citations=decision.citations,
        bundle=contract.name,
        bundle_digest=contract.digest,
        bundle_note=contract.note,
        ranker=ranker,
        ranker_reason=reason,
        index_engine=engine,
        index_build=build,
        candidates_considered=decision.considered,
        timings_ms=timings_ms,
        places=decision.ranked_coordinates,
        note=note,
        believed=decision.believed,
    )


def _select_mode_and_regions(
    positions: LatLonArray, mass: NDArray[np.float64], *, num_modes: int
) -> tuple[Point, tuple[CredibleDisc, ...]]:
    """The mode of the first `num_modes` positions, and discs around it for shares of the mass."""
    answer = mode(positions[:num_modes], mass[:num_modes], place_m=PLACE_M, refine_m=REFINE_M)
    away_m = haversine_m(positions, answer)
    regions = tuple(
        CredibleDisc(
            mass=share, radius_m=max(radius_for_mass_m(away_m, mass, share), POSITION_ERROR_M)
        )
        for share in REGION_PROBABILITIES
    )
    return Point(lat=float(answer[0]), lon=float(answer[1])), regions


def _collect_citations(
    ranked: Sequence[RankedCandidate],
    distances_m: NDArray[np.float64],
    answer: Point,
    reader: CatalogReader,
    cited: int,
) -> tuple[Citation, ...]:
    """The best candidates at the answer and the best evidence near them, for each kind.

    `distances_m` is the distance from the answer to the position of each candidate, `[K]`. Photos
    deleted from the catalog since the index query are not cited.
    """
    near_entries = [
        entry
        for entry, distance_m in zip(ranked, distances_m, strict=True)
        if distance_m <= PLACE_M
    ]
    candidates = {entry.candidate.id: entry.candidate.score for entry in near_entries}
    evidence: dict[UUID, float] = {}
    kinds: dict[UUID, SourceKind] = {
        entry.candidate.id: entry.candidate.kind for entry in near_entries
    }
    first_copies: dict[str, UUID] = {}
    for entry in near_entries:
        for photo, similarity in zip(entry.evidence, entry.similarities, strict=True):
            # Candidates may have different copies of one photo; it is cited once.
            first = first_copies.setdefault(photo.content_key or str(photo.id), photo.id)
            if photo.id not in candidates and photo.id == first:
                evidence[photo.id] = similarity
                kinds[photo.id] = photo.kind
    by_similarity = dict(sorted(evidence.items(), key=lambda item: (-item[1], item[0].int)))

    # Reads twice as many images as are cited, to replace images that were deleted.
    image_ids = [
        *_first_per_kind(candidates, kinds, 2 * cited),
        *_first_per_kind(by_similarity, kinds, 2 * cited),
    ]
    images = reader.images(image_ids)
    chosen: list[tuple[Image, CitationRole, float]] = []
    roles: tuple[tuple[CitationRole, Mapping[UUID, float]], ...] = (
        ("candidate", candidates),
        ("evidence", by_similarity),
    )
    for role, similarities in roles:
        existing = {id_: value for id_, value in similarities.items() if id_ in images}
        chosen += [
            (images[id_], role, existing[id_]) for id_ in _first_per_kind(existing, kinds, cited)
        ]
    copies = reader.copies([image for image, _, _ in chosen])
    return tuple(
        _build_citation(image, role, similarity, answer, copies.get(image.id, ()))
        for image, role, similarity in chosen
    )


def _first_per_kind(
    similarities: Mapping[UUID, float], kinds: Mapping[UUID, SourceKind], limit: int
) -> list[UUID]:
    """The first `limit` ids of each kind, in the order of `SOURCE_KINDS`."""
    order = (*SOURCE_KINDS, *sorted(set(kinds.values()) - set(SOURCE_KINDS)))
    return [
        id_
        for kind in order
        for id_ in islice((id_ for id_ in similarities if kinds[id_] == kind), limit)
    ]


def _build_citation(
    image: Image, role: CitationRole, similarity: float, answer: Point, copies: Sequence[Image]
) -> Citation:
    """The citation of a gallery image; its distance is geodesic."""
    return Citation(
        image_id=image.id,
        file_name=image.file_name,
        role=role,
        source_id=image.source_id,
        source=image.source,
        kind=image.kind,
        license=image.license,
        attribution=image.attribution,
        point=image.point,
        distance_m=round(geodesic_m(answer, image.point), 3),
        similarity=similarity,
        copies=tuple(
            CitedCopy(
                image_id=copy.id,
                source_id=copy.source_id,
                source=copy.source,
                file_name=copy.file_name,
                kind=copy.kind,
                license=copy.license,
                attribution=copy.attribution,
            )
            for copy in copies
        ),
    )
