"""`pinpoint export`: the images of the gallery as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.filter_options import SourceFilterOption, SourceKindFilterOption
from pinpoint.cli.option_values import check_choice, check_kinds
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
    file_name: Annotated[
        str | None,
        typer.Option(
            "--file-name",
            help="Use only images with this file name; quote the wildcards `*` and `?`.",
        ),
    ] = None,
    state: Annotated[
        list[str],
        typer.Option(
            "--state",
            help="Use only images in this state: `pending`, `indexed` or `failed`; may be "
            "repeated. Default: all but failed ones.",
        ),
    ] = [],  # noqa: B006
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
    ingest`. The operator's exports contain the paths of files, those of API keys do not.
    """
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    suffix = find_export_format(file_format or out.suffix.removeprefix(".")).suffix
    check_kinds("--source-kind", source_kind)
    check_choice("--geoparquet-version", geoparquet_version, GEOPARQUET_VERSIONS)
    check_choice("--embedding-type", embedding_type, EMBEDDING_TYPES)
    bar, task = output.open_byte_bar("export")

    def show_progress(completed: int, total: int | None) -> None:
        bar.update(task, completed=completed, total=total)

    with session.client() as client, bar:
        exported = client.export(
            out,
            suffix=suffix,
            on_progress=show_progress,
            source=[ids.find_source(client, name) for name in in_source],
            source_kind=source_kind,
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
