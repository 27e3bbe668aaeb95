"""Options and output that `coverage` and `gaps` share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.option_values import parse_numbers
from pinpoint.errors import BadRequestError
from pinpoint.geo.gazetteer import nearest_places
from pinpoint.records import COVERAGE_RESOLUTIONS, SOURCE_KINDS, Point

ResolutionOption = Annotated[
    int,
    typer.Option(
        "--resolution",
        min=COVERAGE_RESOLUTIONS[0],
        max=COVERAGE_RESOLUTIONS[-1],
        help="H3 resolution: from 3 (12,393 km² on average) to 7 (5.2 km²).",
    ),
]
CellBboxOption = Annotated[
    str | None,
    typer.Option(
        "--bbox",
        metavar="MINLON,MINLAT,MAXLON,MAXLAT",
        help="Use only cells that intersect this box: minimum longitude, minimum latitude, "
        "maximum longitude, maximum latitude in degrees.",
    ),
]
MinImagesOption = Annotated[
    int, typer.Option("--min-images", min=1, help="Minimum number of images of a cell.")
]
MaxCellsOption = Annotated[
    int,
    typer.Option(
        "--max-cells",
        min=0,
        help="Maximum number of cells in the table, those with most images first.",
    ),
]
_COLUMNS: Final = (
    "cell",
    "nearest place",
    "lat, lon (°)",
    *(f">{kind}" for kind in SOURCE_KINDS),
    "first (UTC)",
    "last (UTC)",
)


def read_cell_filters(
    client: ApiClient, *, resolution: int, bbox: str | None, in_source: list[str], min_images: int
) -> dict[str, Any]:
    """Check the options and convert them to request parameters.

    Raises:
        BadRequestError: An option has an invalid value.
    """
    if bbox is not None:
        parse_numbers("--bbox", bbox, "MINLON,MINLAT,MAXLON,MAXLAT")
    return {
        "resolution": resolution,
        "bbox": bbox,
        "source": [ids.find_source(client, name) for name in in_source],
        "min_images": min_images,
    }


def check_formats(*, as_json: bool, as_geojson: bool) -> None:
    """Refuse two formats at once.

    Raises:
        BadRequestError: Both formats were given.
    """
    if as_json and as_geojson:
        raise BadRequestError("--geojson cannot be combined with --json")


def print_features(features: Iterable[dict[str, Any]]) -> None:
    """Print a FeatureCollection."""
    output.print_json({"type": "FeatureCollection", "features": list(features)})


def print_cells(cells: Sequence[dict[str, Any]], max_cells: int) -> None:
    """Print the totals of each source kind, and the cells with most images."""
    totals = []
    for kind in SOURCE_KINDS:
        counts = [
            count for cell in cells for count in cell["counts"] if count["source_kind"] == kind
        ]
        totals.append(
            (
                kind,
                f"{sum(count['images'] for count in counts):,}",
                f"{len(counts):,}",
                _format_day(_list_times(counts, "first_captured_at"), min),
                _format_day(_list_times(counts, "last_captured_at"), max),
            )
        )
    output.print_table(
        None, ("source kind", ">images", ">cells", "first (UTC)", "last (UTC)"), totals
    )
    shown_cells = sorted(cells, key=lambda cell: (-cell["images"], cell["cell"]))[:max_cells]
    if not shown_cells:
        return
    places = nearest_places([Point(cell["lat"], cell["lon"]) for cell in shown_cells])
    rows = []
    for cell, place in zip(shown_cells, places, strict=True):
        images = {count["source_kind"]: count["images"] for count in cell["counts"]}
        rows.append(
            (
                cell["cell"],
                f"{place.name}, {place.country}",
                f"{cell['lat']:.3f}, {cell['lon']:.3f}",
                *(images.get(kind, 0) for kind in SOURCE_KINDS),
                _format_day(_list_times([cell], "first_captured_at"), min),
                _format_day(_list_times([cell], "last_captured_at"), max),
            )
        )
    output.print_line("")
    output.print_table(None, _COLUMNS, rows)
    if len(cells) > len(shown_cells):
        output.warn(f"{len(cells) - len(shown_cells):,} more cells; --max-cells shows more")


def _list_times(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    return [row[name] for row in rows if row[name] is not None]


def _format_day(times: Sequence[str], choose: Any) -> str | None:
    # Times of one format in UTC are ordered as texts.
    return choose(times)[:10] if times else None


def check_output_folder(path: Path) -> None:
    """Check that the folder of an output file exists.

    Raises:
        BadRequestError: It does not exist.
    """
    if not path.parent.is_dir():
        raise BadRequestError(f"there is no folder {path.parent}", reason="unreadable")
