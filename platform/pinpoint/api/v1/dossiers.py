"""`POST /v1/dossiers`: the answer to a query as a ZIP file that another person can check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from pinpoint import __version__
from pinpoint.api import forms, problems
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.dossiers.archive import compute_sha256
from pinpoint.api.dossiers.build import build_dossier
from pinpoint.api.dossiers.content import DossierContent
from pinpoint.api.v1 import query_parameters, query_requests
from pinpoint.api.v1.dossier_images import collect_images
from pinpoint.api.v1.locate_query import (
    LocatedQuery,
    RequestContext,
    RequestMeters,
    run_locate_query,
)
from pinpoint.api.v1.media_types import ZIP, choose_media_type
from pinpoint.api.v1.schemas.dossiers import DossierQueryOut
from pinpoint.bootstrap import Services

router = APIRouter(prefix="/v1", tags=["search"])

_PROBLEMS = problems.problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503)


@router.post(
    "/dossiers",
    operation_id="create_dossier",
    summary="The answer and its evidence as one file",
    response_class=Response,
    responses={
        200: {
            "description": "A ZIP file: `dossier.json`, `answer.geojson`, `dossier.pdf`, "
            "thumbnails, and `SHA256SUMS`.",
            "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
        },
        **_PROBLEMS,
    },
    openapi_extra=forms.openapi_body(
        query_parameters.DossierForm,
        file="photo",
        many=True,
        required=True,
        max_files=query_parameters.MAX_QUERY_PHOTOS,
    ),
)
def create_dossier(
    caller: LocateCaller,
    services: AppServices,
    form: query_requests.PhotoForm,
    request_meters: RequestMeters,
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Locate photos as `POST /v1/locate` does, and return the answer as a dossier.

    Neither the photo nor the dossier is stored. Thumbnails need the scope `read`. The same answer
    gives the same bytes at the same second.
    """
    choose_media_type(accept, (ZIP,))
    parameters = forms.form_fields(form, query_parameters.DossierForm)
    parameters = parameters.model_copy(update={"include": ["matches", "explain"]})
    context = RequestContext(
        request=request, caller=caller, services=services, meters=request_meters
    )
    located = run_locate_query(context, form, parameters, "create_dossier")
    # Timings would make two dossiers of one answer differ.
    located = replace(located, answer=replace(located.answer, timings_ms={}))
    data = build_dossier(
        DossierContent(
            created_at=datetime.now(UTC).replace(microsecond=0),
            code_version=__version__,
            answer=located.to_schema(services),
            query=_describe_query(parameters, services),
            photos=located.photos,
            settings=services.settings.search.model_dump(exclude={"kept_query_retention_days"}),
            images=collect_images(
                located, caller, services, include_photo=parameters.include_photo
            ),
        )
    )
    return Response(
        data,
        media_type=ZIP,
        headers={
            "Content-Disposition": f'attachment; filename="{_make_name(located)}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _describe_query(
    parameters: query_parameters.DossierForm, services: Services
) -> DossierQueryOut:
    verify = parameters.verify
    return DossierQueryOut(
        query_kind=parameters.query_kind,
        top=parameters.top,
        search_space=parameters.search_space,
        verify=services.settings.search.verify_candidates if verify is None else verify,
        include_photo=parameters.include_photo,
    )


def _make_name(located: LocatedQuery) -> str:
    """File name with the hash of the first photo; the name of a photo is hostile."""
    return f"pinpoint-dossier-{compute_sha256(located.photos[0].data)[:12]}.zip"
