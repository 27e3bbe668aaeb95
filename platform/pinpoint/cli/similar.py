"""`pinpoint similar`: gallery images that are similar to a photo or to another image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
from pinpoint.cli.session import (
    GeoJsonOption,
    JsonOption,
    KeyOption,
    OrganizationOption,
    ServerOption,
    Session,
)
from pinpoint.errors import BadRequestError

app = typer.Typer()


@app.command()
def similar(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    photo: Annotated[Path | None, typer.Argument(help="Query photo.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Id of a gallery image to use instead of a photo.")
    ] = None,
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
    """Find gallery images similar to a photo; a panorama or sequence forms one group."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    if (photo is None) == (image is None):
        raise BadRequestError("give either a photo or --image ID")
    if as_geojson and session.as_json:
        raise BadRequestError("--geojson cannot be combined with --json")
    filters = read_filter_options(
        source_kinds=source_kind,
        sources=in_source,
        center=center,
        radius_m=radius,
        bbox=bbox,
        area=area,
        interval=datetime,
    )
    crops = read_crops(crop, 0 if photo is None else 1)
    with session.client() as client:
        parameters = {
            "crop": crops,
            **filters.to_parameters(client),
            "country": country,
            "image_id": None if image is None else ids.find_image(client, image),
            "limit": max_groups,
            "per_group": per_group,
        }
        result = client.similar(photo, geojson=as_geojson, **parameters)
    if session.as_json or as_geojson:
        output.print_json(result)
    else:
        print_groups(result)


def print_groups(result: dict[str, Any]) -> None:
    """Print the images of each group, the most similar ones first, and warnings."""
    rows = [
        (
            number if rank == 0 else "",
            _format_score(hit["score"]),
            _format_distance(hit["distance_m"]),
            hit["source_kind"],
            hit["file_name"],
            hit["source"],
            output.format_place(hit["nearest_place"]),
            f"{hit['lat']:.5f}, {hit['lon']:.5f}",
            hit["image_id"],
        )
        for number, group in enumerate(result["groups"], start=1)
        for rank, hit in enumerate(group["hits"])
    ]
    columns = (
        ">group",
        ">similarity",
        ">distance",
        "source kind",
        "file",
        "source",
        "nearest place",
        "lat, lon (°)",
    )
    output.print_table(None, (*columns, "image"), rows)
    for warning in result["warnings"]:
        output.print_line(warning)


def _format_score(score: float | None) -> str | None:
    return None if score is None else f"{score:.3f}"


def _format_distance(distance_m: float | None) -> str | None:
    return None if distance_m is None else output.format_length(distance_m)
