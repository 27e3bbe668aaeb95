"""Answers for callers that may not see everything: protected areas and minimum radii.

A restricted caller gets one of three answers:

- that of a gallery without the images in protected areas, if the photo was taken elsewhere;
- a coarse position, the same one for all photos of an area, if the area permits it;
- the answer of an empty search space, if the area permits nothing.

To decide which, the photo is located twice: with the images of areas that permit a coarse position,
and without any protected image. Both always run, so their time does not depend on the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pinpoint.geo.coarse_positions import (
    CoarsePosition,
    coarsen_area,
    coarsen_point,
    coarsen_to_city,
    coarsen_to_country,
)
from pinpoint.ports import CatalogReader, Database
from pinpoint.position_access import PositionAccess, apply_access
from pinpoint.records import (
    Answer,
    CalibratedResult,
    CredibleDisc,
    Point,
    SearchFilter,
    SourceKind,
)
from pinpoint.records.protected_areas import AreaHit, Granularity, coarser_granularity
from pinpoint.search import claims, pipeline
from pinpoint.search.candidates_and_evidence import EncodedPhotos, encode_photos
from pinpoint.search.context import HiddenImages, QueryPhoto, SearchContext
from pinpoint.search.visible_hits import CUT_SEARCH_WARNING

COARSE_NOTE: Final = (
    "The position is coarse on purpose: the place is in a protected area, or the API key has a "
    "minimum radius. The photo's position is in the disc if the exact answer is correct."
)
_MIN_RADIUS_M: Final = 1_000.0
"""Radius of an area for a key that may see discs, if the area itself states none."""


def is_restricted(access: PositionAccess, organization_id: UUID, database: Database) -> bool:
    """Whether answers of this caller may differ from exact ones."""
    if access.min_radius_m > 0:
        return True
    if access.granularity == "exact":
        return False
    with database.read(organization_id) as reader:
        return reader.has_protected_areas()


def locate_restricted(
    photos: Sequence[QueryPhoto],
    search_filter: SearchFilter,
    context: SearchContext,
    access: PositionAccess,
) -> Answer:
    """Locate photos of one place for a restricted caller; see the module.

    Args:
        photos: As `pipeline.locate`.
        search_filter: As `pipeline.locate`.
        context: As `pipeline.locate`.
        access: Access of the caller.

    Raises:
        PinpointError: As `pipeline.locate`.
    """
    encoded = encode_photos(photos, context.decoder, context.encoder, context.stopwatch)
    kind = photos[0].kind
    answer = _locate_encoded(encoded, search_filter, context, access, kind)
    # A claim comes from the photo itself; its distance is that to the permitted position.
    return claims.add_claims(answer, encoded.claims)


def _locate_encoded(
    encoded: EncodedPhotos,
    search_filter: SearchFilter,
    context: SearchContext,
    access: PositionAccess,
    kind: SourceKind | None,
) -> Answer:
    if access.granularity == "exact":
        answer = pipeline.locate_encoded(encoded, search_filter, context, kind=kind)
        return apply_min_radius(answer, access)
    coarse = None
    if access.granularity != "refuse":
        coarse = _locate_coarsely(encoded, search_filter, context, access, kind)
    visible = hide_images(context)
    answer = pipeline.locate_encoded(encoded, search_filter, visible, kind=kind)
    if coarse is not None:
        return coarse
    with context.database.read(context.organization_id) as reader:
        return protect_answer(answer, reader, access)


def hide_images(context: SearchContext) -> SearchContext:
    """The context of a search that treats images which the caller may not see as absent."""

    def find_hidden(ids: Sequence[UUID]) -> set[UUID]:
        if not ids:
            return set()
        with context.database.read(context.organization_id) as reader:
            return reader.hidden_images(ids)

    return replace(context, hidden_images=HiddenImages(find=find_hidden))


def protect_answer(answer: Answer, reader: CatalogReader, access: PositionAccess) -> Answer:
    """Restrict an answer whose images and coordinates the caller may see to what areas permit.

    Args:
        answer: The answer.
        reader: Catalog of the organization.
        access: Access of the caller.
    """
    if access.granularity == "exact":
        return apply_min_radius(answer, access)
    refined = [entry.refined_position for entry in answer.ranked]
    points = [point for point in refined if point is not None]
    points += [coordinate.point for coordinate in answer.coordinates]
    hits = reader.protected_areas_at(points)
    hidden = {point for point, hit in zip(points, hits, strict=True) if hit is not None}
    answer = replace(
        answer,
        ranked=tuple(
            replace(entry, refined_position=None) if entry.refined_position in hidden else entry
            for entry in answer.ranked
        ),
        coordinates=tuple(entry for entry in answer.coordinates if entry.point not in hidden),
    )
    if answer.point is None:
        return answer
    (hit,) = reader.protected_areas_at([answer.point])
    if hit is None:
        return apply_min_radius(answer, access)
    return _coarsen_in_area(answer, hit, access) or refuse_answer(answer)


def apply_min_radius(answer: Answer, access: PositionAccess) -> Answer:
    """The answer with a disc of the caller's minimum radius, if there is one."""
    if access.min_radius_m <= 0 or answer.point is None:
        return answer
    coarse = coarsen_point(answer.point, access.min_radius_m, _error_m(answer))
    return _to_coarse_answer(answer, coarse, "radius")


def refuse_answer(answer: Answer) -> Answer:
    """The answer that an empty search space would get."""
    result = answer.calibrated_result
    return replace(
        answer,
        point=None,
        credible_discs=(),
        calibrated=False,
        ranked=(),
        citations=(),
        num_candidates=0,
        coordinates=(),
        warnings=tuple(text for text in answer.warnings if text != CUT_SEARCH_WARNING),
        calibrated_result=CalibratedResult(note=result.note, abstention_reason="no_candidates"),
        matches={},
    )


def _locate_coarsely(
    encoded: EncodedPhotos,
    search_filter: SearchFilter,
    context: SearchContext,
    access: PositionAccess,
    kind: SourceKind | None,
) -> Answer | None:
    """The coarse answer from all images whose areas permit one; None if the place is elsewhere."""
    with apply_access(replace(access, rows="coarse")):
        answer = pipeline.locate_encoded(
            # Without pixels no candidate is verified: matches are not part of a coarse answer.
            replace(encoded, pixels=()),
            search_filter,
            hide_images(context),
            kind=kind,
        )
        if answer.point is None:
            return None
        with context.database.read(context.organization_id) as reader:
            (hit,) = reader.protected_areas_at([answer.point])
    return None if hit is None else _coarsen_in_area(answer, hit, access)


def _coarsen_in_area(answer: Answer, hit: AreaHit, access: PositionAccess) -> Answer | None:
    """The coarse answer that an area and the caller's level permit; None if they permit none."""
    granularity = coarser_granularity(hit.granularity, access.granularity)
    exterior, error_m = hit.polygon.exterior, _error_m(answer)
    min_radius_m = max(hit.min_radius_m or _MIN_RADIUS_M, access.min_radius_m)
    match granularity:
        case "city":
            coarse = coarsen_to_city(exterior, error_m)
        case "country":
            coarse = coarsen_to_country(exterior, error_m)
        case "radius":
            coarse = coarsen_area(exterior, min_radius_m, error_m)
        case _:
            return None
    if coarse.radius_m < access.min_radius_m:
        coarse = coarsen_area(exterior, access.min_radius_m, error_m)
    return _to_coarse_answer(answer, coarse, granularity)


def _error_m(answer: Answer) -> float:
    return 0.0 if answer.outer_disc is None else answer.outer_disc.radius_m


def _to_coarse_answer(answer: Answer, coarse: CoarsePosition, granularity: Granularity) -> Answer:
    """Replace everything that depends on the exact position, its candidates and their images."""
    probability = 0.0 if answer.outer_disc is None else answer.outer_disc.probability
    return replace(
        refuse_answer(answer),
        point=Point(coarse.point.lat, coarse.point.lon),
        credible_discs=(CredibleDisc(probability=probability, radius_m=coarse.radius_m),),
        calibrated_result=CalibratedResult(
            note=COARSE_NOTE, abstention_reason=answer.calibrated_result.abstention_reason
        ),
        verification_threshold=None,
        granularity=granularity,
        place=coarse.place,
    )
