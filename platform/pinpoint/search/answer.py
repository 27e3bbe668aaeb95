"""The decision: a point, the discs that hold the mass, and the photos that speak for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.geo.regions import holding_radius_m, mode
from pinpoint.ports import CatalogueReader
from pinpoint.records import (
    KINDS,
    Answer,
    Citation,
    Contract,
    Image,
    IndexInfo,
    Point,
    Ranked,
    Ranking,
    Region,
    SourceKind,
)

SHARES: Final = (0.5, 0.9)
PLACE_M: Final = 1_000.0
"""What counts as one place when the mass of places is compared."""
REFINE_M: Final = 50.0
"""Candidates this near to the winner move the answer towards their mean."""
POSITION_ERROR_M: Final = 10.0
"""No region is smaller: positions in a gallery are not better than this."""

Role = Literal["candidate", "evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the ranked candidates come to."""

    point: Point | None
    regions: tuple[Region, ...]
    citations: tuple[Citation, ...]


def decide(ranked: Sequence[Ranked], *, reader: CatalogueReader, cited: int) -> Decision:
    """Decide where the photo was taken and who says so.

    Args:
        ranked: `[K]`, best first, masses sum to 1.
        reader: The organisation's rows; read once, for names and licences.
        cited: Citations per role and kind.

    Returns:
        Point None and nothing else where there are no candidates.
    """
    if not ranked:
        return Decision(point=None, regions=(), citations=())
    positions = lat_lon([each.candidate.point for each in ranked])
    mass = np.array([each.mass for each in ranked])
    answer = mode(positions, mass, place_m=PLACE_M, refine_m=REFINE_M)
    away_m = haversine_m(positions, answer)
    point = Point(lat=float(answer[0]), lon=float(answer[1]))
    regions = tuple(
        Region(mass=share, radius_m=max(holding_radius_m(away_m, mass, share), POSITION_ERROR_M))
        for share in SHARES
    )
    return Decision(
        point=point, regions=regions, citations=_citations(ranked, away_m, point, reader, cited)
    )


def composed(
    decision: Decision,
    ranking: Ranking,
    contract: Contract,
    info: IndexInfo,
    timings_ms: Mapping[str, float],
) -> Answer:
    """The decision, with all that stands behind it."""
    return Answer(
        point=decision.point,
        regions=decision.regions,
        calibrated=False,
        ranked=ranking.ranked,
        citations=decision.citations,
        bundle=contract.name,
        bundle_digest=contract.digest,
        bundle_note=contract.note,
        ranker=ranking.ranker,
        ranker_reason=ranking.reason,
        index_engine=info.engine,
        index_build=info.build,
        candidates_considered=len(ranking.ranked),
        timings_ms=timings_ms,
    )


def _citations(
    ranked: Sequence[Ranked],
    away_m: NDArray[np.float64],
    answer: Point,
    reader: CatalogueReader,
    cited: int,
) -> tuple[Citation, ...]:
    """The best candidates of the place and the best evidence around them, for each kind.

    Photos that have gone from the catalogue since the index was asked are not cited.
    """
    here = [each for each, distance_m in zip(ranked, away_m, strict=True) if distance_m <= PLACE_M]
    candidates = {each.candidate.id: each.candidate.score for each in here}
    evidence: dict[UUID, float] = {}
    kinds: dict[UUID, SourceKind] = {each.candidate.id: each.candidate.kind for each in here}
    for each in here:
        for photo, similarity in zip(each.evidence, each.similarities, strict=True):
            if photo.id not in candidates:
                evidence[photo.id] = similarity
                kinds[photo.id] = photo.kind
    by_similarity = dict(sorted(evidence.items(), key=lambda item: (-item[1], item[0].int)))

    # Twice as many are read as are shown, so that what has gone leaves no gap.
    wanted = [
        *_best(candidates, kinds, 2 * cited),
        *_best(by_similarity, kinds, 2 * cited),
    ]
    images = reader.images(wanted)
    chosen: list[Citation] = []
    roles: tuple[tuple[Role, Mapping[UUID, float]], ...] = (
        ("candidate", candidates),
        ("evidence", by_similarity),
    )
    for role, found in roles:
        present = {id_: value for id_, value in found.items() if id_ in images}
        chosen += [
            _cite(images[id_], role, present[id_], answer) for id_ in _best(present, kinds, cited)
        ]
    return tuple(chosen)


def _best(found: Mapping[UUID, float], kinds: Mapping[UUID, SourceKind], limit: int) -> list[UUID]:
    """The first `limit` of each kind, kinds in their usual order."""
    order = (*KINDS, *sorted(set(kinds.values()) - set(KINDS)))
    return [
        id_ for kind in order for id_ in islice((id_ for id_ in found if kinds[id_] == kind), limit)
    ]


def _cite(image: Image, role: Role, similarity: float, answer: Point) -> Citation:
    """A gallery image as a citation; its distance is the geodesic one."""
    return Citation(
        image_id=image.id,
        role=role,
        source_id=image.source_id,
        source=image.source,
        kind=image.kind,
        licence=image.licence,
        attribution=image.attribution,
        point=image.point,
        distance_m=round(geodesic_m(answer, image.point), 3),
        similarity=similarity,
    )
