"""Query parameters of `/ogc`: names of each route, and their conversion to a `FeatureQuery`.

Invalid values get status 400, as OGC API - Features requires (17-069r4, 7.5.1), not 422.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, NoReturn, cast
from uuid import UUID

from starlette.datastructures import QueryParams

from pinpoint.api.ogc.cql2_parser import FilterLanguage, parse_filter
from pinpoint.api.ogc.tile_filter import REPEATABLE_PARAMETERS, TILE_PARAMETERS
from pinpoint.api.problems import shorten
from pinpoint.api.v1.spatiotemporal_parameters import parse_bbox
from pinpoint.api.v1.times import TimeInterval, parse_interval, parse_time
from pinpoint.errors import BadRequestError
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    DEFAULT_RESOLUTION,
    Box,
    FeatureFilter,
    FeatureLayer,
    FeatureQuery,
    FilterValue,
    LayerProperty,
    PropertyComparison,
    PropertyName,
)

DEFAULT_PAGE_FEATURES: Final = 100
MAX_PAGE_FEATURES: Final = 10_000
MAX_ITEM_IDS: Final = 1_000
TILE_ROUTE: Final = "collection_get_tile"
"""Name of the route of tiles."""
CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
LICENSE_PROPERTIES: Final = ("license", "attribution")
"""Properties that each feature contains, whatever the parameter `properties` selects."""

_CELL_CURSOR: Final = re.compile(r"[0-9a-f]{15}(-photo|-street)?")
_FORMATS: Final = frozenset({"json", "geojson"})
_CRS_PARAMETERS: Final = ("crs", "bbox-crs", "filter-crs")
_ITEM_PARAMETERS: Final = frozenset(
    {"limit", "bbox", "datetime", "ids", "properties", "filter", "filter-lang", "cursor"}
).union(_CRS_PARAMETERS)


def check_parameters(parameters: QueryParams, route_name: str, layer: FeatureLayer | None) -> None:
    """Reject unknown and repeated parameters.

    Raises:
        BadRequestError: The message names the parameter.
    """
    allowed = _list_allowed_names(route_name, layer)
    for name, _ in parameters.multi_items():
        if name not in allowed:
            raise BadRequestError(
                f"unknown query parameter `{shorten(name, 60)}`; /ogc/api lists all parameters"
            )
    repeatable = REPEATABLE_PARAMETERS if route_name == TILE_ROUTE else frozenset()
    if any(len(parameters.getlist(name)) > 1 for name in parameters.keys() - repeatable):
        raise BadRequestError("a query parameter is repeated; separate several values by commas")
    if parameters.get("f", "json") not in _FORMATS:
        raise BadRequestError("f must be json")
    for name in _CRS_PARAMETERS:
        if parameters.get(name, CRS84) != CRS84:
            raise BadRequestError(f"{name} must be {CRS84}: longitude, latitude in degrees")


def _list_allowed_names(route_name: str, layer: FeatureLayer | None) -> set[str]:
    """Names of the parameters of a route."""
    allowed = {"f"}
    if route_name == "item":
        allowed |= {"crs"}
    elif route_name == TILE_ROUTE:
        allowed |= TILE_PARAMETERS
    elif route_name == "items" and layer is not None:
        allowed |= _ITEM_PARAMETERS | {entry.name for entry in list_parameters(layer)}
        if layer.is_gridded:
            allowed.add("resolution")
    return allowed


def list_parameters(layer: FeatureLayer) -> list[LayerProperty]:
    """Properties that are query parameters, too: the feature must have the value."""
    return [entry for entry in layer.properties if entry.is_queryable]


def parse_query(parameters: QueryParams, layer: FeatureLayer) -> FeatureQuery:
    """Convert the parameters of a page of features.

    Raises:
        BadRequestError: A value is invalid; the message names the parameter.
    """
    interval = _parse_datetime(parameters.get("datetime"))
    ids = parameters.get("ids")
    return FeatureQuery(
        limit=_parse_limit(parameters.get("limit")),
        after_id=_parse_cursor(parameters.get("cursor"), layer),
        ids=None if ids is None else _parse_ids(ids),
        box=_parse_box(parameters.get("bbox")),
        time_start=interval.start,
        time_before=interval.before,
        resolution=_parse_resolution(parameters.get("resolution")),
        filters=(*_parse_equalities(parameters, layer), *_parse_filter(parameters, layer)),
    )


def select_properties(parameters: QueryParams, layer: FeatureLayer) -> frozenset[str] | None:
    """Names in the parameter `properties`, with license and attribution; None without it.

    Raises:
        BadRequestError: A property does not exist.
    """
    text = parameters.get("properties")
    if text is None:
        return None
    names = {name.strip() for name in text.split(",") if name.strip()}
    existing = {entry.name for entry in layer.properties}
    for name in sorted(names - existing):
        raise BadRequestError(f"properties: `{shorten(name, 60)}` is not a property of this layer")
    return frozenset(names | existing.intersection(LICENSE_PROPERTIES))


def _parse_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE_FEATURES
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
        raise BadRequestError(f"limit must be an integer from 1 to {MAX_PAGE_FEATURES:,}")
    # A larger value is no error (17-069r4, requirement 21).
    return min(int(text), MAX_PAGE_FEATURES)


def _parse_resolution(text: str | None) -> int:
    resolutions = {str(resolution): resolution for resolution in COVERAGE_RESOLUTIONS}
    if text is None:
        return DEFAULT_RESOLUTION
    if text not in resolutions:
        raise BadRequestError(f"resolution must be one of {', '.join(resolutions)}")
    return resolutions[text]


def _parse_cursor(text: str | None, layer: FeatureLayer) -> str | None:
    """Check a cursor: the id of the last feature of the previous page."""
    if text is None:
        return None
    try:
        if layer.id_type == "uuid":
            return str(UUID(text))
    except ValueError:
        _reject_cursor()
    if not _CELL_CURSOR.fullmatch(text):
        _reject_cursor()
    return text


def _reject_cursor() -> NoReturn:
    raise BadRequestError("the cursor is invalid; take the `next` link of a page as it is")


def _parse_ids(text: str) -> tuple[str, ...]:
    ids = tuple(part.strip() for part in text.split(",") if part.strip())
    if not 0 < len(ids) <= MAX_ITEM_IDS:
        raise BadRequestError(f"ids must be 1 to {MAX_ITEM_IDS:,} ids, separated by commas")
    return ids


def _parse_box(text: str | None) -> Box | None:
    try:
        return None if text is None else parse_bbox(text)
    except ValueError as error:
        raise BadRequestError(str(error)) from error


def _parse_datetime(text: str | None) -> TimeInterval:
    if text is None:
        return TimeInterval(start=None, before=None)
    try:
        return parse_interval(text)
    except ValueError as error:
        raise BadRequestError(f"datetime: {error}") from error


def _parse_equalities(parameters: QueryParams, layer: FeatureLayer) -> list[FeatureFilter]:
    """Convert parameters named like a property."""
    return [
        PropertyComparison(
            PropertyName(entry.name), "=", _parse_value(entry, parameters[entry.name])
        )
        for entry in list_parameters(layer)
        if entry.name in parameters
    ]


def _parse_value(entry: LayerProperty, text: str) -> FilterValue:
    try:
        if entry.type in ("integer", "number"):
            number = float(text)
            if not math.isfinite(number):
                raise ValueError("a finite number is required")
            return number
        if entry.type == "time":
            return parse_time(text)
        if entry.type == "uuid":
            return UUID(text)
        if entry.type == "boolean":
            return {"true": True, "false": False}[text]
    except (ValueError, KeyError) as error:
        raise BadRequestError(f"{entry.name}: this is not a {entry.type}") from error
    if "\x00" in text:
        raise BadRequestError(f"{entry.name}: a text contains no NUL character")
    return text


def _parse_filter(parameters: Mapping[str, str], layer: FeatureLayer) -> list[FeatureFilter]:
    language = parameters.get("filter-lang", "cql2-text")
    if language not in ("cql2-text", "cql2-json"):
        raise BadRequestError("filter-lang must be cql2-text or cql2-json")
    text = parameters.get("filter")
    if text is None:
        return []
    return [parse_filter(text, cast(FilterLanguage, language), layer)]
