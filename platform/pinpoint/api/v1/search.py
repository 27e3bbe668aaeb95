"""`POST /v1/search`: gallery images for text, photos, images, a point, or a mixture of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from pinpoint.api import forms, problems, rate_limits
from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.metrics import Meters, get_meters
from pinpoint.api.v1 import query_requests
from pinpoint.api.v1.media_types import GEOJSON, JSON, choose_media_type, refer_to_schema
from pinpoint.api.v1.query_audit import list_similar_entries
from pinpoint.api.v1.query_parameters import MAX_QUERY_PHOTOS
from pinpoint.api.v1.schemas.answer import SearchOut
from pinpoint.api.v1.schemas.answer_features import SimilarFeaturesOut
from pinpoint.api.v1.search_parameters import SearchForm
from pinpoint.ports import Encoder
from pinpoint.records import SimilarResult
from pinpoint.search import gallery_search
from pinpoint.search.protected_answer import hide_images
from pinpoint.search.query_vector import GalleryQuery

router = APIRouter(prefix="/v1", tags=["search"])


@router.post(
    "/search",
    operation_id="search",
    summary="Which gallery images fit a text, photos, images, a place, or a mixture of them?",
    response_model=SearchOut,
    responses={
        200: {
            "description": "The images. With `Accept: application/geo+json` they are a layer: a "
            "FeatureCollection (RFC 7946).",
            "content": {GEOJSON: {"schema": refer_to_schema(SimilarFeaturesOut)}},
        },
        **problems.problem_responses(400, 401, 403, 404, 406, 409, 413, 415, 422, 503),
    },
    openapi_extra=forms.openapi_body(
        SearchForm, file="photo", many=True, required=False, max_files=MAX_QUERY_PHOTOS
    ),
)
def search(
    caller: LocateCaller,
    services: AppServices,
    form: query_requests.PhotoForm,
    request_meters: Annotated[Meters, Depends(get_meters)],
    request: Request,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> SearchOut | Response:
    """List the images that fit a query, by panorama or sequence; photos are not stored."""
    media_type = choose_media_type(accept, (JSON, GEOJSON))
    parameters = forms.form_fields(form, SearchForm)
    photos = query_requests.read_photos(form, parameters.crop, parameters.query_kind)
    search_filter = query_requests.build_filter(parameters, caller, services)
    search_request = gallery_search.SearchRequest(
        query=GalleryQuery(
            texts=parameters.text,
            photos=photos,
            image_ids=list(dict.fromkeys(parameters.image_id)),
            point=parameters.point,
            weights=parameters.weights,
        ),
        limit=parameters.limit,
        per_group=parameters.per_group,
        include_self=parameters.include_self,
        exclude_group=parameters.exclude_group,
    )
    restricted = query_requests.restrict_gallery_search(request, caller, services)
    rate_limits.take_photos(request, caller, services, len(photos))

    def search_with(encoder: Encoder) -> SimilarResult:
        context = query_requests.build_context(services, caller, encoder)
        return gallery_search.search_gallery(
            search_request, search_filter, hide_images(context) if restricted else context
        )

    result = services.with_current_encoder(search_with)
    with services.database.write(caller.organization_id) as catalog:
        image_id = parameters.image_id[0] if parameters.image_id else None
        catalog.log_access(*list_similar_entries(result, photos, caller, image_id, "search"))
        labels = catalog.image_labels([hit.id for group in result.groups for hit in group.hits])
    request_meters.observe_search("search", result.timings_ms, point=False)
    if restricted:
        result = replace(result, timings_ms={})
    search_out = SearchOut.of_search(result, labels, search_filter, parameters.point)
    if media_type == GEOJSON:
        base_url = query_requests.read_base_url(request)
        return query_requests.make_layer_response(SimilarFeaturesOut.of(search_out, base_url))
    return search_out
