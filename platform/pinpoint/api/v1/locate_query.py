"""One locate query from its form to its logged answer: what `/v1/locate` and `/v1/dossiers` share.

Jobs share the search itself, `locate_photos`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from starlette.datastructures import FormData

from pinpoint.api import rate_limits
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import misuse, query_parameters, query_requests
from pinpoint.api.v1.query_audit import list_locate_entries
from pinpoint.api.v1.schemas.answer import AnswerOut, list_image_ids
from pinpoint.api.v1.schemas.explanation import ExplanationOut
from pinpoint.bootstrap import Services
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import ForbiddenError, InvalidRequestError
from pinpoint.media.decoding.creator_counter import CreatorCounter
from pinpoint.ports import Decoder
from pinpoint.position_access import PositionAccess
from pinpoint.records import Answer, Caller, ImageLabel, KeptQuery, SearchFilter
from pinpoint.records.audit import AuditOperation
from pinpoint.search import coordinate_pipeline, pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.search.protected_answer import locate_restricted, protect_answer
from pinpoint.search.search_trace import SearchTrace
from pinpoint.search.stopwatch import ReportStage, Stopwatch

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """The request of a query, its caller and what answers it."""

    request: Request
    caller: Caller
    services: Services
    meters: Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedQuery:
    """A located and logged query."""

    answer: Answer
    """As the caller may see it; without timings for a restricted one."""
    request: LocateRequest
    labels: Mapping[UUID, ImageLabel]
    """Labels of all images in the response."""
    kept_query: KeptQuery | None

    @property
    def photos(self) -> Sequence[QueryPhoto]:
        """Photos of the query."""
        return self.request.photos

    def to_schema(self, services: Services) -> AnswerOut:
        """Convert the answer with what the parameters include."""
        parameters, trace = self.request.parameters, self.request.trace
        return AnswerOut.of(
            self.answer,
            parameters.top,
            self.labels,
            search_filter=self.request.search_filter,
            with_matches="matches" in parameters.include,
            explanation=None
            if trace is None
            else ExplanationOut.of(self.answer, trace, parameters.top, services.settings.search),
            kept_query=self.kept_query,
        )


def run_locate_query(
    context: RequestContext,
    form: FormData,
    parameters: query_parameters.LocateForm,
    operation: AuditOperation = "locate",
) -> LocatedQuery:
    """Locate the photos of a form as its caller may see it, and log the query.

    Args:
        context: The request.
        form: The form with the photos.
        parameters: Its other fields.
        operation: Operation of the audit log.

    Raises:
        PinpointError: As `read_locate_request` and `answer_locate_request`.
    """
    return answer_locate_request(context, read_locate_request(context, form, parameters), operation)


def answer_locate_request(
    context: RequestContext, locate_request: LocateRequest, operation: AuditOperation = "locate"
) -> LocatedQuery:
    """Locate photos, check the query for misuse, and log it.

    Raises:
        AbnormalUsageError: The misuse rule refuses the answer.
        PinpointError: As `locate_photos`.
    """
    caller, services = context.caller, context.services
    photos, parameters = locate_request.photos, locate_request.parameters
    decoder = CreatorCounter(services.decoder)
    answer = locate_photos(locate_request, caller, services, decoder)
    misuse.check_misuse(answer, photos, decoder.creators, caller, services, context.meters)
    context.meters.observe_search("locate", answer.timings_ms, point=answer.point is not None)
    if locate_request.access is not None:
        answer = replace(answer, timings_ms={})
    retention_days = services.settings.search.kept_query_retention_days
    with services.database.write(caller.organization_id) as catalog:
        is_kept = parameters.keep and answer.point is not None
        kept_query = catalog.keep_query(answer, retention_days) if is_kept else None
        entries = list_locate_entries(
            answer,
            photos,
            caller,
            kept_query=kept_query,
            has_position=services.settings.api.audit_positions,
            operation=operation,
        )
        catalog.log_access(*entries)
        # In the same transaction as the log: the labels of all images in the response.
        labels = catalog.image_labels(list_image_ids(answer, parameters.top))
    return LocatedQuery(answer=answer, request=locate_request, labels=labels, kept_query=kept_query)


def read_locate_request(
    context: RequestContext, form: FormData, parameters: query_parameters.LocateForm
) -> LocateRequest:
    """Read the photos and the filter of a form, and count the photos against the limits.

    Raises:
        ForbiddenError: The installation keeps no queries.
        InvalidRequestError: There is no photo, or there are crops but not one for each photo.
        QuotaExceededError: The key has located too many photos.
    """
    request, caller, services = context.request, context.caller, context.services
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
    rate_limits.take_photos(request, caller, services, len(photos))
    return LocateRequest(
        photos=photos,
        parameters=parameters,
        search_filter=search_filter,
        access=access,
        # Times and dropped candidates would reveal images that a restricted caller may not see.
        trace=SearchTrace() if is_explained and access is None else None,
    )


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
