"""`pinpoint images download`: the file of an image, without metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinpoint.atomic_files import write_atomic
from pinpoint.cli import ids, output
from pinpoint.cli.images import ImageIdArgument
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError, describe_cause

app = typer.Typer()


@app.command()
def download(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    image_id: ImageIdArgument,
    output_file: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; an existing file is replaced.")
    ],
    width: Annotated[
        int | None,
        typer.Option("--width", min=16, help="Maximum width in pixels; default: the full size."),
    ] = None,
    panorama: Annotated[
        bool, typer.Option("--panorama", help="Download the panorama that a face was cut from.")
    ] = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download an image as a JPEG without metadata."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        image_id = ids.find_image(client, image_id)
        jpeg = client.image_file(image_id, width=width, panorama=panorama)
    try:
        write_atomic(output_file, jpeg, durable=False)
    except OSError as error:
        raise BadRequestError(
            f"{output_file} cannot be written: {describe_cause(error)}"
        ) from error
    if session.as_json:
        output.print_json({"image_id": image_id, "file": str(output_file), "size_bytes": len(jpeg)})
    else:
        output.print_line(f"image {image_id} is in {output_file} ({len(jpeg)} bytes)")
