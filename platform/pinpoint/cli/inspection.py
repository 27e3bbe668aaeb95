"""`pinpoint inspect`: what would be read, file by file. Needs no stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.session import Json, Session
from pinpoint.cli.values import check_exists
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.ingest.inspect import Inspected


def add_to(app: typer.Typer) -> None:
    """Hang this command into the tree."""
    app.command(name="inspect")(inspect)


def inspect(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files, folders or manifests.")],
    as_json: Json = False,
) -> None:
    """Say of every file what would be read of it, or why it would be rejected."""
    from pinpoint.ingest import inspect as inspection
    from pinpoint.media.decoder import ChildDecoder

    session = Session.of(context, as_json=as_json)
    settings = Settings.from_environment()
    for path in paths:
        check_exists(path)
    found: list[tuple[Path, Inspected]] = []
    threads = min(2, os.cpu_count() or 1)
    decoder = ChildDecoder(settings.media, children=threads)
    bar, task = output.progress("inspecting")
    try:
        with bar:
            for path in paths:
                for one in inspection.inspect(path, decoder, settings.media, threads=threads):
                    found.append((path, one))
                    bar.update(task, completed=len(found), total=len(found))
    finally:
        decoder.close()
    accepted = sum(one.capture is not None for _, one in found)
    if session.as_json:
        files = [_entry(path, one) for path, one in found]
        output.show_json({"files": files, "accepted": accepted, "rejected": len(found) - accepted})
        return
    output.table(
        None,
        ("file", "lat, lon (°)", "from", "taken (UTC)", ">heading °", ">s", "rejected"),
        [_row(one) for _, one in found],
    )
    output.say(f"{len(found)} files: {accepted} accepted, {len(found) - accepted} rejected")


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
        return (one.file, None, None, None, None, seconds, why)
    heading = None if capture.heading_deg is None else f"{capture.heading_deg:.0f}"
    place = f"{capture.point.lat:.5f}, {capture.point.lon:.5f}"
    return (one.file, place, capture.position_source, capture.captured_at, heading, seconds, "")
