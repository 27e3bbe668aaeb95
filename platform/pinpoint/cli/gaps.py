"""`pinpoint gaps`: H3 cells with images of one source kind only."""

from __future__ import annotations

from typing import Annotated

import typer

from pinpoint.cli import output
from pinpoint.cli.cell_options import (
    CellBboxOption,
    MaxCellsOption,
    MinImagesOption,
    ResolutionOption,
    check_formats,
    print_cells,
    print_features,
    read_cell_filters,
)
from pinpoint.cli.filter_options import SourceFilterOption
from pinpoint.cli.option_values import check_choice
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
def gaps(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    missing_kind: Annotated[
        str | None,
        typer.Option(
            "--missing-kind",
            metavar="KIND",
            help="Show only cells without images of this source kind, `photo` or `street`.",
        ),
    ] = None,
    resolution: ResolutionOption = 5,
    bbox: CellBboxOption = None,
    in_source: SourceFilterOption = [],  # noqa: B006
    min_images: MinImagesOption = 1,
    max_cells: MaxCellsOption = 20,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
    as_geojson: GeoJsonOption = False,
) -> None:
    """Show cells with images of exactly one source kind, where the other kind is missing."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_formats(as_json=session.as_json, as_geojson=as_geojson)
    check_choice("--missing-kind", missing_kind, SOURCE_KINDS)
    with session.client() as client:
        filters = read_cell_filters(
            client, resolution=resolution, bbox=bbox, in_source=in_source, min_images=min_images
        )
        filters["missing_kind"] = missing_kind
        if as_geojson:
            print_features(client.iterate_cells("/v1/gaps", filters, geojson=True))
            return
        cells = list(client.iterate_cells("/v1/gaps", filters, geojson=False))
    if session.as_json:
        output.print_json({"cells": cells})
    else:
        print_cells(cells, max_cells)
