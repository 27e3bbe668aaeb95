"""Pages of images as GeoJSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Final

from fastapi.responses import JSONResponse, Response

from pinpoint.api.v1.media_types import CSV, GEOJSON
from pinpoint.api.v1.schemas.basics import NearestPlaceOut
from pinpoint.api.v1.schemas.images import ImageFeature, ImageFeatures, ImageOut, PageLink

_JSON_COLUMNS: Final = ("attributes", "field_sources", "warnings")
_PLACE_COLUMNS: Final = tuple(f"nearest_place.{name}" for name in NearestPlaceOut.model_fields)
CSV_COLUMNS: Final = (
    *(name for name in ImageOut.model_fields if name not in ("geometry", "nearest_place")),
    *_PLACE_COLUMNS,
)
"""Columns of a list as CSV: the fields of the JSON answer. Objects and lists are JSON text."""


def format_geojson(images: Sequence[ImageOut], next_link: str | None) -> Response:
    """Format a page as a FeatureCollection (RFC 7946)."""
    links = [] if next_link is None else [PageLink(href=next_link)]
    features = [
        ImageFeature(
            id=image.id,
            geometry=image.geometry,
            properties=image.model_dump(mode="json", exclude={"id", "lat", "lon", "geometry"}),
        )
        for image in images
    ]
    body = ImageFeatures(features=features, links=links).model_dump(mode="json")
    return JSONResponse(body, media_type=GEOJSON)


def format_csv(images: Sequence[ImageOut]) -> Response:
    """Format a page as CSV (RFC 4180) with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS)
    writer.writeheader()
    writer.writerows(map(_to_csv_row, images))
    return Response(text.getvalue(), media_type=CSV)


def _to_csv_row(image: ImageOut) -> dict[str, Any]:
    fields = image.model_dump(mode="json", exclude={"geometry"})
    place = fields.pop("nearest_place")
    fields |= {name: json.dumps(fields[name], ensure_ascii=False) for name in _JSON_COLUMNS}
    return fields | {f"nearest_place.{name}": value for name, value in place.items()}
