"""The decision: a point, the discs that hold the mass, and the photos that speak for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import LatLon, lat_lon
from pinpoint.geo.regions import mode, radius_for_mass_m
from pinpoint.ports import CatalogueReader
from pinpoint.records import (
    KINDS,
    Answer,
    Believed,
    Citation,
    CitedCopy,
    Contract,
    Image,
    Point,
    Ranked,
    RankedPlace,
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
    """What the ranked candidates, or the places, come to."""

    point: Point | None
    regions: tuple[Region, ...]
    citations: tuple[Citation, ...] = ()
    ranked: tuple[Ranked, ...] = ()
    places: tuple[RankedPlace, ...] = ()
    considered: int
    believed: Believed = field(default_factory=Believed)


def decide(
    ranked: Sequence[Ranked], believed: Believed, *, reader: CatalogueReader, cited: int
) -> Decision:
    """Decide where the photo was taken and who says so.

    Args:
        ranked: `[K]`, best first, masses sum to 1.
        believed: Calibrated probabilities, where there are any, have point and regions already.
        reader: The organisation's rows; read once, for names and licences.
        cited: Citations per role and kind.

    Returns:
        Point None and nothing else where there are no candidates.
    """
    if not ranked:
        return Decision(point=None, regions=(), considered=0, believed=believed)
    # Where each says that the photo was taken: a reranker moves that by kilometres. Who says where
    # the answer is must be cited, so the answer and the citations are made of the same places.
    positions = lat_lon([each.refined or each.candidate.point for each in ranked])
    mass = np.array([each.mass for each in ranked])
    if believed.belief is None:
        point, regions = _settled(positions, mass, seats=len(ranked))
    else:
        point, regions = believed.belief.point, believed.belief.regions
    away_m = haversine_m(positions, lat_lon([point])[0])
    return Decision(
        point=point,
        regions=regions,
        citations=_citations(ranked, away_m, point, reader, cited),
        ranked=tuple(ranked),
        considered=len(ranked),
        believed=believed,
    )


def decide_places(
    best: Sequence[RankedPlace], positions: LatLon, mass: NDArray[np.float64]
) -> Decision:
    """Decide among places that no image stands for: nothing is cited.

    Args:
        best: `[K]` of them, best first: where the point may be. Each is compared with each.
        positions: `[N, 2]` degrees of all, best first; the point is None where there are none.
        mass: `[N]`, sums to 1; the regions hold shares of all of it.
    """
    if not best:
        return Decision(
            point=None, regions=(), considered=0, believed=Believed(abstained="no_candidates")
        )
    point, regions = _settled(positions, mass, seats=len(best))
    return Decision(point=point, regions=regions, places=tuple(best), considered=len(mass))


def composed(
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
    """The decision, with all that stands behind it.

    Args:
        decision: What is answered.
        contract: Of the bundle that looked at the photo.
        timings_ms: By stage.
        ranker: Who gave the masses.
        engine: What was searched.
        build: Which state of it.
        reason: Why no reranker ran, where one would have.
        note: What the answer lacks.
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
        places=decision.places,
        note=note,
        believed=decision.believed,
    )


def _settled(
    positions: LatLon, mass: NDArray[np.float64], *, seats: int
) -> tuple[Point, tuple[Region, ...]]:
    """The densest place among the first, and the discs around it that hold the mass of all."""
    answer = mode(positions[:seats], mass[:seats], place_m=PLACE_M, refine_m=REFINE_M)
    away_m = haversine_m(positions, answer)
    regions = tuple(
        Region(mass=share, radius_m=max(radius_for_mass_m(away_m, mass, share), POSITION_ERROR_M))
        for share in SHARES
    )
    return Point(lat=float(answer[0]), lon=float(answer[1])), regions


def _citations(
    ranked: Sequence[Ranked],
    away_m: NDArray[np.float64],
    answer: Point,
    reader: CatalogueReader,
    cited: int,
) -> tuple[Citation, ...]:
    """The best candidates of the place and the best evidence around them, for each kind.

    `away_m` is how far from the answer each candidate says that the photo was taken, `[K]`. Photos
    that have gone from the catalogue since the index was asked are not cited.
    """
    here = [each for each, distance_m in zip(ranked, away_m, strict=True) if distance_m <= PLACE_M]
    candidates = {each.candidate.id: each.candidate.score for each in here}
    evidence: dict[UUID, float] = {}
    kinds: dict[UUID, SourceKind] = {each.candidate.id: each.candidate.kind for each in here}
    named: dict[str, UUID] = {}
    for each in here:
        for photo, similarity in zip(each.evidence, each.similarities, strict=True):
            # Candidates may keep different copies of one photo; it is cited once.
            first = named.setdefault(photo.content_key or str(photo.id), photo.id)
            if photo.id not in candidates and photo.id == first:
                evidence[photo.id] = similarity
                kinds[photo.id] = photo.kind
    by_similarity = dict(sorted(evidence.items(), key=lambda item: (-item[1], item[0].int)))

    # Twice as many are read as are shown, so that what has gone leaves no gap.
    wanted = [
        *_best(candidates, kinds, 2 * cited),
        *_best(by_similarity, kinds, 2 * cited),
    ]
    images = reader.images(wanted)
    chosen: list[tuple[Image, Role, float]] = []
    roles: tuple[tuple[Role, Mapping[UUID, float]], ...] = (
        ("candidate", candidates),
        ("evidence", by_similarity),
    )
    for role, found in roles:
        present = {id_: value for id_, value in found.items() if id_ in images}
        chosen += [(images[id_], role, present[id_]) for id_ in _best(present, kinds, cited)]
    copies = reader.copies([image for image, _, _ in chosen])
    return tuple(
        _cite(image, role, similarity, answer, copies.get(image.id, ()))
        for image, role, similarity in chosen
    )


def _best(found: Mapping[UUID, float], kinds: Mapping[UUID, SourceKind], limit: int) -> list[UUID]:
    """The first `limit` of each kind, kinds in their usual order."""
    order = (*KINDS, *sorted(set(kinds.values()) - set(KINDS)))
    return [
        id_ for kind in order for id_ in islice((id_ for id_ in found if kinds[id_] == kind), limit)
    ]


def _cite(
    image: Image, role: Role, similarity: float, answer: Point, copies: Sequence[Image]
) -> Citation:
    """A gallery image as a citation; its distance is the geodesic one."""
    return Citation(
        image_id=image.id,
        file_name=image.file_name,
        role=role,
        source_id=image.source_id,
        source=image.source,
        kind=image.kind,
        licence=image.licence,
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
                licence=copy.licence,
                attribution=copy.attribution,
            )
            for copy in copies
        ),
    )
