"""The decision: a point, the discs that contain given shares of the weight, and cited photos."""

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
    ImageMatch,
    Point,
    RankedCandidate,
    RankedCoordinate,
    SourceKind,
    VerificationThreshold,
)

REGION_PROBABILITIES: Final = (0.5, 0.9)
PLACE_M: Final = 1_000.0
"""Candidates within this distance count as one location when weights are compared."""
REFINE_M: Final = 50.0
"""The answer moves to the mean of the candidates within this distance of the best one."""
POSITION_ERROR_M: Final = 10.0
"""Minimum radius of a region, because gallery positions are not more precise."""

CitationRole = Literal["candidate", "evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Result computed from ranked candidates or ranked coordinates."""

    point: Point | None
    credible_discs: tuple[CredibleDisc, ...]
    citations: tuple[Citation, ...] = ()
    ranked: tuple[RankedCandidate, ...] = ()
    ranked_coordinates: tuple[RankedCoordinate, ...] = ()
    num_candidates: int
    calibrated_result: CalibratedResult = field(default_factory=CalibratedResult)


def decide_answer(
    ranked: Sequence[RankedCandidate],
    calibrated_result: CalibratedResult,
    *,
    reader: CatalogReader,
    cited: int,
) -> Decision:
    """Decide where the photo was taken and which photos to cite.

    Args:
        ranked: `[K]`, best first, weights sum to 1.
        calibrated_result: If it has a posterior, that gives the point and the discs.
        reader: Catalog rows of the organization; read once, for names and licenses.
        cited: Maximum number of citations per role and kind.

    Returns:
        The decision; without candidates its point is None and it is otherwise empty.
    """
    if not ranked:
        return Decision(
            point=None, credible_discs=(), num_candidates=0, calibrated_result=calibrated_result
        )
    # A reranker may move the position of a candidate by kilometers. The answer and the citations
    # use the same positions, so that the cited photos support the answer.
    positions = lat_lon([entry.refined_position or entry.candidate.point for entry in ranked])
    weights = np.array([entry.weight for entry in ranked])
    if calibrated_result.posterior is None:
        point, discs = _select_mode_and_discs(positions, weights, num_modes=len(ranked))
    else:
        point, discs = calibrated_result.posterior.point, calibrated_result.posterior.credible_discs
    distances_m = haversine_m(positions, lat_lon([point])[0])
    return Decision(
        point=point,
        credible_discs=discs,
        citations=_collect_citations(ranked, distances_m, point, reader, cited),
        ranked=tuple(ranked),
        num_candidates=len(ranked),
        calibrated_result=calibrated_result,
    )


def decide_coordinates(
    best: Sequence[RankedCoordinate], positions: LatLonArray, weights: NDArray[np.float64]
) -> Decision:
    """Decide among coordinates without images; nothing is cited.

    Args:
        best: `[K]` coordinates, best first. The point is chosen among them, by comparing all pairs.
        positions: `[N, 2]` degrees of all coordinates, best first. If empty, the point is None.
        weights: `[N]`, sum to 1. The discs contain shares of the total.
    """
    if not best:
        return Decision(
            point=None,
            credible_discs=(),
            num_candidates=0,
            calibrated_result=CalibratedResult(abstention_reason="no_candidates"),
        )
    point, discs = _select_mode_and_discs(positions, weights, num_modes=len(best))
    return Decision(
        point=point,
        credible_discs=discs,
        ranked_coordinates=tuple(best),
        num_candidates=len(weights),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What computed an answer."""

    contract: Contract
    """Contract of the bundle that encoded the photo."""
    ranker: str
    """Name of the ranker that computed the weights."""
    reason: str | None = None
    """Reason why no reranker ran, if one was expected."""
    matches: Mapping[UUID, ImageMatch] = field(default_factory=dict)
    """Matches of compared images, by image id."""
    verification_threshold: VerificationThreshold | None = None
    """Threshold of the matches; None if nothing was to be compared."""
    engine: str
    """Name of the index engine."""
    build: str | None
    """Build of the index that was searched."""
    warnings: tuple[str, ...] = ()
    """Limitation of the answer, for the user."""


def build_answer(
    decision: Decision, provenance: Provenance, timings_ms: Mapping[str, float]
) -> Answer:
    """Build the answer record from a decision and its provenance.

    Args:
        decision: The decision.
        provenance: What computed it.
        timings_ms: Milliseconds by stage.
    """
    contract = provenance.contract
    return Answer(
        point=decision.point,
        credible_discs=decision.credible_discs,
        calibrated=decision.calibrated_result.posterior is not None,
        ranked=decision.ranked,
        citations=decision.citations,
        bundle=contract.name,
        bundle_digest=contract.digest,
        bundle_note=contract.note,
        ranker=provenance.ranker,
        ranker_fallback_reason=provenance.reason,
        index_engine=provenance.engine,
        index_build=provenance.build,
        num_candidates=decision.num_candidates,
        timings_ms=timings_ms,
        coordinates=decision.ranked_coordinates,
        warnings=provenance.warnings,
        calibrated_result=decision.calibrated_result,
        matches=provenance.matches,
        verification_threshold=provenance.verification_threshold,
    )


def _select_mode_and_discs(
    positions: LatLonArray, weights: NDArray[np.float64], *, num_modes: int
) -> tuple[Point, tuple[CredibleDisc, ...]]:
    """The mode of the first `num_modes` positions, and discs around it for shares of the weight."""
    answer = mode(positions[:num_modes], weights[:num_modes], place_m=PLACE_M, refine_m=REFINE_M)
    away_m = haversine_m(positions, answer)
    discs = tuple(
        CredibleDisc(
            probability=share,
            radius_m=max(radius_for_mass_m(away_m, weights, share), POSITION_ERROR_M),
        )
        for share in REGION_PROBABILITIES
    )
    return Point(lat=float(answer[0]), lon=float(answer[1])), discs


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
        entry.candidate.id: entry.candidate.source_kind for entry in near_entries
    }
    first_copies: dict[str, UUID] = {}
    for entry in near_entries:
        for photo, similarity in zip(entry.evidence, entry.similarities, strict=True):
            # Candidates may have different copies of one photo; it is cited once.
            first = first_copies.setdefault(photo.content_key or str(photo.id), photo.id)
            if photo.id not in candidates and photo.id == first:
                evidence[photo.id] = similarity
                kinds[photo.id] = photo.source_kind
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
        source_kind=image.source_kind,
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
                source_kind=copy.source_kind,
                license=copy.license,
                attribution=copy.attribution,
            )
            for copy in copies
        ),
    )
