"""`POST /v1/locate` and `POST /v1/similar`: queries with a photo, which is not stored."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.datastructures import FormData

from pinpoint.api import forms, problems
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import match_picture, query_parameters
from pinpoint.api.v1.schemas.answer import AnswerOut, SimilarOut, list_image_ids
from pinpoint.bootstrap import Services
from pinpoint.errors import BadRequestError
from pinpoint.ports import Encoder, Reranker
from pinpoint.records import Answer, Caller, Crop, ImageLabel, SearchFilter, SimilarResult
from pinpoint.search import coordinate_pipeline, pipeline
from pinpoint.search.context import QueryPhoto, SearchContext

router = APIRouter(prefix="/v1", tags=["search"])

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 409, 413, 415, 422, 503)

_PNG: Final = "image/png"

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
RequestMeters = Annotated[Meters, Depends(get_meters)]


@router.post(
    "/locate",
    operation_id="locate",
    summary="Where was this photo taken, and what is the evidence?",
    response_model=AnswerOut,
    responses={
        200: {
            "description": "The answer, or with `Accept: image/png` the match picture: the photo "
            "next to the gallery image that matches best, with lines between the inliers.",
            "content": {_PNG: {"schema": {"type": "string", "format": "binary"}}},
        },
        **_PROBLEMS,
    },
    openapi_extra=forms.openapi_body(
        query_parameters.LocateForm, file="photo", many=True, required=True
    ),
)
def locate(
    caller: LocateCaller,
    services: AppServices,
    form: PhotoForm,
    request_meters: RequestMeters,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> AnswerOut | Response:
    """Locate one photo, or several photos of one place. Only the hashes of photos are stored."""
    as_png = _is_preferred(_PNG, accept)
    if as_png:
        match_picture.require_image_access(caller)
    parameters = forms.form_fields(form, query_parameters.LocateForm)
    photos = _read_photos(form, parameters)
    if not photos:
        raise BadRequestError("the form has no file in the field 'photo'")
    search_filter = _build_filter(parameters, caller, services)
    if parameters.search_space == "coordinates":
        answer = coordinate_pipeline.locate_by_coordinates(
            photos,
            search_filter,
            decoder=services.decoder,
            # This search reads no index that would report a model switch, so check for one first.
            encoder=services.encoders.refresh(),
            settings=services.settings.search,
        )
    else:
        answer = services.with_current_encoder(
            lambda encoder: pipeline.locate(
                photos,
                search_filter,
                _build_context(
                    services,
                    caller,
                    encoder,
                    reranker=encoder.reranker,
                    verify_candidates=parameters.verify,
                ),
            )
        )
    labels = _log_query(
        services, caller, "locate", photos, answer, list_image_ids(answer, parameters.top)
    )
    request_meters.observe_search("locate", answer.timings_ms, point=answer.point is not None)
    if as_png:
        png = match_picture.draw_best_match(answer, photos, caller, services)
        return Response(png, media_type=_PNG)
    return AnswerOut.of(
        answer, parameters.top, labels, with_matches="matches" in parameters.include
    )


@router.post(
    "/similar",
    operation_id="similar",
    summary="Which gallery images look like this photo, or like this image?",
    responses=_PROBLEMS,
    openapi_extra=forms.openapi_body(
        query_parameters.SimilarForm, file="photo", many=False, required=False
    ),
)
def similar(
    caller: LocateCaller, services: AppServices, form: PhotoForm, request_meters: RequestMeters
) -> SimilarOut:
    """List the images most similar to a photo or gallery image, by panorama or sequence."""
    parameters = forms.form_fields(form, query_parameters.SimilarForm)
    photos = _read_photos(form, parameters)
    query: QueryPhoto | UUID
    if len(photos) == 1 and parameters.image_id is None:
        query = photos[0]
    elif not photos and parameters.image_id is not None:
        query = parameters.image_id
    else:
        raise BadRequestError("give either one file in the field 'photo' or an image_id")
    search_filter = _build_filter(parameters, caller, services)
    request = pipeline.SimilarRequest(
        query=query,
        limit=parameters.limit,
        per_group=parameters.per_group,
        include_self=parameters.include_self,
        exclude_group=parameters.exclude_group,
    )
    result = services.with_current_encoder(
        lambda encoder: pipeline.similar(
            request, search_filter, _build_context(services, caller, encoder)
        )
    )
    image_ids = [hit.id for group in result.groups for hit in group.hits]
    labels = _log_query(services, caller, "similar", photos, result, image_ids)
    request_meters.observe_search("similar", result.timings_ms, point=False)
    return SimilarOut.of(result, labels)


def _read_photos(
    form: FormData, parameters: query_parameters.LocateForm | query_parameters.SimilarForm
) -> list[QueryPhoto]:
    """Read the photos of a query, with their crops.

    Raises:
        BadRequestError: There are crops, but not one for each photo.
    """
    files = forms.form_files(form, "photo")
    crops: Sequence[Crop | None] = parameters.crop or [None] * len(files)
    if len(crops) != len(files):
        raise BadRequestError(
            f"there are {len(files)} photos and {len(crops)} values of 'crop'; give none, or one "
            "for each photo"
        )
    return [
        QueryPhoto(
            data=file.file.read(),
            file=file.filename or "photo",
            kind=parameters.query_kind,
            crop=crop,
        )
        for file, crop in zip(files, crops, strict=True)
    ]


def _build_filter(
    parameters: query_parameters.SearchFilterParameters, caller: Caller, services: Services
) -> SearchFilter:
    with services.database.read(caller.organization_id) as catalog:
        return query_parameters.to_search_filter(parameters, catalog)


def _is_preferred(media_type: str, accept: str) -> bool:
    """Whether the header `Accept` names this type before JSON and before any wildcard."""
    for entry in accept.split(","):
        name = entry.partition(";")[0].strip().lower()
        if name in (media_type, "application/json") or "*" in name:
            return name == media_type
    return False


def _build_context(
    services: Services,
    caller: Caller,
    encoder: Encoder,
    *,
    reranker: Reranker | None = None,
    verify_candidates: int | None = None,
) -> SearchContext:
    settings = services.settings.search
    if verify_candidates is not None:
        settings = settings.model_copy(update={"verify_candidates": verify_candidates})
    return SearchContext(
        organization_id=caller.organization_id,
        decoder=services.decoder,
        encoder=encoder,
        index=services.index,
        database=services.database,
        settings=settings,
        verifier=services.verifier,
        reranker=reranker,
    )


def _log_query(
    services: Services,
    caller: Caller,
    flow: str,
    photos: Sequence[QueryPhoto],
    result: Answer | SimilarResult,
    image_ids: Sequence[UUID],
) -> dict[UUID, ImageLabel]:
    """Log the caller, bundle, index build and photo hashes of a query.

    The same transaction reads the labels of all images in the response.
    """
    with services.database.write(caller.organization_id) as catalog:
        catalog.log_query(
            flow,
            key_id=caller.key_id,
            photo_sha256s=sorted({hashlib.sha256(photo.data).hexdigest() for photo in photos}),
            bundle=result.bundle,
            index_build=result.index_build,
        )
        return catalog.image_labels(image_ids)
