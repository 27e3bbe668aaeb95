"""`pinpoint search`: gallery images for text, photos, images, a point, or a mixture of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.crop_option import CropOption, read_crops
from pinpoint.cli.filter_options import (
    AreaOption,
    BboxOption,
    CenterOption,
    CountryOption,
    DatetimeOption,
    RadiusOption,
    SourceFilterOption,
    SourceKindFilterOption,
    read_filter_options,
)
from pinpoint.cli.option_values import parse_numbers
from pinpoint.cli.session import (
    GeoJsonOption,
    JsonOption,
    KeyOption,
    OrganizationOption,
    ServerOption,
    Session,
)
from pinpoint.cli.similar import print_groups
from pinpoint.errors import BadRequestError

app = typer.Typer()


@app.command()
def search(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    text: Annotated[
        list[str], typer.Option("--text", help="What the images show; may be repeated.")
    ] = [],  # noqa: B006
    photo: Annotated[
        list[Path], typer.Option("--photo", help="Query photo; may be repeated.")
    ] = [],  # noqa: B006
    image: Annotated[
        list[str], typer.Option("--image", help="Id of a gallery image; may be repeated.")
    ] = [],  # noqa: B006
    point: Annotated[
        str | None,
        typer.Option("--point", metavar="LAT,LON", help="Latitude and longitude in degrees."),
    ] = None,
    weight: Annotated[
        list[str],
        typer.Option(
            "--weight",
            metavar="PART=NUMBER",
            help="Weight of text, photo, image or point in a mixture; 1 by default.",
        ),
    ] = [],  # noqa: B006
    crop: CropOption = [],  # noqa: B006
    max_groups: Annotated[
        int, typer.Option("--max-groups", min=1, max=200, help="Maximum number of groups.")
    ] = 20,
    per_group: Annotated[
        int, typer.Option("--per-group", min=1, max=20, help="Maximum number of images per group.")
    ] = 3,
    as_geojson: GeoJsonOption = False,
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    in_source: SourceFilterOption = [],  # noqa: B006
    center: CenterOption = None,
    radius: RadiusOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    country: CountryOption = [],  # noqa: B006
    datetime: DatetimeOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the gallery by text, photo, image or point, or by a weighted mixture of them."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    if not (text or photo or image or point):
        raise BadRequestError("give at least one of --text, --photo, --image and --point")
    if as_geojson and session.as_json:
        raise BadRequestError("--geojson cannot be combined with --json")
    if point is not None:
        parse_numbers("--point", point, "LAT,LON")
    filters = read_filter_options(
        source_kinds=source_kind,
        sources=in_source,
        center=center,
        radius_m=radius,
        bbox=bbox,
        area=area,
        interval=datetime,
    )
    with session.client() as client:
        result = client.search(
            text=text,
            photo=photo or None,
            image_id=[ids.find_image(client, image_id) for image_id in image],
            point=point,
            weights=",".join(weight) or None,
            geojson=as_geojson,
            **filters.to_parameters(client),
            country=country,
            crop=read_crops(crop, len(photo)),
            limit=max_groups,
            per_group=per_group,
        )
    if session.as_json or as_geojson:
        output.print_json(result)
    else:
        print_groups(result)
