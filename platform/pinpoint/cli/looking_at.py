"""`pinpoint images looking-at`: images that look at a point."""

from __future__ import annotations

from typing import Annotated

import typer

from pinpoint.cli.filter_options import SourceKindFilterOption
from pinpoint.cli.images_list import print_page
from pinpoint.cli.option_values import check_kinds, parse_numbers
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session

app = typer.Typer()


@app.command("looking-at")
def looking_at(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="LAT,LON", help="The point: latitude and longitude in degrees."),
    ],
    distance: Annotated[
        float, typer.Option("--distance", metavar="M", help="Maximum distance in meters.")
    ] = 50.0,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            metavar="DEG",
            min=0,
            max=180,
            help="Tolerance of the direction in degrees, added to half of the field of view.",
        ),
    ] = 30.0,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Number of images per page.")
    ] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List images that look at a point, by heading and field of view."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_kinds("--source-kind", source_kind)
    lat, lon = parse_numbers("LAT,LON", target, "LAT,LON")
    with session.client() as client:
        pages = client.image_pages(
            looks_at_lat=lat,
            looks_at_lon=lon,
            looks_at_distance_m=distance,
            looks_at_tolerance_deg=tolerance,
            source_kind=source_kind,
            limit=page_size,
            cursor=cursor,
        )
        print_page("json" if session.as_json else "table", next(pages))
