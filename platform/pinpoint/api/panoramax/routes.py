"""`/api`: landing page, collections, items and search of the Panoramax API."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from pinpoint import __version__
from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.panoramax.links import API_PATH, JPEG, MAP_TILE, Links, make_link
from pinpoint.api.panoramax.search_query import (
    PageQuery,
    SearchQuery,
    decode_id,
    decode_position,
    encode_position,
)
from pinpoint.api.panoramax.stac_collections import make_collection_page, make_stac_collection
from pinpoint.api.panoramax.stac_items import STAC_VERSION, make_feature_collection, make_item
from pinpoint.api.v1.image_access import check_image_access
from pinpoint.api.v1.media_types import GEOJSON, JSON
from pinpoint.errors import NotFoundError
from pinpoint.records.feature_layers import IMAGE_LAYER

router = APIRouter(prefix=API_PATH, tags=["panoramax"])

PRIVATE: Final = {"Cache-Control": "private, no-store"}
CONFORMANCE: Final = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/browseable",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)
_PROBLEMS: Final = problems.problem_responses(400, 401, 403, 404, 422, 503)
CollectionId = Annotated[
    UUID,
    Path(description="Id of the collection.", examples=["6a799744-9e3a-5ad3-9ee6-87a60f83d975"]),
]
ItemId = Annotated[
    UUID, Path(description="Id of the item.", examples=["6a799744-9e3a-5ad3-9ee6-87a60f83d975"])
]


class GeoJsonResponse(JSONResponse):
    """A GeoJSON document."""

    media_type = GEOJSON


@router.get(
    "",
    operation_id="get_panoramax_landing",
    summary="Landing page of the Panoramax API",
    responses=_PROBLEMS,
)
def get_landing(request: Request, caller: ReadCaller, services: AppServices) -> JSONResponse:
    """Return the STAC catalog with the links and the area that Panoramax clients start from."""
    links = Links(request)
    with services.gallery.read(caller.organization_id) as gallery:
        box = gallery.layer_extents([IMAGE_LAYER.name])[IMAGE_LAYER.name].box
    landing: dict[str, Any] = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "pinpoint",
        "title": f"Pinpoint: {caller.organization}",
        "description": f"Images of the organization {caller.organization}.",
        "pinpoint_version": __version__,
        "conformsTo": list(CONFORMANCE),
        "links": [
            links.root(),
            make_link("self", links.api(), JSON),
            make_link("conformance", links.api("/conformance"), JSON),
            make_link("data", links.api("/collections"), JSON),
            make_link("search", links.api("/search"), GEOJSON, method="GET"),
            make_link("xyz", links.api("/map/{z}/{x}/{y}.mvt"), MAP_TILE, title="Vector tiles"),
            make_link("xyz-style", links.api("/map/style.json"), JSON, title="Map style"),
            make_link("item-preview", links.image("{id}", "thumbnail"), JPEG),
            make_link("collection-preview", links.api("/collections/{id}/thumb.jpg"), JPEG),
        ],
    }
    if box is not None:
        bounds = [box.west, box.south, box.east, box.north]
        landing["extent"] = {"spatial": {"bbox": [bounds]}}
    return JSONResponse(landing, headers=PRIVATE)


@router.get(
    "/conformance",
    operation_id="get_panoramax_conformance",
    summary="Conformance classes of the Panoramax API",
    responses=_PROBLEMS,
)
def get_conformance(caller: ReadCaller) -> JSONResponse:
    """Return the conformance classes."""
    return JSONResponse({"conformsTo": list(CONFORMANCE)}, headers=PRIVATE)


@router.get(
    "/configuration",
    operation_id="get_panoramax_configuration",
    summary="Configuration of the Panoramax API",
    responses=_PROBLEMS,
)
def get_configuration(caller: ReadCaller) -> JSONResponse:
    """Return name and features: there are no accounts to sign in to and no uploads."""
    name = f"Pinpoint: {caller.organization}"
    configuration = {
        "name": {"label": name, "langs": {"en": name}},
        "auth": {"enabled": False},
        "version": __version__,
    }
    return JSONResponse(configuration, headers=PRIVATE)


@router.get(
    "/collections",
    operation_id="list_panoramax_collections",
    summary="List collections",
    responses=_PROBLEMS,
)
def get_collections(
    request: Request,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[PageQuery, Query()],
) -> JSONResponse:
    """List collections by id: sequences, and the days of sources without sequences."""
    links = Links(request)
    after = None if query.cursor is None else decode_id(query.cursor)
    with services.gallery.read(caller.organization_id) as gallery:
        # One more row shows whether there is another page.
        page = gallery.list_collections(after=after, limit=query.limit + 1)
    shown = page[: query.limit]
    page_links = [make_link("self", links.api("/collections"), JSON)]
    if len(page) > query.limit:
        cursor = shown[-1].id.hex
        href = links.api("/collections", limit=query.limit, cursor=cursor)
        page_links.append(make_link("next", href, JSON))
    return JSONResponse(make_collection_page(shown, links, page_links), headers=PRIVATE)


@router.get(
    "/collections/{collection_id}",
    operation_id="get_panoramax_collection",
    summary="One collection",
    responses=_PROBLEMS,
)
def get_collection(
    request: Request, collection_id: CollectionId, caller: ReadCaller, services: AppServices
) -> JSONResponse:
    """Return one collection with its extent."""
    with services.gallery.read(caller.organization_id) as gallery:
        collections = gallery.list_collections(ids=[collection_id], limit=1)
    if not collections:
        raise _no_collection(collection_id)
    return JSONResponse(make_stac_collection(collections[0], Links(request)), headers=PRIVATE)


@router.get(
    "/collections/{collection_id}/items",
    operation_id="list_panoramax_items",
    response_class=GeoJsonResponse,
    summary="List the items of a collection",
    responses=_PROBLEMS,
)
def get_items(
    request: Request,
    collection_id: CollectionId,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[PageQuery, Query()],
) -> GeoJsonResponse:
    """List items in the order of their capture; items without a time are the last ones."""
    links = Links(request)
    after = None if query.cursor is None else decode_position(query.cursor)
    with services.gallery.read(caller.organization_id) as gallery:
        page = gallery.list_items(collection_id, after=after, limit=query.limit + 1)
        if not page and not gallery.list_collections(ids=[collection_id], limit=1):
            raise _no_collection(collection_id)
    shown = page[: query.limit]
    path = f"/collections/{collection_id}/items"
    page_links = [
        links.root(),
        make_link("self", links.api(path), GEOJSON),
        make_link("parent", links.collection(collection_id), JSON),
    ]
    if len(page) > query.limit:
        href = links.api(path, limit=query.limit, cursor=encode_position(shown[-1]))
        page_links.append(make_link("next", href, GEOJSON))
    return GeoJsonResponse(make_feature_collection(shown, links, page_links), headers=PRIVATE)


@router.get(
    "/collections/{collection_id}/items/{item_id}",
    operation_id="get_panoramax_item",
    response_class=GeoJsonResponse,
    summary="One item",
    responses=_PROBLEMS,
)
def get_item(
    request: Request,
    collection_id: CollectionId,
    item_id: ItemId,
    caller: ReadCaller,
    services: AppServices,
) -> GeoJsonResponse:
    """Return one item with its neighbors in the collection and items of other ones nearby."""
    with services.gallery.read(caller.organization_id) as gallery:
        item = gallery.find_item(collection_id, item_id)
        related = gallery.list_related_items(item)
    return GeoJsonResponse(make_item(item, Links(request), related), headers=PRIVATE)


@router.get(
    "/collections/{collection_id}/thumb.jpg",
    operation_id="get_panoramax_collection_thumbnail",
    summary="Thumbnail of a collection",
    response_class=Response,
    responses={
        200: {"content": {JPEG: {"schema": {"type": "string", "format": "binary"}}}},
        **_PROBLEMS,
    },
)
def get_collection_thumbnail(
    collection_id: CollectionId, caller: ReadCaller, services: AppServices
) -> Response:
    """Return the thumbnail of the first item."""
    with services.gallery.read(caller.organization_id) as gallery:
        items = gallery.list_items(collection_id, limit=1)
    if not items:
        raise _no_collection(collection_id)
    with services.database.read(caller.organization_id) as catalog:
        check_image_access(catalog.image(items[0].id), caller, "thumbnail")
        jpeg = catalog.thumbnail(items[0].id)
    return Response(jpeg, media_type=JPEG, headers={"Cache-Control": "private, max-age=300"})


@router.get(
    "/search",
    operation_id="search_panoramax_items",
    response_class=GeoJsonResponse,
    summary="Search items",
    responses=_PROBLEMS,
)
def get_search(
    request: Request,
    caller: ReadCaller,
    services: AppServices,
    query: Annotated[SearchQuery, Query()],
) -> GeoJsonResponse:
    """List the items that match all conditions, by id."""
    links = Links(request)
    after = None if query.cursor is None else decode_id(query.cursor)
    with services.gallery.read(caller.organization_id) as gallery:
        page = gallery.search_items(
            query.image_filter(),
            collection_ids=query.collections,
            min_distance_m=query.min_distance_m(),
            after=after,
            limit=query.limit + 1,
        )
    shown = page[: query.limit]
    page_links = [links.root(), make_link("self", links.api("/search"), GEOJSON)]
    if len(page) > query.limit:
        page_links.append(make_link("next", _make_next(request, links, shown[-1].id), GEOJSON))
    return GeoJsonResponse(make_feature_collection(shown, links, page_links), headers=PRIVATE)


def _make_next(request: Request, links: Links, last_id: UUID) -> str:
    """URL of the same search after an item."""
    query: dict[str, Any] = {
        name: request.query_params.getlist(name)
        for name in request.query_params
        if name in SearchQuery.model_fields
    }
    return links.api("/search", **{**query, "cursor": last_id.hex})


def _no_collection(collection_id: UUID) -> NotFoundError:
    return NotFoundError(f"no collection {collection_id}")
