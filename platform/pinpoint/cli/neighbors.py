"""`pinpoint neighbors`: the nearest images of points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.filter_options import SourceKindFilterOption
from pinpoint.cli.option_values import check_kinds, parse_numbers
from pinpoint.cli.point_files import read_points
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import Point

app = typer.Typer()


@app.command()
def neighbors(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    point: Annotated[
        list[str],
        typer.Option(
            "--point",
            metavar="LAT,LON",
            help="Point, latitude and longitude in degrees; may be repeated.",
        ),
    ] = [],  # noqa: B006
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE",
            help="CSV with the columns lat and lon, or GeoJSON with points.",
        ),
    ] = None,
    neighbor_radius: Annotated[
        float,
        typer.Option("--neighbor-radius", metavar="M", help="Maximum distance in meters."),
    ] = 250.0,
    per_kind: Annotated[
        int,
        typer.Option(
            "--per-kind",
            min=1,
            max=100,
            help="Maximum number of images of each source kind for each point.",
        ),
    ] = 5,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the nearest images of points, with distance and bearing."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_kinds("--source-kind", source_kind)
    positions = [_parse_point(text) for text in point]
    if points is not None:
        positions += read_points(points)
    if not positions:
        raise BadRequestError("give --point LAT,LON or --points FILE")
    with session.client() as client:
        results = client.neighbors_of_points(
            [(position.lat, position.lon) for position in positions],
            radius_m=neighbor_radius,
            limit_per_kind=per_kind,
            source_kinds=source_kind,
        )
    if session.as_json:
        output.print_json({"results": results})
    else:
        _print_results(results)


def _parse_point(text: str) -> Point:
    lat, lon = parse_numbers("--point", text, "LAT,LON")
    try:
        return Point(lat, lon)
    except ValueError as error:
        raise BadRequestError(f"--point {text}: {error}") from error


def _print_results(results: list[dict[str, Any]]) -> None:
    rows = [
        (
            number,
            f"{result['lat']:.5f}, {result['lon']:.5f}",
            f"{neighbor['distance_m']:.1f}",
            f"{neighbor['bearing_deg']:.0f}",
            neighbor["source_kind"],
            neighbor["source"],
            neighbor["file_name"],
            neighbor["id"],
        )
        for number, result in enumerate(results, start=1)
        for neighbor in result["neighbors"]
    ]
    columns = (">point", "lat, lon (°)", ">distance (m)", ">bearing (°)", "kind", "source")
    output.print_table(None, (*columns, "file", "id"), rows)
    num_empty = sum(not result["neighbors"] for result in results)
    if num_empty:
        output.warn(f"{num_empty} of {len(results)} points have no image within the radius")
