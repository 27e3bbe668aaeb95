"""Compares the claims of query photos with the answer. The answer never depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pinpoint.geo.distance import geodesic_m
from pinpoint.geo.hdr import contains_positions
from pinpoint.geo.points import lat_lon
from pinpoint.records import Answer, CaptureClaim, ComparedClaim, Point

MIN_AGREEMENT_M: Final = 1_000.0
"""A claim this close to the point agrees with it: images of one place are that far apart."""


def add_claims(answer: Answer, claims: Sequence[CaptureClaim]) -> Answer:
    """The answer with the claim of each photo, compared with its point and its regions.

    A claim agrees if its position is inside the stated area of the highest probability, or within
    `MIN_AGREEMENT_M` of the point. That area is the credible region, or the credible disc of an
    answer without a posterior. If the system abstained, its point is only a guess, and nothing is
    said about the claim.

    Args:
        answer: The answer.
        claims: One for each photo, in the order of the photos.
    """
    return replace(
        answer,
        claims=tuple(_compare_claim(number, claim, answer) for number, claim in enumerate(claims)),
    )


def _compare_claim(number: int, claim: CaptureClaim, answer: Answer) -> ComparedClaim:
    metadata, manifest = (
        _compare_point(point, answer) for point in (claim.point, claim.c2pa.point)
    )
    return ComparedClaim(
        photo=number,
        claim=claim,
        distance_m=metadata.distance_m,
        inside_discs=metadata.inside_discs,
        inside_regions=metadata.inside_regions,
        agrees=metadata.agrees,
        c2pa_distance_m=manifest.distance_m,
        c2pa_agrees=manifest.agrees,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A claimed position compared with an answer."""

    distance_m: float | None = None
    inside_discs: tuple[bool, ...] = ()
    inside_regions: tuple[bool, ...] = ()
    agrees: bool | None = None


def _compare_point(point: Point | None, answer: Answer) -> _Comparison:
    if point is None or answer.point is None:
        return _Comparison()
    distance_m = geodesic_m(point, answer.point)
    inside_discs = tuple(distance_m <= disc.radius_m for disc in answer.credible_discs)
    posterior = answer.calibrated_result.posterior
    regions = () if posterior is None else posterior.credible_regions
    position = lat_lon([point])
    inside_regions = tuple(
        bool(contains_positions(np.array(region.boxes), position)[0]) for region in regions
    )
    areas = regions or answer.credible_discs
    inside_areas = inside_regions or inside_discs
    is_inside = False
    if areas:
        widest = max(range(len(areas)), key=lambda number: areas[number].probability)
        is_inside = inside_areas[widest]
    is_guess = answer.calibrated_result.abstention_reason is not None
    return _Comparison(
        distance_m=distance_m,
        inside_discs=inside_discs,
        inside_regions=inside_regions,
        agrees=None if is_guess else is_inside or distance_m <= MIN_AGREEMENT_M,
    )
