"""`POST /v1/locate` and `POST /v1/similar`: queries with a photo, which is not stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response

from pinpoint.api import forms, problems, rate_limits
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.event_stream import EventStream
from pinpoint.api.v1 import match_picture, query_parameters, query_requests
from pinpoint.api.v1.locate_query import (
    RequestContext,
    RequestMeters,
    answer_locate_request,
    read_locate_request,
)
from pinpoint.api.v1.media_types import (
    EVENT_STREAM,
    GEOJSON,
    JSON,
    PNG,
    choose_media_type,
    refer_to_schema,
)
from pinpoint.api.v1.query_audit import list_similar_entries
from pinpoint.api.v1.schemas.answer import AnswerOut, SimilarOut
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut, SimilarFeaturesOut
from pinpoint.errors import InvalidRequestError
from pinpoint.ports import Encoder
from pinpoint.records import SimilarResult
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.search.protected_answer import hide_images

router = APIRouter(prefix="/v1", tags=["search"])

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)


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
            "matches best, with lines between the inliers. With `Accept: text/event-stream` it is "
            "a stream of server-sent events: `stage` with the name of each stage when it starts "
            "and the seconds until then, at last `answer` with the JSON answer or `problem` with "
            "the problem details.",
            "content": {
                GEOJSON: {"schema": refer_to_schema(AnswerFeaturesOut)},
                PNG: {"schema": {"type": "string", "format": "binary"}},
                EVENT_STREAM: {"schema": {"type": "string"}},
            },
        },
        **_PROBLEMS,
    },
    openapi_extra=forms.openapi_body(
        query_parameters.LocateForm,
        file="photo",
        many=True,
        required=True,
        max_files=query_parameters.MAX_QUERY_PHOTOS,
    ),
)
def locate(
    caller: LocateCaller,
    services: AppServices,
    form: query_requests.PhotoForm,
    request_meters: RequestMeters,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> AnswerOut | Response:
    """Locate one photo, or several photos of one place. Only the hashes of photos are stored."""
    media_type = choose_media_type(accept, (JSON, GEOJSON, PNG, EVENT_STREAM))
    if media_type == PNG:
        match_picture.require_image_access(caller)
    parameters = forms.form_fields(form, query_parameters.LocateForm)
    context = RequestContext(
        request=request, caller=caller, services=services, meters=request_meters
    )
    locate_request = read_locate_request(context, form, parameters)
    if media_type == EVENT_STREAM:
        interval_s = services.settings.api.restricted_interval_s
        return EventStream(
            lambda report_stage: (
                answer_locate_request(context, replace(locate_request, report_stage=report_stage))
                .to_schema(services)
                .model_dump_json(by_alias=True)
            ),
            restricted_interval_s=None if locate_request.access is None else interval_s,
        )
    located = answer_locate_request(context, locate_request)
    if media_type == PNG:
        png = match_picture.draw_best_match(located.answer, located.photos, caller, services)
        return Response(png, media_type=PNG)
    answer_out = located.to_schema(services)
    if media_type == GEOJSON:
        return query_requests.make_layer_response(
            AnswerFeaturesOut.of(answer_out, query_requests.read_base_url(request))
        )
    return answer_out


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
    form: query_requests.PhotoForm,
    request_meters: RequestMeters,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> SimilarOut | Response:
    """List the images most similar to a photo or gallery image, by panorama or sequence."""
    media_type = choose_media_type(accept, (JSON, GEOJSON))
    parameters = forms.form_fields(form, query_parameters.SimilarForm)
    photos = query_requests.read_photos(form, parameters.crop, parameters.query_kind)
    query: QueryPhoto | UUID
    if len(photos) == 1 and parameters.image_id is None:
        query = photos[0]
    elif not photos and parameters.image_id is not None:
        query = parameters.image_id
    else:
        raise InvalidRequestError("give either one file in the field 'photo' or an image_id")
    rate_limits.take_photos(request, caller, services, len(photos))
    search_filter = query_requests.build_filter(parameters, caller, services)
    similar_request = pipeline.SimilarRequest(
        query=query,
        limit=parameters.limit,
        per_group=parameters.per_group,
        include_self=parameters.include_self,
        exclude_group=parameters.exclude_group,
    )
    restricted = query_requests.restrict_gallery_search(request, caller, services)

    def search_with(encoder: Encoder) -> SimilarResult:
        context = query_requests.build_context(services, caller, encoder)
        return pipeline.similar(
            similar_request, search_filter, hide_images(context) if restricted else context
        )

    result = services.with_current_encoder(search_with)
    with services.database.write(caller.organization_id) as catalog:
        catalog.log_access(*list_similar_entries(result, photos, caller, parameters.image_id))
        labels = catalog.image_labels([hit.id for group in result.groups for hit in group.hits])
    request_meters.observe_search("similar", result.timings_ms, point=False)
    if restricted:
        result = replace(result, timings_ms={})
    similar_out = SimilarOut.of(result, labels)
    if media_type == GEOJSON:
        return query_requests.make_layer_response(
            SimilarFeaturesOut.of(similar_out, query_requests.read_base_url(request))
        )
    return similar_out
