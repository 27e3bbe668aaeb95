"""`pinpoint validate`: metadata that an ingest would read from each file, without a stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.metadata_options import (
    ClockOption,
    ColumnOption,
    TimeZoneOption,
    TrackOption,
    describe_columns,
    describe_others,
    find_files_beside,
    find_manifest,
    note_lines,
    other_files_to_dict,
    read_options,
)
from pinpoint.cli.option_values import check_exists
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.ingest.inspect import Inspected
    from pinpoint.media.manifests.manifest_files import ManifestSummary
    from pinpoint.media.sidecars import OtherFile
    from pinpoint.records import ReadOptions


_MAX_DETAILS_SHOWN: Final = 20
"""Maximum number of rejection details printed below the table."""


app = typer.Typer()


@app.command()
def validate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Photos, folders or manifests.")],
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            help="Manifest of the files in PATH, in PATH or elsewhere; only the files that it "
            "names are read.",
        ),
    ] = None,
    no_manifest: Annotated[
        bool, typer.Option("--no-manifest", help="Ignore a manifest in PATH.")
    ] = False,
    track: TrackOption = None,
    time_zone: TimeZoneOption = None,
    camera_clock_offset: ClockOption = None,
    column: ColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the metadata that an ingest would read from each photo, or why it would reject it."""
    from pinpoint.media.manifests.manifest_files import describe_manifest

    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    for path in paths:
        check_exists(path)
    options = read_options(track, time_zone, camera_clock_offset, column)
    inputs = [(path, _choose_manifest(path, manifest, no_manifest)) for path in paths]
    summaries = [
        describe_manifest(chosen, settings.media, options) for _, chosen in inputs if chosen
    ]
    results = _inspect_all(inputs, settings, options, only_rows=manifest is not None)
    others = [(path, find_files_beside(path)) for path in paths]
    if session.as_json:
        output.print_json(_to_document(results, summaries, others))
    else:
        _print_results(results, summaries, [other for _, files in others for other in files])


def _choose_manifest(path: Path, manifest: Path | None, no_manifest: bool) -> Path | None:
    """Choose the manifest for a path.

    Raises:
        BadRequestError: The manifest does not exist, PATH is not a folder or has several, or both
            options were given.
    """
    from pinpoint.ingest.inspect import used_manifest

    if manifest is None:
        return None if no_manifest and path.is_dir() else used_manifest(path)
    if no_manifest:
        raise BadRequestError("--manifest and --no-manifest cannot be combined")
    return find_manifest(path, manifest)


def _inspect_all(
    inputs: list[tuple[Path, Path | None]],
    settings: Settings,
    options: ReadOptions,
    *,
    only_rows: bool,
) -> list[tuple[Path, Inspected]]:
    from pinpoint.ingest import inspect as inspection
    from pinpoint.media.decoding.decoder import ChildDecoder

    results: list[tuple[Path, Inspected]] = []
    threads = min(2, os.cpu_count() or 1)
    decoder = ChildDecoder(settings.media, children=threads)
    bar, task = output.open_progress_bar("validating")
    try:
        with bar:
            for path, manifest in inputs:
                for result in inspection.inspect_files(
                    path,
                    decoder,
                    settings.media,
                    manifest=manifest,
                    # As in `ingest`: with an explicit manifest only its rows are read.
                    only_rows=only_rows,
                    options=options,
                    threads=threads,
                ):
                    results.append((path, result))
                    bar.update(task, completed=len(results), total=len(results))
    finally:
        decoder.close()
    return results


def _to_document(
    results: list[tuple[Path, Inspected]],
    summaries: list[ManifestSummary],
    others: list[tuple[Path, list[OtherFile]]],
) -> dict[str, Any]:
    accepted = sum(result.capture is not None for _, result in results)
    return {
        "files": [_to_entry(path, result) for path, result in results],
        "accepted": accepted,
        "rejected": len(results) - accepted,
        "manifests": [
            {
                "manifest": result.name,
                "columns": result.understood,
                "attributes": list(result.attributes),
            }
            for result in summaries
        ],
        "other_files": other_files_to_dict([other for _, files in others for other in files]),
    }


def _print_results(
    results: list[tuple[Path, Inspected]],
    summaries: list[ManifestSummary],
    others: list[OtherFile],
) -> None:
    accepted = sum(result.capture is not None for _, result in results)
    output.print_table(
        None,
        (
            *("file", "lat, lon (°)", "position source", "captured (UTC)", "time source"),
            *(">heading °", ">read in s", "rejected"),
        ),
        [_table_row(result) for _, result in results],
    )
    for _, result in results:
        for warning in result.capture.warnings if result.capture else ():
            output.print_line(f"{result.file}: {warning}")
    rejections = [
        (result.file, result.rejected.error_message) for _, result in results if result.rejected
    ]
    for file, message in rejections[:_MAX_DETAILS_SHOWN]:
        output.print_line(f"{file}: {message}")
    if len(rejections) > _MAX_DETAILS_SHOWN:
        output.print_line(
            f"{len(rejections) - _MAX_DETAILS_SHOWN} more rejections: --json gives their details"
        )
    output.print_line(
        f"{len(results)} files: {accepted} accepted, {len(results) - accepted} rejected"
    )
    for summary in summaries:
        output.print_line(f"used the manifest {summary.name}")
    note_lines(line for summary in summaries for line in describe_columns(summary))
    note_lines(describe_others(others))


def _to_entry(path: Path, result: Inspected) -> dict[str, Any]:
    capture, rejected = result.capture, result.rejected
    entry: dict[str, Any] = {
        "root": str(path),
        "file": result.file,
        "accepted": capture is not None,
        "seconds": round(result.seconds, 3),
    }
    if rejected is not None:
        entry |= {
            "error_stage": rejected.error_stage,
            "error_code": rejected.error_code,
            "error_message": rejected.error_message,
        }
    if capture is not None:
        entry |= output.to_json_value(capture)
        point = entry.pop("point")
        entry |= {"lat": point.lat, "lon": point.lon}
    return entry


def _table_row(result: Inspected) -> tuple[object, ...]:
    capture, rejected = result.capture, result.rejected
    seconds = f"{result.seconds:.2f}"
    if capture is None:
        error = "" if rejected is None else f"{rejected.error_stage}: {rejected.error_code}"
        return (result.file, None, None, None, None, None, seconds, error)
    heading = None if capture.heading_deg is None else f"{capture.heading_deg:.0f}"
    position = f"{capture.point.lat:.5f}, {capture.point.lon:.5f}"
    time_source = capture.time_source
    if capture.attributes.get("time_zone") == "assumed_utc":
        time_source = f"{time_source}, no zone"
    sources = (capture.position_source, capture.captured_at, time_source)
    return (result.file, position, *sources, heading, seconds, "")
