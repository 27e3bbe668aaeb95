"""Thumbnails and match pictures of a dossier, as far as its caller may see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from pinpoint.api.dossiers.content import DossierImages
from pinpoint.api.v1.image_access import has_image_access
from pinpoint.api.v1.locate_query import LocatedQuery
from pinpoint.api.v1.match_picture import draw_matches, list_matched_images
from pinpoint.api.v1.schemas.dossiers import OmissionReason
from pinpoint.bootstrap import Services
from pinpoint.errors import NotFoundError
from pinpoint.records import Caller

MAX_THUMBNAILS: Final = 64
MAX_THUMBNAIL_BYTES: Final = 8 << 20
"""All thumbnails of a dossier together."""
MAX_MATCH_PICTURES: Final = 4


def collect_images(
    located: LocatedQuery, caller: Caller, services: Services, *, include_photo: bool
) -> DossierImages:
    """Read the thumbnails of an answer, the most important ones first, and draw its matches.

    Args:
        located: The query with its answer.
        caller: The caller; without the scope `read` no image is shown.
        services: Services of the API.
        include_photo: Whether match pictures may show the photo.
    """
    thumbnails, thumbnail_omissions = _read_thumbnails(located, caller, services)
    matches = list_matched_images(located.answer)
    match_pictures: dict[UUID, bytes] = {}
    match_omissions: dict[UUID, OmissionReason]
    if not include_photo:
        match_omissions = dict.fromkeys(matches, "photo_not_included")
    elif "read" not in caller.scopes:
        match_omissions = dict.fromkeys(matches, "no_read_scope")
    else:
        match_pictures, match_omissions = draw_matches(
            located.answer, located.photos, caller, services, MAX_MATCH_PICTURES
        )
    return DossierImages(
        thumbnails=thumbnails,
        thumbnail_omissions=thumbnail_omissions,
        match_pictures=match_pictures,
        match_omissions=match_omissions,
    )


def _read_thumbnails(
    located: LocatedQuery, caller: Caller, services: Services
) -> tuple[dict[UUID, bytes], dict[UUID, OmissionReason]]:
    image_ids = list(dict.fromkeys(_list_image_ids(located)))
    thumbnails: dict[UUID, bytes] = {}
    omissions: dict[UUID, OmissionReason] = {}
    if "read" not in caller.scopes:
        return thumbnails, dict.fromkeys(image_ids, "no_read_scope")
    num_bytes = 0
    with services.database.read(caller.organization_id) as catalog:
        images = catalog.images(image_ids)
        for image_id in image_ids:
            if image_id not in images:
                omissions[image_id] = "unavailable"
            elif not has_image_access(images[image_id], caller, "thumbnail"):
                omissions[image_id] = "not_permitted"
            elif len(thumbnails) == MAX_THUMBNAILS:
                omissions[image_id] = "limit"
            else:
                try:
                    thumbnail = catalog.thumbnail(image_id)
                except NotFoundError:
                    omissions[image_id] = "unavailable"
                    continue
                num_bytes += len(thumbnail)
                if num_bytes > MAX_THUMBNAIL_BYTES:
                    num_bytes -= len(thumbnail)
                    omissions[image_id] = "limit"
                else:
                    thumbnails[image_id] = thumbnail
    return thumbnails, omissions


def _list_image_ids(located: LocatedQuery) -> Iterable[UUID]:
    """Ids of all shown images: cited ones, their copies, candidates, evidence by candidate."""
    answer = located.answer
    for citation in answer.citations:
        yield citation.image_id
        yield from (copy.image_id for copy in citation.copies)
    ranked_candidates = answer.ranked[: located.request.parameters.top]
    for ranked in ranked_candidates:
        yield ranked.candidate.id
    for ranked in ranked_candidates:
        yield from (photo.id for photo in ranked.evidence)
