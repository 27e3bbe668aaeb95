"""Layers for GIS clients: their properties, and the query and result of one page of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pinpoint.records.feature_filter import FeatureFilter
from pinpoint.records.index import Box

FeatureLayerName = Literal["images", "coverage", "gaps", "queries"]
DEFAULT_RESOLUTION: Final = 5
"""H3 resolution of cells unless a query selects another one: 253 km² (mean area)."""
PropertyType = Literal["text", "integer", "number", "boolean", "time", "uuid", "json"]


@dataclass(frozen=True, slots=True)
class LayerProperty:
    """A property of the features of a layer."""

    name: str
    type: PropertyType
    description: str
    is_queryable: bool = True
    values: tuple[str, ...] = ()
    """All possible values of a text; empty if any text is possible."""
    unit: str | None = None
    """UCUM code of the unit of a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLayer:
    """A layer: a list of features with one type of geometry."""

    name: FeatureLayerName
    title: str
    description: str
    geometry_type: Literal["Point", "MultiPolygon"]
    id_type: PropertyType
    properties: tuple[LayerProperty, ...]
    is_gridded: bool = False
    """Whether the features are cells of one resolution, which the query selects."""
    start_property: str | None = None
    end_property: str | None = None
    """Properties with the time of a feature, or start and end of its interval; equal for an
    instant, None without a time."""

    def get_property(self, name: str) -> LayerProperty | None:
        """The property of this name, or None."""
        return next((entry for entry in self.properties if entry.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureQuery:
    """The features of a page, ordered by id."""

    limit: int
    after_id: str | None = None
    """Id of the last feature of the previous page."""
    ids: tuple[str, ...] | None = None
    box: Box | None = None
    time_start: datetime | None = None
    time_before: datetime | None = None
    """Half-open; features without a time do not match if one of both is not None."""
    filters: tuple[FeatureFilter, ...] = ()
    """All of them must be true."""
    resolution: int = DEFAULT_RESOLUTION
    """H3 resolution of the cells of a gridded layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature; its geometry is GeoJSON, longitude first."""

    id: str
    geometry: Mapping[str, Any] | None
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePage:
    """Features in the order of their ids."""

    features: tuple[Feature, ...]
    has_more: bool
    """Whether the layer has features after the last one."""
    num_matched: int | None = None
    """Exact number of features on all pages, if counters know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerExtent:
    """Bounds of a layer that contain all of its features."""

    box: Box | None = None
    start: datetime | None = None
    end: datetime | None = None


_SOURCE_KIND: Final = LayerProperty(
    "source_kind", "text", "Kind of the source.", values=("photo", "street")
)

IMAGE_LAYER: Final = FeatureLayer(
    name="images",
    title="Images",
    description="Images of the gallery with position, metadata, license and attribution.",
    geometry_type="Point",
    id_type="uuid",
    start_property="captured_at",
    end_property="captured_at",
    properties=(
        LayerProperty("source", "text", "Name of the source."),
        _SOURCE_KIND,
        LayerProperty("source_id", "uuid", "Id of the source."),
        LayerProperty("external_id", "text", "Id of the image in its source."),
        LayerProperty("file_name", "text", "Last part of the external id."),
        LayerProperty("captured_at", "time", "Time of the exposure."),
        LayerProperty("heading_deg", "number", "Direction of view, from north.", unit="deg"),
        LayerProperty("field_of_view_deg", "number", "Horizontal field of view.", unit="deg"),
        LayerProperty("altitude_m", "number", "Altitude.", unit="m"),
        LayerProperty("camera", "text", "Manufacturer and model of the camera."),
        LayerProperty("creator", "text", "Person or organization that took the image."),
        LayerProperty("sequence", "text", "Id of the drive or walk that the image belongs to."),
        LayerProperty("license", "text", "License of the image, or else of its source."),
        LayerProperty("attribution", "text", "Text to credit with the image."),
        LayerProperty(
            "cubemap_face", "text", "Face of a panorama: `front`, `right`, `back` or `left`."
        ),
        LayerProperty("panorama_id", "text", "Id that all faces of a panorama share."),
        LayerProperty("position_source", "text", "Where the position was read from."),
        LayerProperty("time_source", "text", "Where the time was read from."),
        LayerProperty("format", "text", "Format of the file."),
        LayerProperty("size_bytes", "integer", "Size of the file.", unit="By"),
        LayerProperty("width_px", "integer", "Width of the image.", unit="{pixel}"),
        LayerProperty("height_px", "integer", "Height of the image.", unit="{pixel}"),
        LayerProperty("sha256", "text", "SHA-256 of the file, hexadecimal.", is_queryable=False),
        LayerProperty(
            "uri",
            "text",
            "Location of the file, unless it is on the server's disk.",
            is_queryable=False,
        ),
        LayerProperty(
            "state",
            "text",
            "`indexed` images are found by queries.",
            values=("pending", "indexed"),
        ),
        LayerProperty("version", "integer", "Number of changes of the image."),
        LayerProperty("created_at", "time", "Time of the ingest."),
        LayerProperty("updated_at", "time", "Time of the last change."),
        LayerProperty("attributes", "json", "Other values of the manifest.", is_queryable=False),
    ),
)

_CELL_PROPERTIES: Final = (
    LayerProperty("cell", "text", "H3 id of the cell."),
    LayerProperty("resolution", "integer", "H3 resolution of the cell.", is_queryable=False),
    _SOURCE_KIND,
    LayerProperty("images", "integer", "Number of images."),
    LayerProperty("first_captured_at", "time", "Earliest capture time."),
    LayerProperty("last_captured_at", "time", "Latest capture time."),
    LayerProperty("license", "text", "Licenses of the sources, separated by semicolons."),
    LayerProperty("attribution", "text", "Texts to credit, separated by semicolons."),
)

COVERAGE_LAYER: Final = FeatureLayer(
    name="coverage",
    title="Coverage",
    description="H3 cells with images, one feature for each source kind in a cell.",
    geometry_type="MultiPolygon",
    id_type="text",
    is_gridded=True,
    start_property="first_captured_at",
    end_property="last_captured_at",
    properties=_CELL_PROPERTIES,
)

GAP_LAYER: Final = FeatureLayer(
    name="gaps",
    title="Gaps",
    description="H3 cells with images of one source kind only.",
    geometry_type="MultiPolygon",
    id_type="text",
    is_gridded=True,
    start_property="first_captured_at",
    end_property="last_captured_at",
    properties=_CELL_PROPERTIES,
)

QUERY_LAYER: Final = FeatureLayer(
    name="queries",
    title="Kept queries",
    description="Answers that callers asked to keep; the photo is never kept.",
    geometry_type="Point",
    id_type="uuid",
    start_property="created_at",
    end_property="created_at",
    properties=(
        LayerProperty("created_at", "time", "Time of the query."),
        LayerProperty("expires_at", "time", "Time at which the row is deleted."),
        LayerProperty("radius_m", "number", "Radius of the credible disc.", unit="m"),
        LayerProperty("probability", "number", "Probability of the credible disc."),
        LayerProperty("calibrated", "boolean", "Whether the probability is calibrated."),
        LayerProperty("abstention_reason", "text", "Why the answer is only a guess, or null."),
        LayerProperty("bundle", "text", "Bundle that answered."),
    ),
)

FEATURE_LAYERS: Final[Mapping[str, FeatureLayer]] = {
    layer.name: layer for layer in (IMAGE_LAYER, COVERAGE_LAYER, GAP_LAYER, QUERY_LAYER)
}
