"""The answer for the photo of a job's item: by the code of `POST /v1/locate`.

Workers import this module, and no other one of the API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pinpoint.api.auth import make_position_access
from pinpoint.api.v1 import misuse, query_requests
from pinpoint.api.v1.locate_query import LocateRequest, locate_photos
from pinpoint.api.v1.query_audit import list_locate_entries
from pinpoint.api.v1.query_parameters import LocateForm
from pinpoint.api.v1.schemas.answer import AnswerOut, list_image_ids
from pinpoint.bootstrap import Services
from pinpoint.errors import InvalidRequestError
from pinpoint.media.decoding.creator_counter import CreatorCounter
from pinpoint.position_access import apply_access
from pinpoint.records import Caller
from pinpoint.records.jobs import ClaimedJobItem, LocatedPhoto
from pinpoint.search.context import QueryPhoto

_NOT_IN_JOBS = ("keep",)
"""Fields of `/v1/locate` that a job does not have: it keeps its results anyway."""


def parse_job_parameters(values: Mapping[str, Any]) -> LocateForm:
    """Parse the parameters of a job or of an item: fields of `/v1/locate` as JSON values.

    A GeoJSON area may be an object, and a bbox a list of numbers.

    Raises:
        InvalidRequestError: A parameter is unknown or has an invalid value; the message names it.
    """
    for name in _NOT_IN_JOBS:
        if name in values:
            raise InvalidRequestError(f"parameters.{name}: jobs have no such parameter")
    fields = {name: _to_field(value) for name, value in values.items() if value is not None}
    try:
        form = LocateForm.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(str(part) for part in ("parameters", *first["loc"]))
        raise InvalidRequestError(f"{location}: {first['msg']}") from error
    if len(form.crop) > 1:
        raise InvalidRequestError("parameters.crop: an item has one photo, so give one crop")
    return form


def _to_field(value: Any) -> Any:
    """Convert a JSON value to the form of a field."""
    if isinstance(value, dict):
        return json.dumps(value)
    is_box = (
        isinstance(value, list)
        and value
        and all(isinstance(number, int | float) for number in value)
    )
    return ",".join(map(str, value)) if is_box else value


def locate_job_photo(services: Services, item: ClaimedJobItem, data: bytes) -> LocatedPhoto:
    """Locate the photo of an item as its key would by `POST /v1/locate`.

    Args:
        services: Services of a worker.
        item: The item, with its parameters.
        data: The photo, untrusted.

    Raises:
        PinpointError: As the route would answer.
    """
    caller = Caller(
        organization_id=item.organization_id,
        organization=item.organization,
        scopes=frozenset({"locate"}),
        key_id=item.key_id,
        granularity=item.granularity,
        min_radius_m=item.min_radius_m,
    )
    # A worker is the owner; the answer is that of the API's role, which sees no protected rows.
    services = replace(services, database=services.tenant_database)
    with apply_access(make_position_access(caller)):
        return _locate_photo(services, item, caller, data)


def _locate_photo(
    services: Services, item: ClaimedJobItem, caller: Caller, data: bytes
) -> LocatedPhoto:
    parameters = parse_job_parameters(item.parameters)
    photo = QueryPhoto(
        data=data,
        file=item.file,
        kind=parameters.query_kind,
        crop=parameters.crop[0] if parameters.crop else None,
    )
    search_filter = query_requests.build_filter(parameters, caller, services)
    access = query_requests.find_restriction(caller, services)
    request = LocateRequest(
        photos=[photo], parameters=parameters, search_filter=search_filter, access=access
    )
    decoder = CreatorCounter(services.decoder)
    answer = locate_photos(request, caller, services, decoder)
    misuse.check_misuse(answer, [photo], decoder.creators, caller, services)
    if access is not None:
        answer = replace(answer, timings_ms={})
    with services.database.read(item.organization_id) as catalog:
        labels = catalog.image_labels(list_image_ids(answer, parameters.top))
    answer_out = AnswerOut.of(
        answer,
        parameters.top,
        labels,
        search_filter=search_filter,
        with_matches="matches" in parameters.include,
    )
    (entry,) = list_locate_entries(
        answer,
        [photo],
        caller,
        kept_query=None,
        has_position=services.settings.api.audit_positions,
    )
    return LocatedPhoto(
        result=answer_out.model_dump_json(),
        lat=None if answer.point is None else answer.point.lat,
        lon=None if answer.point is None else answer.point.lon,
        audit_entry=replace(entry, target_id=item.job_id),
    )
