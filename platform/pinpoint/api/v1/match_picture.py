"""Match picture of an answer: the query photo next to the gallery image that matches best."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from pinpoint.api.v1.image_access import has_image_access
from pinpoint.api.v1.schemas.dossiers import OmissionReason
from pinpoint.bootstrap import Services
from pinpoint.errors import ForbiddenError, NotFoundError
from pinpoint.media.match_picture import MatchCaption, draw_match_picture
from pinpoint.records import Answer, Caller, Image
from pinpoint.search.candidates_and_evidence import decode_photo, list_distinct_photos
from pinpoint.search.context import QueryPhoto
from pinpoint.search.verifier import order_matches

NO_MATCH = "no_match"


def require_image_access(caller: Caller) -> None:
    """Require the scope that thumbnails need too: a match picture shows a gallery image.

    Raises:
        ForbiddenError: The key lacks the scope `read`.
    """
    if "read" not in caller.scopes:
        raise ForbiddenError(
            "a match picture shows a gallery image, so its key needs the scope `read` as well"
        )


def draw_best_match(
    answer: Answer, photos: Sequence[QueryPhoto], caller: Caller, services: Services
) -> bytes:
    """Draw the best match of an answer as a PNG.

    Args:
        answer: The answer.
        photos: The photos of its query.
        caller: The caller.
        services: Services of the API.

    Raises:
        NotFoundError: No gallery image that the caller may see was compared, or its original is
            gone.
    """
    images = _list_visible_images(answer, caller, services)
    if not images:
        raise NotFoundError(
            "there is no match picture: no gallery image was compared with the photo",
            reason=NO_MATCH,
        )
    png = _draw_match(answer, images[0], photos, services)
    if png is None:
        raise NotFoundError(
            f"there is no match picture: the original of image {images[0].id} cannot be read",
            reason=NO_MATCH,
        )
    return png


def list_matched_images(answer: Answer) -> list[UUID]:
    """Ids of the compared images with inliers, the best match first."""
    matches = answer.matches
    return [
        image_id
        for image_id in order_matches(matches)
        if matches[image_id].verification.inliers > 0
    ]


def draw_matches(
    answer: Answer, photos: Sequence[QueryPhoto], caller: Caller, services: Services, limit: int
) -> tuple[dict[UUID, bytes], dict[UUID, OmissionReason]]:
    """Draw the best matches of an answer.

    Args:
        answer: The answer.
        photos: The photos of its query.
        caller: The caller, who has the scope `read`.
        services: Services of the API.
        limit: Maximum number of match pictures.

    Returns:
        PNG by image id, and why the other matches have none.
    """
    drawn: dict[UUID, bytes] = {}
    visible = {image.id: image for image in _list_visible_images(answer, caller, services)}
    omissions: dict[UUID, OmissionReason] = {}
    for image_id in list_matched_images(answer):
        if image_id not in visible:
            omissions[image_id] = "not_permitted"
        elif len(drawn) == limit:
            omissions[image_id] = "limit"
        else:
            png = _draw_match(answer, visible[image_id], photos, services)
            if png is None:
                omissions[image_id] = "unavailable"
            else:
                drawn[image_id] = png
    return drawn, omissions


def _list_visible_images(answer: Answer, caller: Caller, services: Services) -> list[Image]:
    """Compared images whose originals the caller may see, the best match first."""
    with services.database.read(caller.organization_id) as catalog:
        images = catalog.images(list(answer.matches))
    return [
        images[image_id]
        for image_id in order_matches(answer.matches)
        if image_id in images and has_image_access(images[image_id], caller, "full")
    ]


def _draw_match(
    answer: Answer, image: Image, photos: Sequence[QueryPhoto], services: Services
) -> bytes | None:
    """Draw the match with an image; None if its original cannot be read."""
    compared = answer.matches[image.id]
    pixels = services.verifier.pixels.read(image.uri, [image]).get(image.id) if image.uri else None
    if pixels is None or compared.match is None:
        return None
    photo = list_distinct_photos(photos)[compared.photo]
    return draw_match_picture(
        decode_photo(photo, services.decoder),
        pixels,
        compared.match,
        compared.verification,
        MatchCaption(
            query_name=photo.file,
            image_id=str(image.id),
            image_name=image.file_name,
            license=image.license,
            attribution=image.attribution,
        ),
    )
