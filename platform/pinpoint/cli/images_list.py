"""`pinpoint images list`: images of the gallery by place, time and metadata."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
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
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import BadRequestError

app = typer.Typer()

ListFormat = Literal["table", "json", "geojson", "csv"]
_MEDIA_TYPES: Final[dict[ListFormat, str]] = {
    "table": "application/json",
    "json": "application/json",
    "geojson": "application/geo+json",
    "csv": "text/csv",
}
_MAX_PAGE_SIZE: Final = 1_000
_COLUMNS: Final = (
    "file",
    "source",
    "nearest place",
    "lat, lon (°)",
    "captured (UTC)",
    "state",
    "id",
)


@app.command("list")
def list_images(  # noqa: PLR0913 - options of a command
    context: typer.Context,
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
    page_size: Annotated[
        int | None,
        typer.Option(
            "--page-size",
            min=1,
            max=_MAX_PAGE_SIZE,
            help="Number of images per page; 50, or 1000 with --all.",
            show_default=False,
        ),
    ] = None,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Print all pages, with the progress on stderr.")
    ] = False,
    as_geojson: Annotated[
        bool, typer.Option("--geojson", help="Print a GeoJSON FeatureCollection.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")] = False,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List images, ordered by file name and id."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    list_format = _choose_format(as_json=session.as_json, as_geojson=as_geojson, as_csv=as_csv)
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
        pages = client.image_pages(
            _MEDIA_TYPES[list_format],
            **filters.to_image_parameters(client),
            creator=creator,
            sequence=sequence,
            camera=camera,
            attribute=attribute,
            file_name=file_name,
            state=state,
            limit=page_size or (_MAX_PAGE_SIZE if show_all else 50),
            cursor=cursor,
        )
        if show_all:
            _print_all_pages(list_format, pages)
        else:
            print_page(list_format, next(pages))


def _choose_format(*, as_json: bool, as_geojson: bool, as_csv: bool) -> ListFormat:
    """Return the format of the options.

    Raises:
        BadRequestError: Several formats are chosen.
    """
    options: dict[ListFormat, bool] = {"json": as_json, "geojson": as_geojson, "csv": as_csv}
    chosen = [name for name, is_chosen in options.items() if is_chosen]
    if len(chosen) > 1:
        raise BadRequestError("use only one of --json, --geojson and --csv")
    return chosen[0] if chosen else "table"


def print_page(list_format: ListFormat, page: httpx.Response) -> None:
    """Print one page, and on stderr the cursor of the next one."""
    if list_format == "table":
        _print_images(page.json()["images"])
    elif list_format == "csv":
        sys.stdout.write(page.text)
    else:
        output.print_json(page.json())
    if "next" in page.links:
        (next_cursor,) = parse_qs(urlsplit(page.links["next"]["url"]).query)["cursor"]
        output.warn(f"more: the same command with --all, or with --cursor {next_cursor}")


def _print_all_pages(list_format: ListFormat, pages: Iterable[httpx.Response]) -> None:
    """Print all pages as they arrive, as one document."""
    counter, task = output.open_counter("images")
    with counter:

        def count(images: list[Any]) -> list[Any]:
            counter.update(task, advance=len(images))
            return images

        if list_format == "csv":
            for number, page in enumerate(pages):
                _, _, lines = page.text.partition("\r\n")
                sys.stdout.write(lines if number else page.text)
                count(list(csv.reader(io.StringIO(lines, newline=""))))
        elif list_format == "geojson":
            features = (count(page.json()["features"]) for page in pages)
            _print_members('{"type": "FeatureCollection", "features": [', features, "]}")
        elif list_format == "json":
            images = (count(page.json()["images"]) for page in pages)
            _print_members('{"images": [', images, '], "next": null}')
        else:
            for page in pages:
                _print_images(count(page.json()["images"]))


def _print_members(start: str, pages: Iterable[list[Any]], end: str) -> None:
    """Print the members of an array, one per line, between the parts of a document."""
    sys.stdout.write(start)
    separator = "\n"
    for member in itertools.chain.from_iterable(pages):
        sys.stdout.write(separator + json.dumps(member, ensure_ascii=False))
        separator = ",\n"
    sys.stdout.write(f"\n{end}\n")


def _print_images(images: list[dict[str, Any]]) -> None:
    rows = [
        (
            image["file_name"],
            image["source"],
            output.format_place(image["nearest_place"]),
            f"{image['lat']:.5f}, {image['lon']:.5f}",
            str(image["captured_at"] or "")[:16].replace("T", " ") or None,
            image["state"],
            image["id"],
        )
        for image in images
    ]
    output.print_table(None, _COLUMNS, rows)
