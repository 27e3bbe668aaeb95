"""`pinpoint coverage`: number of images by H3 cell and source kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.cell_options import (
    CellBboxOption,
    MaxCellsOption,
    MinImagesOption,
    ResolutionOption,
    check_formats,
    check_output_folder,
    print_cells,
    print_features,
    read_cell_filters,
)
from pinpoint.cli.filter_options import SourceFilterOption, SourceKindFilterOption
from pinpoint.cli.option_values import check_kinds
from pinpoint.cli.session import (
    GeoJsonOption,
    JsonOption,
    KeyOption,
    OrganizationOption,
    ServerOption,
    Session,
)
from pinpoint.records import SOURCE_KINDS

app = typer.Typer()


@app.command()
def coverage(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    resolution: ResolutionOption = 5,
    bbox: CellBboxOption = None,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    in_source: SourceFilterOption = [],  # noqa: B006
    min_images: MinImagesOption = 1,
    max_cells: MaxCellsOption = 20,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Write a map as PNG with one panel for each source kind."),
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
    as_geojson: GeoJsonOption = False,
) -> None:
    """Show where the gallery has images: their number by H3 cell and source kind."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_formats(as_json=session.as_json, as_geojson=as_geojson)
    check_kinds("--source-kind", source_kind)
    if png is not None:
        check_output_folder(png)
    with session.client() as client:
        filters = read_cell_filters(
            client, resolution=resolution, bbox=bbox, in_source=in_source, min_images=min_images
        )
        filters["source_kind"] = source_kind
        if as_geojson:
            print_features(client.iterate_cells("/v1/coverage", filters, geojson=True))
            return
        cells = list(client.iterate_cells("/v1/coverage", filters, geojson=False))
    if png is not None:
        _draw_map(png, cells, resolution, source_kind)
    if session.as_json:
        output.print_json({"cells": cells})
    else:
        print_cells(cells, max_cells)


def _draw_map(
    path: Path, cells: list[dict[str, Any]], resolution: int, source_kinds: list[str]
) -> None:
    # Imported here because matplotlib takes a second.
    from pinpoint.evaluation.report.coverage_map import MapCell, draw_coverage

    draw_coverage(
        path,
        [
            MapCell(
                cell=cell["cell"],
                images={count["source_kind"]: count["images"] for count in cell["counts"]},
            )
            for cell in cells
        ],
        [kind for kind in SOURCE_KINDS if not source_kinds or kind in source_kinds],
        "Coverage of the gallery",
        f"H3 cells of resolution {resolution} with images",
    )
    output.warn(f"map: {path}")
