"""What the routes of queries share: form, photos, filter, context and log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

from fastapi import Depends, Request, Response
from pydantic import BaseModel
from starlette.datastructures import FormData

from pinpoint.api import forms
from pinpoint.api.auth import make_position_access
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.dependencies import AppServices
from pinpoint.api.v1 import query_parameters
from pinpoint.api.v1.media_types import GEOJSON
from pinpoint.bootstrap import Services
from pinpoint.errors import ForbiddenError, InvalidRequestError
from pinpoint.ports import Decoder, Encoder, Reranker
from pinpoint.position_access import PositionAccess
from pinpoint.records import Caller, Crop, SearchFilter, SourceKind
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.search.protected_answer import is_restricted
from pinpoint.search.search_trace import SearchTrace

MINIMUM_RADIUS: Final = "minimum_radius"
"""Reason of a query that a key with a minimum radius may not ask."""

_PHOTO_RULE = BodyRule(
    lane="queries",
    max_bytes=lambda settings: settings.media.max_bytes + forms.MAX_QUERY_FIELDS_BYTES,
    limit_name="PINPOINT_MEDIA_MAX_BYTES",
    stated_bytes=lambda settings: settings.media.max_bytes,
)


@reads_body(_PHOTO_RULE)
async def photo_form(request: Request, services: AppServices) -> AsyncIterator[FormData]:
    """Read the form; its photos, together at most as large as one photo, stay in memory."""
    form = await forms.read_form(
        request,
        max_files=query_parameters.MAX_QUERY_PHOTOS,
        fields_bytes=forms.MAX_QUERY_FIELDS_BYTES,
        in_memory_bytes=_PHOTO_RULE.max_bytes(services.settings),
    )
    try:
        yield form
    finally:
        await form.close()


PhotoForm = Annotated[FormData, Depends(photo_form)]


def make_layer_response(layer: BaseModel) -> Response:
    """Return a layer as GeoJSON."""
    return Response(layer.model_dump_json(), media_type=GEOJSON)


def read_base_url(request: Request) -> str:
    """Return the base URL of the API, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def read_photos(
    form: FormData, crop: Sequence[Crop], query_kind: SourceKind | None
) -> list[QueryPhoto]:
    """Read the photos of a query, with their crops.

    Raises:
        InvalidRequestError: There are crops, but not one for each photo.
    """
    files = forms.form_files(form, "photo")
    crops: Sequence[Crop | None] = crop or [None] * len(files)
    if len(crops) != len(files):
        raise InvalidRequestError(
            f"there are {len(files)} photos and {len(crops)} values of 'crop'; give none, or one "
            "for each photo"
        )
    return [
        QueryPhoto(
            data=file.file.read(),
            file=file.filename or "photo",
            kind=query_kind,
            crop=region,
        )
        for file, region in zip(files, crops, strict=True)
    ]


def build_filter(
    parameters: query_parameters.SearchFilterParameters, caller: Caller, services: Services
) -> SearchFilter:
    """Convert the filter fields of a query.

    Raises:
        NotFoundError: A source does not exist.
    """
    with services.database.read(caller.organization_id) as catalog:
        return query_parameters.to_search_filter(parameters, catalog)


def build_context(
    services: Services,
    caller: Caller,
    encoder: Encoder,
    *,
    reranker: Reranker | None = None,
    verify_candidates: int | None = None,
    trace: SearchTrace | None = None,
    decoder: Decoder | None = None,
) -> SearchContext:
    """Build the context of a query of a caller."""
    settings = services.settings.search
    if verify_candidates is not None:
        settings = settings.model_copy(update={"verify_candidates": verify_candidates})
    return SearchContext(
        organization_id=caller.organization_id,
        decoder=decoder or services.decoder,
        encoder=encoder,
        index=services.index,
        database=services.database,
        settings=settings,
        verifier=services.verifier,
        reranker=reranker,
        trace=trace,
    )


def find_restriction(caller: Caller, services: Services) -> PositionAccess | None:
    """Access of a caller whose answers may differ from exact ones; None for all others."""
    access = make_position_access(caller)
    restricted = is_restricted(access, caller.organization_id, services.database)
    return access if restricted else None


def restrict_gallery_search(request: Request, caller: Caller, services: Services) -> bool:
    """Whether a search of gallery images must hide those in protected areas.

    Raises:
        ForbiddenError: The key has a minimum radius, which images with positions would undercut.
    """
    access = find_restriction(caller, services)
    if access is not None and access.min_radius_m > 0:
        raise ForbiddenError(
            "this key has a minimum radius, and gallery images would reveal an exact position",
            reason=MINIMUM_RADIUS,
        )
    request.state.is_restricted = access is not None
    return access is not None
