"""Map of H3 cells with images, one panel for each source kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pinpoint.evaluation.report.maps import BASEMAP_CREDIT, draw_basemap
from pinpoint.evaluation.report.plotting import new_figure, save_figure
from pinpoint.geo.cells import cell_polygons
from pinpoint.records import SourceKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES: Final[Mapping[SourceKind, str]] = {"photo": "photos", "street": "street imagery"}
_COLOR_MAP: Final = "viridis_r"
_WIDE_DEG: Final = 120.0
_MARGIN: Final = 0.05
_MIN_CELL_INCHES: Final = 0.5 / 72
"""Outline of a cell, so that single cells are visible on a map of the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCell:
    """A cell of the map."""

    cell: str
    """H3 id."""
    images: Mapping[SourceKind, int]
    """Images by kind; a kind without images is absent or 0."""


def draw_coverage(
    path: Path, cells: Sequence[MapCell], kinds: Sequence[SourceKind], title: str, caption: str
) -> None:
    """Write a map as PNG: cells, colored by their number of images.

    Args:
        path: File to write; its folder must exist.
        cells: All cells; the map shows their region, or the world if it is most of it.
        kinds: Source kinds, each with its own panel.
        title: Text above the map.
        caption: Text below the map; the credit of the basemap is appended.
    """
    from matplotlib.colors import LogNorm

    rings = {cell.cell: _list_rings(cell.cell) for cell in cells}
    limits = _find_limits([ring for cell_rings in rings.values() for ring in cell_rings])
    aspect = (limits[1] - limits[0]) / (limits[3] - limits[2])
    stacked = aspect > 1.4
    width, height = (11.0, 5.4 * len(kinds) + 0.8) if stacked else (6.2 * len(kinds) + 1.2, 6.6)
    figure = new_figure(width, height)
    figure.suptitle(title)
    axes_list = figure.subplots(
        len(kinds) if stacked else 1, 1 if stacked else len(kinds), squeeze=False
    ).ravel()
    most_images = max((n for cell in cells for n in cell.images.values()), default=1)
    norm = LogNorm(vmin=1, vmax=max(most_images, 10))
    for kind, axes in zip(kinds, axes_list, strict=True):
        axes.set(xlim=limits[:2], ylim=limits[2:])
        draw_basemap(axes)
        kind_cells = [cell for cell in cells if cell.images.get(kind)]
        collection = _draw_cells(axes, kind_cells, rings, kind, norm)
        num_images = sum(cell.images[kind] for cell in kind_cells)
        axes.set_title(f"{_TITLES[kind]}: {num_images:,} images in {len(kind_cells):,} cells")
    figure.colorbar(
        collection, ax=list(axes_list), label="images per cell", shrink=0.6, format="%d"
    )
    save_figure(figure, path, f"{caption}; {BASEMAP_CREDIT}")


def _draw_cells(
    axes: Axes,
    cells: Sequence[MapCell],
    rings: Mapping[str, Sequence[Any]],
    kind: SourceKind,
    norm: Any,
) -> Any:
    """Draw the cells of one kind; a cell at the antimeridian has two rings."""
    from matplotlib.collections import PolyCollection

    pairs = [(ring, cell.images[kind]) for cell in cells for ring in rings[cell.cell]]
    collection = PolyCollection(
        [ring for ring, _ in pairs],
        array=np.array([images for _, images in pairs], dtype=np.float64),
        cmap=_COLOR_MAP,
        norm=norm,
        edgecolors="face",
        linewidths=_MIN_CELL_INCHES * 72,
        zorder=2,
    )
    axes.add_collection(collection, autolim=False)
    return collection


def _list_rings(cell: str) -> list[list[tuple[float, float]]]:
    return [
        [(point.lon, point.lat) for point in polygon.exterior] for polygon in cell_polygons(cell)
    ]


def _find_limits(
    rings: Sequence[Sequence[tuple[float, float]]],
) -> tuple[float, float, float, float]:
    """Minimum and maximum longitude, minimum and maximum latitude of the map."""
    if not rings:
        return -180.0, 180.0, -90.0, 90.0
    corners = np.array([corner for ring in rings for corner in ring])
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    if highest[0] - lowest[0] > _WIDE_DEG:
        return -180.0, 180.0, -90.0, 90.0
    margin_deg = _MARGIN * float((highest - lowest).max())
    return (
        max(-180.0, float(lowest[0]) - margin_deg),
        min(180.0, float(highest[0]) + margin_deg),
        max(-90.0, float(lowest[1]) - margin_deg),
        min(90.0, float(highest[1]) + margin_deg),
    )
