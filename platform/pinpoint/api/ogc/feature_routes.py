"""Routes of OGC API - Features: landing page, conformance, collections, schemas and features."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Path, Request, Response
from tipg import model
from tipg.factory import OGCFeaturesFactory
from tipg.resources.enums import MediaType
from tipg.resources.response import GeoJSONResponse, ORJSONResponse, SchemaJSONResponse

from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.ogc import item_parameters, layer_schemas
from pinpoint.api.ogc.conformance import CONFORMANCE_CLASSES
from pinpoint.api.ogc.gallery_access import open_gallery
from pinpoint.api.ogc.layer_collections import COLLECTIONS, LayerCollection, find_collection
from pinpoint.api.ogc.openapi_document import build_openapi_document
from pinpoint.api.problems import shorten
from pinpoint.errors import NotFoundError
from pinpoint.records import Feature, LayerExtent

TITLE: Final = "Pinpoint"
_REL: Final = "http://www.opengis.net/def/rel/ogc/1.0"
_OPENAPI_TYPE: Final = "application/vnd.oai.openapi+json;version=3.0"

PathCollection = Annotated[LayerCollection, Depends(find_collection)]


@dataclass
class FeatureRoutes(OGCFeaturesFactory):
    """Registers the routes on its router; `tipg` builds links and documents."""

    title: str = TITLE

    def _landing_route(self) -> None:
        def landing(request: Request) -> ORJSONResponse:
            """Landing page."""
            links = [
                self._make_link(request, "self", "landing", "This document"),
                self._make_link(
                    request, "service-desc", "ogc_api", "OpenAPI document", MediaType.openapi30_json
                ),
                self._make_link(request, "conformance", "conformance", "Conformance classes"),
                self._make_link(request, "data", "collections", "Collections"),
                self._make_link(
                    request, f"{_REL}/tiling-schemes", "tilematrixsets", "Tile matrix sets"
                ),
            ]
            page = model.Landing(
                title=self.title,
                description="Images of the gallery, their coverage and kept queries.",
                links=links,
            )
            return _to_json(page)

        self.router.get("")(landing)
        self.router.get("/", name="landing_with_slash")(landing)
        self._openapi_route()

    def _openapi_route(self) -> None:
        @self.router.get("/api", name="ogc_api")
        def openapi_document(request: Request) -> ORJSONResponse:
            """Describe the API by OpenAPI 3.0."""
            document = build_openapi_document(self.url_for(request, "landing"))
            return ORJSONResponse(document, media_type=_OPENAPI_TYPE)

    def _conformance_route(self) -> None:
        @self.router.get("/conformance")
        def conformance() -> ORJSONResponse:
            """List the conformance classes."""
            return _to_json(model.Conformance(conformsTo=list(CONFORMANCE_CLASSES)))

    def _collections_route(self) -> None:
        @self.router.get("/collections")
        def collections(
            request: Request, caller: ReadCaller, services: AppServices
        ) -> ORJSONResponse:
            """List the collections."""
            with open_gallery(services, caller) as gallery:
                extents = gallery.layer_extents(COLLECTIONS)
            page = model.Collections(
                links=[self._make_link(request, "self", "collections", "This document")],
                timeStamp=_format_now(),
                numberMatched=len(COLLECTIONS),
                numberReturned=len(COLLECTIONS),
                collections=[
                    self._describe_collection(request, collection, extents[name])
                    for name, collection in COLLECTIONS.items()
                ],
            )
            return _to_json(page)

    def _collection_route(self) -> None:
        @self.router.get("/collections/{collectionId}")
        def collection(
            request: Request, layer_of: PathCollection, caller: ReadCaller, services: AppServices
        ) -> ORJSONResponse:
            """Describe a collection."""
            with open_gallery(services, caller) as gallery:
                (extent,) = gallery.layer_extents([layer_of.id]).values()
            return _to_json(self._describe_collection(request, layer_of, extent))

    def _describe_collection(
        self, request: Request, collection: LayerCollection, extent: LayerExtent
    ) -> model.Collection:
        def link(
            rel: str, route_name: str, title: str, media_type: MediaType = MediaType.json
        ) -> model.Link:
            return self._make_link(
                request, rel, route_name, title, media_type, collectionId=collection.id
            )

        links = [
            link("self", "collection", "This collection"),
            link("items", "items", "Features", MediaType.geojson),
            link(f"{_REL}/queryables", "queryables", "Queryables", MediaType.schemajson),
            link(f"{_REL}/schema", "schema", "Schema", MediaType.schemajson),
            # GDAL reads the types of fields from this one.
            link("describedBy", "feature_schema", "Schema of a feature", MediaType.schemajson),
        ]
        if collection.has_tiles:
            links.append(link(f"{_REL}/tilesets-vector", "collection_tileset_list", "Vector tiles"))
        return model.Collection(
            id=collection.id,
            title=collection.title,
            description=collection.description,
            extent=_to_extent(extent),
            links=links,
        )

    def _queryables_route(self) -> None:
        @self.router.get("/collections/{collectionId}/queryables")
        def queryables(request: Request, collection: PathCollection) -> SchemaJSONResponse:
            """Describe the properties that filters may contain."""
            url = self.url_for(request, "queryables", collectionId=collection.id)
            return SchemaJSONResponse(layer_schemas.describe_queryables(collection.layer, url))

        @self.router.get("/collections/{collectionId}/schema/feature")
        def feature_schema(request: Request, collection: PathCollection) -> SchemaJSONResponse:
            """JSON Schema of a feature as GeoJSON."""
            url = self.url_for(request, "feature_schema", collectionId=collection.id)
            return SchemaJSONResponse(layer_schemas.describe_feature(collection.layer, url))

        @self.router.get("/collections/{collectionId}/schema")
        def schema(request: Request, collection: PathCollection) -> SchemaJSONResponse:
            """Describe the properties of a feature."""
            url = self.url_for(request, "schema", collectionId=collection.id)
            return SchemaJSONResponse(layer_schemas.describe_returnables(collection.layer, url))

    def _items_route(self) -> None:
        @self.router.get("/collections/{collectionId}/items")
        def items(
            request: Request, collection: PathCollection, caller: ReadCaller, services: AppServices
        ) -> Response:
            """List features, with a link to the next page."""
            parameters, layer = request.query_params, collection.layer
            query = item_parameters.parse_query(parameters, layer)
            names = item_parameters.select_properties(parameters, layer)
            with open_gallery(services, caller) as gallery:
                page = gallery.features(layer.name, query)
            url = self.url_for(request, "items", collectionId=collection.id)
            links = [
                self._make_link(
                    request, "collection", "collection", "Collection", collectionId=collection.id
                ),
                _make_item_link("self", url, dict(parameters)),
            ]
            if page.has_more:
                cursor = page.features[-1].id
                links.append(_make_item_link("next", url, {**parameters, "cursor": cursor}))
            counts = {"numberReturned": len(page.features)}
            if page.num_matched is not None:
                counts["numberMatched"] = page.num_matched
            return GeoJSONResponse(
                {
                    "type": "FeatureCollection",
                    "links": [link.model_dump(exclude_none=True) for link in links],
                    "timeStamp": _format_now(),
                    **counts,
                    "features": [to_geojson(feature, names) for feature in page.features],
                }
            )

    def _item_route(self) -> None:
        @self.router.get("/collections/{collectionId}/items/{featureId}")
        def item(
            request: Request,
            collection: PathCollection,
            feature_id: Annotated[str, Path(alias="featureId", description="Id of the feature.")],
            caller: ReadCaller,
            services: AppServices,
        ) -> Response:
            """Return one feature."""
            with open_gallery(services, caller) as gallery:
                feature = gallery.feature(collection.layer.name, feature_id)
            if feature is None:
                raise NotFoundError(
                    f"no feature `{shorten(feature_id, 60)}` in the collection {collection.id}"
                )
            links = [
                self._make_link(
                    request,
                    "self",
                    "item",
                    "This feature",
                    MediaType.geojson,
                    collectionId=collection.id,
                    featureId=feature.id,
                ),
                self._make_link(
                    request, "collection", "collection", "Collection", collectionId=collection.id
                ),
            ]
            document = to_geojson(feature, None)
            document["links"] = [link.model_dump(exclude_none=True) for link in links]
            return GeoJSONResponse(document)

    def _make_link(
        self,
        request: Request,
        rel: str,
        route_name: str,
        title: str,
        media_type: MediaType = MediaType.json,
        **path_parameters: str,
    ) -> model.Link:
        url = self.url_for(request, route_name, **path_parameters)
        return model.Link(href=url, rel=rel, type=media_type, title=title)


def to_geojson(feature: Feature, names: frozenset[str] | None) -> dict[str, Any]:
    """Convert a feature to GeoJSON (RFC 7946).

    Args:
        feature: The feature.
        names: Properties to include; None for all.
    """
    properties = feature.properties
    if names is not None:
        properties = {name: value for name, value in properties.items() if name in names}
    return {
        "type": "Feature",
        "id": feature.id,
        "geometry": feature.geometry,
        "properties": properties,
    }


def _make_item_link(rel: str, url: str, parameters: dict[str, str]) -> model.Link:
    text = f"{url}?{urlencode(parameters)}" if parameters else url
    title = {"self": "This page", "next": "Next page"}[rel]
    return model.Link(href=text, rel=rel, type=MediaType.geojson, title=title)


def _to_extent(extent: LayerExtent) -> model.Extent | None:
    spatial = temporal = None
    if extent.box is not None:
        box = extent.box
        spatial = model.Spatial(bbox=[[box.west, box.south, box.east, box.north]])
    if extent.start is not None or extent.end is not None:
        times = [None if time is None else time.isoformat() for time in (extent.start, extent.end)]
        temporal = model.Temporal(interval=[times])
    if spatial is None and temporal is None:
        return None
    return model.Extent(spatial=spatial, temporal=temporal)


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _to_json(document: Any) -> ORJSONResponse:
    return ORJSONResponse(document.model_dump(mode="json", exclude_none=True))
