"""`pinpoint protected-areas`: locations that must not be revealed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.area_files import read_area
from pinpoint.cli.option_values import check_choice
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.records.protected_areas import AREA_GRANULARITIES

app = typer.Typer(
    help="Manage protected areas: locations that must not be revealed.", no_args_is_help=True
)

AreaArgument = Annotated[str, typer.Argument(help="Id of the protected area.")]
NameArgument = Annotated[str, typer.Argument(help="Name, unique in the organization.")]
FileArgument = Annotated[
    Path, typer.Argument(help="File with the polygons: GeoJSON, or a format that GDAL reads.")
]
GranularityOption = Annotated[
    str,
    typer.Option(
        "--granularity",
        help="Finest statement for keys that may not see the area: `radius`, `city`, `country` or "
        "`refuse`.",
    ),
]
MinRadiusOption = Annotated[
    float | None,
    typer.Option("--min-radius-m", help="Minimum radius in meters, for the granularity `radius`."),
]
PurposeOption = Annotated[str, typer.Option("--purpose", help="Why the area is protected.")]
InstallationOption = Annotated[
    bool,
    typer.Option(
        "--whole-installation", help="Apply the area to all organizations; only the operator may."
    ),
]


@app.command("list")
def list_areas(
    context: typer.Context,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List protected areas; with --json as a GeoJSON FeatureCollection."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        areas = list(client.protected_areas())
    if session.as_json:
        output.print_json({"type": "FeatureCollection", "features": areas})
        return
    columns = ("name", "granularity", "min_radius_m", "whole_installation", "applied", "purpose")
    output.print_table(
        None,
        (*columns, "id"),
        [[*(area["properties"][name] for name in columns), area["id"]] for area in areas],
    )


@app.command("show")
def show_area(
    context: typer.Context,
    area_id: AreaArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a protected area; with --json as a GeoJSON Feature."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        area = client.protected_area(area_id)
    if session.as_json:
        output.print_json(area)
        return
    properties = area["properties"]
    output.print_table(None, ("field", "value"), [[name, properties[name]] for name in properties])


@app.command("add")
def add_area(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    name: NameArgument,
    file: FileArgument,
    granularity: GranularityOption,
    purpose: PurposeOption,
    min_radius_m: MinRadiusOption = None,
    whole_installation: InstallationOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Protect the area of a file."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    properties = _make_properties(name, granularity, purpose, min_radius_m, whole_installation)
    geometry = _read_geometry(file)
    with session.client() as client:
        area = client.create_protected_area(geometry, properties)
    _print_area(session, area)


@app.command("replace")
def replace_area(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    area_id: AreaArgument,
    name: NameArgument,
    file: FileArgument,
    granularity: GranularityOption,
    purpose: PurposeOption,
    min_radius_m: MinRadiusOption = None,
    whole_installation: InstallationOption = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace all values of a protected area."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    properties = _make_properties(name, granularity, purpose, min_radius_m, whole_installation)
    geometry = _read_geometry(file)
    with session.client() as client:
        area = client.replace_protected_area(area_id, geometry, properties)
    _print_area(session, area)


@app.command("delete")
def delete_area(
    context: typer.Context,
    area_id: AreaArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a protected area, so that answers and images in it are exact again."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        client.delete_protected_area(area_id)
    if session.as_json:
        output.print_json({"deleted": area_id})
    else:
        output.print_line(f"protected area {area_id} is deleted")


def _make_properties(
    name: str,
    granularity: str,
    purpose: str,
    min_radius_m: float | None,
    whole_installation: bool,
) -> dict[str, Any]:
    check_choice("--granularity", granularity, AREA_GRANULARITIES)
    return {
        "name": name,
        "granularity": granularity,
        "purpose": purpose,
        "min_radius_m": min_radius_m,
        "whole_installation": whole_installation,
    }


def _read_geometry(path: Path) -> dict[str, Any]:
    """Geometry of a file: that of a Feature, or all of a FeatureCollection in one MultiPolygon."""
    document: dict[str, Any] = json.loads(read_area(path))
    features = document.get("features")
    if isinstance(features, list):
        parts = [_list_parts(feature.get("geometry") or {}) for feature in features]
        return {"type": "MultiPolygon", "coordinates": [part for group in parts for part in group]}
    return dict(document.get("geometry") or document)


def _list_parts(geometry: dict[str, Any]) -> list[Any]:
    coordinates: list[Any] = geometry.get("coordinates") or []
    return coordinates if geometry.get("type") == "MultiPolygon" else [coordinates]


def _print_area(session: Session, area: dict[str, Any]) -> None:
    if session.as_json:
        output.print_json(area)
        return
    properties = area["properties"]
    output.print_line(
        f"protected area {properties['name']} ({properties['granularity']}, {area['id']})"
    )
    if not properties["applied"]:
        output.warn("a worker is still hiding gallery images in it; answers follow it already")
