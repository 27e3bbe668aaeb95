"""`pinpoint images`: show, update and delete images of the gallery."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import MANUAL_FIELDS

app = typer.Typer(help="List, show, update and delete images of the gallery.", no_args_is_help=True)

ImageIdArgument = Annotated[
    str, typer.Argument(help="Id of the image, or at least its first six hex digits.")
]


@app.command("show")
def show(
    context: typer.Context,
    image_id: ImageIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the metadata of an image."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        image = client.image(ids.find_image(client, image_id))
    _print_image(session, image)


@app.command("update")
def update(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    image_id: ImageIdArgument,
    lat: Annotated[
        float | None, typer.Option("--lat", help="Latitude in degrees; needs --lon.")
    ] = None,
    lon: Annotated[
        float | None, typer.Option("--lon", help="Longitude in degrees; needs --lat.")
    ] = None,
    captured_at: Annotated[
        str | None,
        typer.Option(
            "--captured-at",
            help="Capture time in ISO 8601 with an offset, such as 2026-05-01T12:00Z.",
        ),
    ] = None,
    heading_deg: Annotated[
        float | None, typer.Option("--heading-deg", help="Compass direction in degrees, 0 to 360.")
    ] = None,
    creator: Annotated[str | None, typer.Option("--creator", help="Creator of the image.")] = None,
    sequence: Annotated[
        str | None, typer.Option("--sequence", help="Name of the sequence of the image.")
    ] = None,
    license: Annotated[str | None, typer.Option("--license", help="License of the image.")] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            "--clear",
            help="Remove the manual value of `position`, `captured_at`, `heading_deg`, "
            "`creator`, `sequence` or `license`; may be repeated.",
        ),
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set or clear metadata of an image by hand; other fields do not change."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    fields = {
        "lat": lat,
        "lon": lon,
        "captured_at": captured_at,
        "heading_deg": heading_deg,
        "creator": creator,
        "sequence": sequence,
        "license": license,
    }
    changes = _collect_changes(fields, clear or [])
    with session.client() as client:
        image = client.update(ids.find_image(client, image_id), **changes)
    _print_image(session, image)


def _collect_changes(fields: dict[str, Any], cleared: list[str]) -> dict[str, Any]:
    """Return the given fields and the fields to clear.

    Raises:
        BadRequestError: A field to clear is unknown, or there are no changes.
    """
    changes = {name: value for name, value in fields.items() if value is not None}
    unknown = sorted(set(cleared) - set(MANUAL_FIELDS))
    if unknown:
        raise BadRequestError(
            f"--clear must be one of {', '.join(MANUAL_FIELDS)}, not {unknown[0]!r}"
        )
    if cleared:
        changes["clear"] = list(dict.fromkeys(cleared))
    if not changes:
        raise BadRequestError("no changes given; use at least one of the options")
    return changes


@app.command("delete")
def delete(
    context: typer.Context,
    image_id: ImageIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete an image with its row, index point and stored files."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        image_id = ids.find_image(client, image_id)
        client.delete(image_id)
    if session.as_json:
        output.print_json({"deleted": image_id})
    else:
        output.print_line(f"image {image_id} is deleted")


def _print_image(session: Session, image: dict[str, Any]) -> None:
    if session.as_json:
        output.print_json(image)
        return
    nested = ("geometry", "attributes", "field_sources", "warnings")
    rows = [
        (name, output.format_place(value) if name == "nearest_place" else value)
        for name, value in image.items()
        if name not in nested
    ]
    rows += [(f"source of {name}", value) for name, value in sorted(image["field_sources"].items())]
    rows += [("warning", text) for text in image["warnings"]]
    rows += [(f"attributes.{name}", value) for name, value in sorted(image["attributes"].items())]
    output.print_table(None, ("field", "value"), rows)
