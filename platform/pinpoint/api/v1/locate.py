"""`POST /v1/locate` and `POST /v1/similar`: queries with a photo, which is not stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response

from pinpoint.api import forms, problems, rate_limits
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.event_stream import EventStream
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import match_picture, misuse, query_parameters, query_requests
from pinpoint.api.v1.media_types import (
    EVENT_STREAM,
    GEOJSON,
    JSON,
    PNG,
    choose_media_type,
    refer_to_schema,
)
from pinpoint.api.v1.query_audit import list_locate_entries, list_similar_entries
from pinpoint.api.v1.schemas.answer import AnswerOut, SimilarOut, list_image_ids
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut, SimilarFeaturesOut
from pinpoint.api.v1.schemas.explanation import ExplanationOut
from pinpoint.bootstrap import Services
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import ForbiddenError, InvalidRequestError
from pinpoint.media.decoding.creator_counter import CreatorCounter
from pinpoint.ports import Decoder, Encoder
from pinpoint.position_access import PositionAccess
from pinpoint.records import Answer, Caller, SearchFilter, SimilarResult
from pinpoint.search import coordinate_pipeline, pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.search.protected_answer import (
    hide_images,
    locate_restricted,
    protect_answer,
)
from pinpoint.search.search_trace import SearchTrace
from pinpoint.search.stopwatch import ReportStage, Stopwatch

router = APIRouter(prefix="/v1", tags=["search"])

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)

RequestMeters = Annotated[Meters, Depends(get_meters)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateRequest:
    """What `locate_photos` locates, and how much of it the caller may see."""

    photos: list[QueryPhoto]
    """Photos of one place."""
    parameters: query_parameters.LocateForm
    search_filter: SearchFilter
    access: PositionAccess | None
    """That of a restricted caller; None for all others."""
    trace: SearchTrace | None = None
    report_stage: ReportStage | None = None


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
    if parameters.keep and not services.settings.search.kept_query_retention_days:
        raise ForbiddenError(
            "this installation keeps no queries; its operator can allow it by "
            "PINPOINT_SEARCH_KEPT_QUERY_RETENTION_DAYS"
        )
    photos = query_requests.read_photos(form, parameters.crop, parameters.query_kind)
    if not photos:
        raise InvalidRequestError("the form has no file in the field 'photo'")
    search_filter = query_requests.build_filter(parameters, caller, services)
    is_explained = "explain" in parameters.include and parameters.search_space == "gallery"
    access = query_requests.find_restriction(caller, services)
    request.state.is_restricted = access is not None
    # Times and dropped candidates would reveal images that a restricted caller may not see.
    trace = SearchTrace() if is_explained and access is None else None
    rate_limits.take_photos(request, caller, services, len(photos))
    locate_request = LocateRequest(
        photos=photos,
        parameters=parameters,
        search_filter=search_filter,
        access=access,
        trace=trace,
    )
    answer_request = partial(_answer_request, locate_request, caller, services, request_meters)
    if media_type == EVENT_STREAM:
        interval_s = services.settings.api.restricted_interval_s
        return EventStream(
            lambda report_stage: answer_request(report_stage)[1].model_dump_json(by_alias=True),
            restricted_interval_s=None if access is None else interval_s,
        )
    answer, answer_out = answer_request()
    if media_type == PNG:
        png = match_picture.draw_best_match(answer, photos, caller, services)
        return Response(png, media_type=PNG)
    if media_type == GEOJSON:
        return query_requests.make_layer_response(
            AnswerFeaturesOut.of(answer_out, query_requests.read_base_url(request))
        )
    return answer_out


def _answer_request(
    request: LocateRequest,
    caller: Caller,
    services: Services,
    meters: Meters,
    report_stage: ReportStage | None = None,
) -> tuple[Answer, AnswerOut]:
    """Locate the photos of a request, check for misuse, write the audit log, and keep the query."""
    photos, parameters = request.photos, request.parameters
    decoder = CreatorCounter(services.decoder)
    answer = locate_photos(replace(request, report_stage=report_stage), caller, services, decoder)
    misuse.check_misuse(answer, photos, decoder.creators, caller, services, meters)
    meters.observe_search("locate", answer.timings_ms, point=answer.point is not None)
    if request.access is not None:
        answer = replace(answer, timings_ms={})
    with services.database.write(caller.organization_id) as catalog:
        is_kept = parameters.keep and answer.point is not None
        retention_days = services.settings.search.kept_query_retention_days
        kept_query = catalog.keep_query(answer, retention_days) if is_kept else None
        entries = list_locate_entries(
            answer,
            photos,
            caller,
            kept_query=kept_query,
            has_position=services.settings.api.audit_positions,
        )
        catalog.log_access(*entries)
        # In the same transaction as the log: the labels of all images in the response.
        labels = catalog.image_labels(list_image_ids(answer, parameters.top))
    answer_out = AnswerOut.of(
        answer,
        parameters.top,
        labels,
        search_filter=request.search_filter,
        with_matches="matches" in parameters.include,
        explanation=None
        if request.trace is None
        else ExplanationOut.of(answer, request.trace, parameters.top, services.settings.search),
        kept_query=kept_query,
    )
    return answer, answer_out


def locate_photos(
    request: LocateRequest, caller: Caller, services: Services, decoder: Decoder
) -> Answer:
    """Locate photos of one place in the search space of the parameters, as the caller may see it.

    Raises:
        BadPhotoError: The bytes are not an accepted image.
    """
    photos, search_filter, access = request.photos, request.search_filter, request.access
    if request.parameters.search_space == "coordinates":
        answer = coordinate_pipeline.locate_by_coordinates(
            photos,
            search_filter,
            decoder=decoder,
            # This search reads no index that would report a model switch, so check for one first.
            encoder=services.encoders.refresh(),
            settings=services.settings.search,
            report_stage=request.report_stage,
        )
        if access is None:
            return answer
        with services.database.read(caller.organization_id) as catalog:
            return protect_answer(answer, catalog, access)

    def locate_with(encoder: EncoderHandle) -> Answer:
        context = query_requests.build_context(
            services,
            caller,
            encoder,
            decoder=decoder,
            reranker=encoder.reranker,
            verify_candidates=request.parameters.verify,
            trace=request.trace,
        )
        context = replace(context, stopwatch=Stopwatch(request.report_stage))
        if access is None:
            return pipeline.locate(photos, search_filter, context)
        return locate_restricted(photos, search_filter, context, access)

    return services.with_current_encoder(locate_with)


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
