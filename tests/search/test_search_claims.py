"""Claims of query photos: compared with the answer by a stated rule, and never used for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinpoint.geo.distance import geodesic_m
from pinpoint.records import (
    C2paClaim,
    CalibratedResult,
    CaptureClaim,
    CredibleDisc,
    CredibleRegion,
    Point,
    Posterior,
    SearchFilter,
)
from pinpoint.search import pipeline
from pinpoint.search.claims import add_claims
from pinpoint.search.context import QueryPhoto
from search.in_memory import (
    DictDatabase,
    NumpyIndex,
    PixelDecoder,
    gallery,
    search_context,
    view_pixels,
)

HERE = Point(48.85, 2.35)
PHOTO = view_pixels(2, 777).tobytes()


class ClaimingDecoder(PixelDecoder):
    """Decodes pixels; every photo claims a position."""

    def __init__(self, claim):
        self.claim = claim

    def read(self, *args, **options):
        return dataclasses.replace(super().read(*args, **options), claim=self.claim)


def locate(claim, photos=(PHOTO,)):
    points = gallery(places=6, views=2)
    context = search_context(
        NumpyIndex(points), DictDatabase(points), decoder=ClaimingDecoder(claim)
    )
    query = [QueryPhoto(data=data, file="q.raw") for data in photos]
    return pipeline.locate(query, SearchFilter(), context)


def answer_at(discs=(100.0, 5_000.0), *, regions=(), reason=None):
    posterior = None
    if regions:
        posterior = Posterior(
            stratum="all",
            point=HERE,
            probability_within_km={},
            p_outside_candidates=0.0,
            p_not_in_gallery=None,
            credible_discs=(),
            credible_regions=regions,
            names=(),
            abstention_reason=reason,
        )
    return dataclasses.replace(
        locate(CaptureClaim()),
        point=HERE,
        credible_discs=tuple(
            CredibleDisc(probability=share, radius_m=radius_m)
            for share, radius_m in zip((0.5, 0.9), discs, strict=True)
        ),
        calibrated_result=CalibratedResult(posterior=posterior, abstention_reason=reason),
    )


def region(probability, half_deg):
    box = (
        HERE.lat - half_deg,
        HERE.lon - half_deg,
        HERE.lat + half_deg,
        HERE.lon + half_deg,
    )
    return CredibleRegion(probability=probability, level=probability, area_km2=1.0, boxes=(box,))


@pytest.mark.parametrize(
    ("lat", "discs", "inside", "agrees"),
    [
        (48.8505, (100.0, 5_000.0), (True, True), True),
        (48.86, (100.0, 5_000.0), (False, True), True),
        (48.95, (100.0, 5_000.0), (False, False), False),
        # Within 1,000 m of the point, although the discs are smaller.
        (48.858, (100.0, 500.0), (False, False), True),
        (48.8595, (100.0, 500.0), (False, False), False),
    ],
)
def test_claim_agrees_inside_the_widest_disc_or_near_the_point(lat, discs, inside, agrees):
    claim = CaptureClaim(point=Point(lat, 2.35), position_source="exif")
    (compared,) = add_claims(answer_at(discs), [claim]).claims
    assert compared.distance_m == pytest.approx(geodesic_m(Point(lat, 2.35), HERE))
    assert (compared.inside_discs, compared.agrees) == (inside, agrees)


def test_claim_of_calibrated_answer_is_compared_with_its_region():
    answer = answer_at((10.0, 10.0), regions=(region(0.9, 0.1), region(0.5, 0.01)))
    near, far = (CaptureClaim(point=Point(HERE.lat + d, HERE.lon)) for d in (0.05, 0.2))
    first, second = add_claims(answer, [near, far]).claims
    assert (first.inside_regions, first.agrees) == ((True, False), True)
    assert (second.inside_regions, second.agrees) == ((False, False), False)


@pytest.mark.parametrize("case", ["no claim", "guess", "no point"])
def test_claim_without_something_to_compare_neither_agrees_nor_disagrees(case):
    claim = CaptureClaim(point=HERE)
    answer = answer_at()
    if case == "no claim":
        claim = CaptureClaim(position_note="out of range")
    elif case == "guess":
        answer = answer_at(regions=(region(0.9, 1.0),), reason="not_in_gallery")
    else:
        answer = dataclasses.replace(answer, point=None)
    (compared,) = add_claims(answer, [claim]).claims
    assert compared.agrees is None
    assert (compared.distance_m is None) == (case != "guess")


def test_position_of_c2pa_manifest_is_compared_separately():
    manifest = C2paClaim(state="valid", point=Point(48.95, 2.35))
    claim = CaptureClaim(point=HERE, c2pa=manifest)
    (compared,) = add_claims(answer_at(), [claim]).claims
    assert (compared.distance_m, compared.agrees) == (0.0, True)
    assert compared.c2pa_distance_m == pytest.approx(geodesic_m(manifest.point, HERE))
    assert compared.c2pa_agrees is False


def test_claims_do_not_change_the_answer():
    plain = dataclasses.replace(locate(CaptureClaim()), claims=(), timings_ms={})
    claimed = dataclasses.replace(
        locate(CaptureClaim(point=Point(-70.0, 100.0))), claims=(), timings_ms={}
    )
    with np.printoptions(threshold=0):
        assert repr(claimed) == repr(plain)


def test_several_photos_have_one_claim_each():
    other = view_pixels(2, 778).tobytes()
    claims = locate(CaptureClaim(point=HERE), (PHOTO, other, PHOTO)).claims
    assert [claim.photo for claim in claims] == [0, 1, 2]
