"""`pinpoint inspect`: what would be read, file by file. Needs no stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.reading import (
    ClockOption,
    ColumnOption,
    TimeZoneOption,
    TrackOption,
    as_dict,
    describe_columns,
    describe_others,
    find_beside,
    note_lines,
    read_options,
)
from pinpoint.cli.session import Json, Session
from pinpoint.cli.values import check_exists
from pinpoint.errors import BadRequest
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.ingest.inspect import Inspected
    from pinpoint.media.manifests import ManifestSummary
    from pinpoint.media.sidecars import OtherFile
    from pinpoint.records import ReadOptions


_MAX_DETAILS: Final = 20
"""Details of rejections that are printed below the table."""


def add_to(app: typer.Typer) -> None:
    """Hang this command into the tree."""
    app.command(name="inspect")(inspect)


def inspect(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, folders or manifests.")],
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="CSV or GeoJSON in PATH whose rows name files."),
    ] = None,
    no_manifest: Annotated[
        bool, typer.Option("--no-manifest", help="Do not use a manifest that is found in PATH.")
    ] = False,
    track: TrackOption = None,
    time_zone: TimeZoneOption = None,
    camera_clock_offset: ClockOption = None,
    column: ColumnOption = None,
    as_json: Json = False,
) -> None:
    """Say of every photo what would be read of it, or why it would be rejected."""
    from pinpoint.media.manifests import describe_manifest

    session = Session.of(context, as_json=as_json)
    settings = Settings.from_environment()
    for path in paths:
        check_exists(path)
    options = read_options(track, time_zone, camera_clock_offset, column)
    listed = [(path, _choose_manifest(path, manifest, no_manifest)) for path in paths]
    if manifest is not None:
        # As `ingest` does: of a manifest that is named only the rows are read.
        listed = [(chosen or path, chosen) for path, chosen in listed]
    summaries = [
        describe_manifest(chosen, settings.media, options) for _, chosen in listed if chosen
    ]
    found = _inspect_all(listed, settings, options)
    others = [(path, find_beside(path)) for path in paths]
    if session.as_json:
        output.show_json(_document(found, summaries, others))
    else:
        _show(found, summaries, [other for _, files in others for other in files])


def _choose_manifest(path: Path, manifest: Path | None, no_manifest: bool) -> Path | None:
    """The manifest that holds for a path.

    Raises:
        BadRequest: There is no such manifest, the folder holds several, or both options were
            given.
    """
    from pinpoint.ingest.inspect import used_manifest

    if manifest is None:
        return None if no_manifest and path.is_dir() else used_manifest(path)
    if no_manifest:
        raise BadRequest("--manifest and --no-manifest exclude each other")
    chosen = manifest if manifest.exists() else path / manifest
    if not path.is_dir() or chosen.resolve().parent != path.resolve():
        raise BadRequest(
            f"a manifest's rows name files below its own folder: put {manifest} into {path}, or "
            "give its folder as PATH"
        )
    return chosen


def _inspect_all(
    listed: list[tuple[Path, Path | None]], settings: Settings, options: ReadOptions
) -> list[tuple[Path, Inspected]]:
    from pinpoint.ingest import inspect as inspection
    from pinpoint.media.decoder import ChildDecoder

    found: list[tuple[Path, Inspected]] = []
    threads = min(2, os.cpu_count() or 1)
    decoder = ChildDecoder(settings.media, children=threads)
    bar, task = output.progress("inspecting")
    try:
        with bar:
            for path, manifest in listed:
                for one in inspection.inspect(
                    path,
                    decoder,
                    settings.media,
                    manifest=manifest,
                    options=options,
                    threads=threads,
                ):
                    found.append((path, one))
                    bar.update(task, completed=len(found), total=len(found))
    finally:
        decoder.close()
    return found


def _document(
    found: list[tuple[Path, Inspected]],
    summaries: list[ManifestSummary],
    others: list[tuple[Path, list[OtherFile]]],
) -> dict[str, Any]:
    accepted = sum(one.capture is not None for _, one in found)
    return {
        "files": [_entry(path, one) for path, one in found],
        "accepted": accepted,
        "rejected": len(found) - accepted,
        "manifests": [
            {"manifest": one.name, "columns": one.understood, "attributes": list(one.attributes)}
            for one in summaries
        ],
        "other_files": as_dict([other for _, files in others for other in files]),
    }


def _show(
    found: list[tuple[Path, Inspected]],
    summaries: list[ManifestSummary],
    others: list[OtherFile],
) -> None:
    accepted = sum(one.capture is not None for _, one in found)
    output.table(
        None,
        (
            *("file", "lat, lon (°)", "position from", "taken (UTC)", "time from"),
            *(">heading °", ">s", "rejected"),
        ),
        [_row(one) for _, one in found],
    )
    for _, one in found:
        for warning in one.capture.warnings if one.capture else ():
            output.say(f"{one.file}: {warning}")
    refused = [(one.file, one.rejected.detail) for _, one in found if one.rejected]
    for file, detail in refused[:_MAX_DETAILS]:
        output.say(f"{file}: {detail}")
    if len(refused) > _MAX_DETAILS:
        output.say(f"{len(refused) - _MAX_DETAILS} more rejections: --json gives their details")
    output.say(f"{len(found)} files: {accepted} accepted, {len(found) - accepted} rejected")
    for summary in summaries:
        output.say(f"used the manifest {summary.name}")
    note_lines(line for summary in summaries for line in describe_columns(summary))
    note_lines(describe_others(others))


def _entry(path: Path, one: Inspected) -> dict[str, Any]:
    capture, rejected = one.capture, one.rejected
    entry: dict[str, Any] = {
        "root": str(path),
        "file": one.file,
        "accepted": capture is not None,
        "seconds": round(one.seconds, 3),
    }
    if rejected is not None:
        entry |= {
            "stage": rejected.stage,
            "reason": rejected.reason,
            "detail": rejected.detail,
        }
    if capture is not None:
        entry |= output.wire(capture)
        point = entry.pop("point")
        entry |= {"lat": point.lat, "lon": point.lon}
    return entry


def _row(one: Inspected) -> tuple[object, ...]:
    capture, rejected = one.capture, one.rejected
    seconds = f"{one.seconds:.2f}"
    if capture is None:
        why = "" if rejected is None else f"{rejected.stage}: {rejected.reason}"
        return (one.file, None, None, None, None, None, seconds, why)
    heading = None if capture.heading_deg is None else f"{capture.heading_deg:.0f}"
    place = f"{capture.point.lat:.5f}, {capture.point.lon:.5f}"
    time_source = capture.time_source
    if capture.attributes.get("time_zone") == "assumed_utc":
        time_source = f"{time_source}, no zone"
    sources = (capture.position_source, capture.captured_at, time_source)
    return (one.file, place, *sources, heading, seconds, "")
