"""Match picture of an answer: the query photo next to the gallery image that matches best."""

from __future__ import annotations

from collections.abc import Sequence

from pinpoint.api.v1.image_access import has_image_access
from pinpoint.bootstrap import Services
from pinpoint.errors import ForbiddenError, NotFoundError
from pinpoint.media.match_picture import MatchCaption, draw_match_picture
from pinpoint.records import Answer, Caller
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
    with services.database.read(caller.organization_id) as catalog:
        images = catalog.images(list(answer.matches))
    order = [
        image_id
        for image_id in order_matches(answer.matches)
        if image_id in images and has_image_access(images[image_id], caller, "full")
    ]
    compared = answer.matches[order[0]] if order else None
    if compared is None or compared.match is None:
        raise NotFoundError(
            "there is no match picture: no gallery image was compared with the photo",
            reason=NO_MATCH,
        )
    image = images[order[0]]
    pixels = services.verifier.pixels.read(image.uri, [image]).get(image.id) if image.uri else None
    if pixels is None:
        raise NotFoundError(
            f"there is no match picture: the original of image {image.id} cannot be read",
            reason=NO_MATCH,
        )
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
