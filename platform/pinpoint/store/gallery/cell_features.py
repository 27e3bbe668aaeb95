"""Pages of the layers whose features are H3 cells: coverage and gaps.

The id of a gap is that of its cell. The id of a cell in the coverage ends with the source kind, and
the coverage is ordered by source kind first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, get_args

import shapely
from sqlalchemy import Connection

from pinpoint.geo.cells import cell_polygons, parse_cell
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    SOURCE_KINDS,
    Box,
    CellFilter,
    CoverageCell,
    Feature,
    FeatureLayer,
    FeaturePage,
    FeatureQuery,
    SourceKind,
)
from pinpoint.store.gallery.coverage_cells import read_coverage_cells
from pinpoint.store.gallery.feature_matching import evaluate_filter
from pinpoint.store.gallery.image_conditions import to_multipolygon

_CELLS_PER_READ: Final = 1_000
"""Cells that one statement reads, if some of them may not match."""


def read_cell_features(
    connection: Connection, layer: FeatureLayer, query: FeatureQuery
) -> FeaturePage:
    """Read one page of cells.

    Args:
        connection: Connection with the role `pinpoint_reader`, in one organization.
        layer: `coverage` or `gaps`.
        query: Conditions and position of the page.
    """
    features: list[Feature] = []
    for feature, shape in _iterate_features(connection, layer, query):
        if _matches(feature, shape, query):
            features.append(feature)
            if len(features) > query.limit:
                break
    return FeaturePage(
        features=tuple(features[: query.limit]), has_more=len(features) > query.limit
    )


def _iterate_features(
    connection: Connection, layer: FeatureLayer, query: FeatureQuery
) -> Iterator[tuple[Feature, Any]]:
    """Features with their shapes after the position of the page."""
    after = None if query.after_id is None else _split_id(query.after_id)
    if query.ids is not None:
        for feature_id in sorted(set(query.ids)):
            yield from _find_feature(connection, layer, feature_id)
        return
    kinds: tuple[SourceKind | None, ...] = SOURCE_KINDS if layer.name == "coverage" else (None,)
    for kind in kinds:
        after_cell = None
        if after is not None:
            if kind is not None and after[1] is not None and kind < after[1]:
                continue
            after_cell = after[0] if kind == after[1] else None
        yield from _iterate_kind(connection, query, kind, after_cell)


def _iterate_kind(
    connection: Connection, query: FeatureQuery, kind: SourceKind | None, after_cell: str | None
) -> Iterator[tuple[Feature, Any]]:
    """Cells of one source kind, or gaps without one."""
    cell_filter = _make_filter(query.resolution, kind, query.box)
    may_differ = (
        bool(query.filters) or query.time_start is not None or query.time_before is not None
    )
    limit = max(query.limit + 1, _CELLS_PER_READ) if may_differ else query.limit + 1
    while True:
        cells = read_coverage_cells(connection, cell_filter, limit=limit, after_cell=after_cell)
        for cell in cells:
            yield _to_feature(cell, kind)
        if len(cells) < limit:
            return
        after_cell = cells[-1].cell


def _find_feature(
    connection: Connection, layer: FeatureLayer, feature_id: str
) -> Iterator[tuple[Feature, Any]]:
    """The feature of an id, or none."""
    parts = _split_id(feature_id)
    if parts is None or (layer.name == "coverage") != (parts[1] is not None):
        return
    cell, kind = parts
    resolution = parse_cell(cell) >> 52 & 15
    if resolution not in COVERAGE_RESOLUTIONS:
        return
    # The point within a cell is in no other one.
    point = shapely.point_on_surface(to_multipolygon(cell_polygons(cell)))
    box = Box(south=point.y, west=point.x, north=point.y, east=point.x)
    for entry in read_coverage_cells(connection, _make_filter(resolution, kind, box), limit=10):
        if entry.cell == cell:
            yield _to_feature(entry, kind)


def _make_filter(resolution: int, kind: SourceKind | None, box: Box | None) -> CellFilter:
    cell_filter = CellFilter(resolution=resolution, box=box)
    if kind is None:
        return replace(cell_filter, only_gaps=True)
    return replace(cell_filter, source_kinds=(kind,))


def _split_id(feature_id: str) -> tuple[str, SourceKind | None] | None:
    """Cell and source kind of an id; None for other text."""
    cell, separator, kind = feature_id.partition("-")
    try:
        number = parse_cell(cell)
    except ValueError:
        return None
    if f"{number:x}" != cell or (separator and kind not in get_args(SourceKind)):
        return None
    return cell, next((known for known in SOURCE_KINDS if known == kind), None)


def _matches(feature: Feature, shape: Any, query: FeatureQuery) -> bool:
    first = feature.properties["first_captured_at"]
    last = feature.properties["last_captured_at"]
    if query.time_start is not None and (last is None or last < query.time_start):
        return False
    if query.time_before is not None and (first is None or first >= query.time_before):
        return False
    values = {**feature.properties, "id": feature.id}
    return all(evaluate_filter(entry, values, shape) is True for entry in query.filters)


def _to_feature(cell: CoverageCell, kind: SourceKind | None) -> tuple[Feature, Any]:
    shape = to_multipolygon(cell_polygons(cell.cell))
    coordinates = [[[list(position) for position in part.exterior.coords]] for part in shape.geoms]
    feature = Feature(
        id=cell.cell if kind is None else f"{cell.cell}-{kind}",
        geometry={"type": "MultiPolygon", "coordinates": coordinates},
        properties={
            "cell": cell.cell,
            "resolution": cell.resolution,
            "source_kind": kind or cell.counts[0].source_kind,
            "images": cell.images,
            "first_captured_at": cell.first_captured_at,
            "last_captured_at": cell.last_captured_at,
            "license": cell.license,
            "attribution": cell.attribution,
        },
    )
    return feature, shape
