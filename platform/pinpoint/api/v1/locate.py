"""`POST /v1/locate` and `POST /v1/similar`: queries with a photo, which is not stored."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel
from starlette.datastructures import FormData

from pinpoint.api import forms, problems
from pinpoint.api.auth import make_position_access
from pinpoint.api.body_limits import BodyRule, reads_body
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import match_picture, query_parameters
from pinpoint.api.v1.media_types import GEOJSON, JSON, PNG, choose_media_type, refer_to_schema
from pinpoint.api.v1.schemas.answer import AnswerOut, SimilarOut, list_image_ids
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut, SimilarFeaturesOut
from pinpoint.bootstrap import Services
from pinpoint.errors import BadRequestError, ForbiddenError
from pinpoint.ports import CatalogWriter, Encoder, Reranker
from pinpoint.position_access import PositionAccess
from pinpoint.records import Answer, Caller, Crop, SearchFilter, SimilarResult
from pinpoint.search import coordinate_pipeline, pipeline
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.search.protected_answer import (
    hide_images,
    is_restricted,
    locate_restricted,
    protect_answer,
)

router = APIRouter(prefix="/v1", tags=["search"])

MINIMUM_RADIUS: Final = "minimum_radius"
"""Reason of a query that a key with a minimum radius may not ask."""

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)

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
            "description": "The answer. With `Accept: application/geo+json` it is a layer: a "
            "FeatureCollection (RFC 7946) of point, regions, candidates and evidence. With "
            "`Accept: image/png` it is the match picture: the photo next to the gallery image that "
            "matches best, with lines between the inliers.",
            "content": {
                GEOJSON: {"schema": refer_to_schema(AnswerFeaturesOut)},
                PNG: {"schema": {"type": "string", "format": "binary"}},
            },
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
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> AnswerOut | Response:
    """Locate one photo, or several photos of one place. Only the hashes of photos are stored."""
    media_type = choose_media_type(accept, (JSON, GEOJSON, PNG))
    if media_type == PNG:
        match_picture.require_image_access(caller)
    parameters = forms.form_fields(form, query_parameters.LocateForm)
    retention_days = services.settings.search.kept_query_retention_days
    if parameters.keep and not retention_days:
        raise ForbiddenError(
            "this installation keeps no queries; its operator can allow it by "
            "PINPOINT_SEARCH_KEPT_QUERY_RETENTION_DAYS"
        )
    photos = _read_photos(form, parameters)
    if not photos:
        raise BadRequestError("the form has no file in the field 'photo'")
    access = make_position_access(caller)
    restricted = is_restricted(access, caller.organization_id, services.database)
    request.state.is_restricted = restricted
    answer = _locate_photos(photos, parameters, caller, services, access if restricted else None)
    request_meters.observe_search("locate", answer.timings_ms, point=answer.point is not None)
    if restricted:
        answer = replace(answer, timings_ms={})
    with services.database.write(caller.organization_id) as catalog:
        _log_query(catalog, caller, "locate", photos, answer)
        is_kept = parameters.keep and answer.point is not None
        kept_query = catalog.keep_query(answer, retention_days) if is_kept else None
        # In the same transaction as the log: the labels of all images in the response.
        labels = catalog.image_labels(list_image_ids(answer, parameters.top))
    if media_type == PNG:
        png = match_picture.draw_best_match(answer, photos, caller, services)
        return Response(png, media_type=PNG)
    answer_out = AnswerOut.of(
        answer,
        parameters.top,
        labels,
        with_matches="matches" in parameters.include,
        kept_query=kept_query,
    )
    if media_type == GEOJSON:
        return _make_layer_response(AnswerFeaturesOut.of(answer_out, _read_base_url(request)))
    return answer_out


def _locate_photos(
    photos: list[QueryPhoto],
    parameters: query_parameters.LocateForm,
    caller: Caller,
    services: Services,
    access: PositionAccess | None,
) -> Answer:
    """Locate photos; `access` is that of a restricted caller, None for all others."""
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
        if access is None:
            return answer
        with services.database.read(caller.organization_id) as catalog:
            return protect_answer(answer, catalog, access)

    def locate_with(encoder: Encoder, reranker: Reranker | None) -> Answer:
        context = _build_context(
            services, caller, encoder, reranker=reranker, verify_candidates=parameters.verify
        )
        if access is None:
            return pipeline.locate(photos, search_filter, context)
        return locate_restricted(photos, search_filter, context, access)

    return services.with_current_encoder(lambda encoder: locate_with(encoder, encoder.reranker))


@router.post(
    "/similar",
    operation_id="similar",
    summary="Which gallery images look like this photo, or like this image?",
    response_model=SimilarOut,
    responses={
        200: {
            "description": "The images. With `Accept: application/geo+json` they are a layer: a "
            "FeatureCollection (RFC 7946).",
            "content": {GEOJSON: {"schema": refer_to_schema(SimilarFeaturesOut)}},
        },
        **_PROBLEMS,
    },
    openapi_extra=forms.openapi_body(
        query_parameters.SimilarForm, file="photo", many=False, required=False
    ),
)
def similar(
    caller: LocateCaller,
    services: AppServices,
    form: PhotoForm,
    request_meters: RequestMeters,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> SimilarOut | Response:
    """List the images most similar to a photo or gallery image, by panorama or sequence."""
    media_type = choose_media_type(accept, (JSON, GEOJSON))
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
    similar_request = pipeline.SimilarRequest(
        query=query,
        limit=parameters.limit,
        per_group=parameters.per_group,
        include_self=parameters.include_self,
        exclude_group=parameters.exclude_group,
    )
    access = make_position_access(caller)
    if access.min_radius_m > 0:
        raise ForbiddenError(
            "this key has a minimum radius, and similar images would reveal an exact position",
            reason=MINIMUM_RADIUS,
        )
    restricted = is_restricted(access, caller.organization_id, services.database)
    request.state.is_restricted = restricted

    def search_with(encoder: Encoder) -> SimilarResult:
        context = _build_context(services, caller, encoder)
        return pipeline.similar(
            similar_request, search_filter, hide_images(context) if restricted else context
        )

    result = services.with_current_encoder(search_with)
    with services.database.write(caller.organization_id) as catalog:
        _log_query(catalog, caller, "similar", photos, result)
        labels = catalog.image_labels([hit.id for group in result.groups for hit in group.hits])
    request_meters.observe_search("similar", result.timings_ms, point=False)
    if restricted:
        result = replace(result, timings_ms={})
    similar_out = SimilarOut.of(result, labels)
    if media_type == GEOJSON:
        return _make_layer_response(SimilarFeaturesOut.of(similar_out, _read_base_url(request)))
    return similar_out


def _make_layer_response(layer: BaseModel) -> Response:
    return Response(layer.model_dump_json(), media_type=GEOJSON)


def _read_base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


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
    catalog: CatalogWriter,
    caller: Caller,
    flow: str,
    photos: Sequence[QueryPhoto],
    result: Answer | SimilarResult,
) -> None:
    """Log the caller, bundle, index build and photo hashes of a query."""
    catalog.log_query(
        flow,
        key_id=caller.key_id,
        photo_sha256s=sorted({hashlib.sha256(photo.data).hexdigest() for photo in photos}),
        bundle=result.bundle,
        index_build=result.index_build,
    )
