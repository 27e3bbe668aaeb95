"""`pinpoint export`: the images of the gallery as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinpoint.cli import output
from pinpoint.cli.filter_options import (
    AreaOption,
    AttributeFilterOption,
    BboxOption,
    CameraFilterOption,
    CenterOption,
    CreatorFilterOption,
    DatetimeOption,
    FileNameFilterOption,
    RadiusOption,
    SequenceFilterOption,
    SourceFilterOption,
    SourceKindFilterOption,
    StateFilterOption,
    read_filter_options,
)
from pinpoint.cli.option_values import check_choice
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.media.exports.formats import GEOPARQUET_VERSIONS, find_export_format
from pinpoint.records import EMBEDDING_TYPES

app = typer.Typer()


@app.command("export")
def export(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="File to write: `.parquet` (GeoParquet), `.fgb` (FlatGeobuf), `.gpkg` "
            "(GeoPackage), `.geojsons` (GeoJSON text sequence) or `.csv`. It is replaced only "
            "when the export is complete.",
        ),
    ],
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format as an ending, if the file has another one.", show_default=False
        ),
    ] = None,
    in_source: SourceFilterOption = [],  # noqa: B006
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    center: CenterOption = None,
    radius: RadiusOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    datetime: DatetimeOption = None,
    creator: CreatorFilterOption = [],  # noqa: B006
    sequence: SequenceFilterOption = [],  # noqa: B006
    camera: CameraFilterOption = [],  # noqa: B006
    attribute: AttributeFilterOption = [],  # noqa: B006
    file_name: FileNameFilterOption = None,
    state: StateFilterOption = [],  # noqa: B006
    geoparquet_version: Annotated[
        str | None,
        typer.Option(
            "--geoparquet-version",
            help="Version of GeoParquet: `1.1`, the default, or `2.0`, which readers with "
            "libarrow 19 and older cannot open.",
            show_default=False,
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            "--embeddings",
            metavar="CHANNEL",
            help="Add the embeddings of this channel, such as `image`; GeoParquet only.",
            show_default=False,
        ),
    ] = None,
    embedding_type: Annotated[
        str | None,
        typer.Option(
            "--embedding-type",
            help="Type of the numbers of embeddings: `float16`, the default, or `float32`.",
            show_default=False,
        ),
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the images of the gallery to one file, with license and attribution of each image.

    The file is one state of the gallery, in the order of H3 cells, and a manifest for `pinpoint
    ingest`. Images that failed are left out, unless --state names them. The operator's exports
    contain the paths of files, those of API keys do not.
    """
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    suffix = find_export_format(file_format or out.suffix.removeprefix(".")).suffix
    check_choice("--geoparquet-version", geoparquet_version, GEOPARQUET_VERSIONS)
    check_choice("--embedding-type", embedding_type, EMBEDDING_TYPES)
    filters = read_filter_options(
        source_kinds=source_kind,
        sources=in_source,
        center=center,
        radius_m=radius,
        bbox=bbox,
        area=area,
        interval=datetime,
    )
    bar, task = output.open_byte_bar("export")

    def show_progress(completed: int, total: int | None) -> None:
        bar.update(task, completed=completed, total=total)

    with session.client() as client, bar:
        exported = client.export(
            out,
            suffix=suffix,
            on_progress=show_progress,
            **filters.to_image_parameters(client),
            creator=creator,
            sequence=sequence,
            camera=camera,
            attribute=attribute,
            file_name=file_name,
            state=state,
            geoparquet_version=geoparquet_version,
            embeddings=embeddings,
            embedding_type=embedding_type,
        )
    if session.as_json:
        output.print_json(exported)
    else:
        output.print_line(
            f"{exported['rows']} images in {out}: {exported['bytes'] / 1e6:.1f} MB in "
            f"{exported['seconds']:.1f} s"
        )
