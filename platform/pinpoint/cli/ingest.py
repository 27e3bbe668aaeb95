"""`pinpoint ingest`: a folder or a manifest becomes a batch, with a progress bar."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.batches import show_counts
from pinpoint.cli.exits import FAILED_ITEMS
from pinpoint.cli.session import Json, Key, Org, Server, Session
from pinpoint.cli.values import ORIGINALS, check_choice, check_exists, check_kinds
from pinpoint.cli.waiting import count_settled, name_continuation
from pinpoint.client.folders import with_tracks
from pinpoint.errors import BadRequest, NotFound
from pinpoint.records import Batch

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 1.0


def add_to(app: typer.Typer) -> None:
    """Hang this command into the tree."""
    app.command()(ingest)


def ingest(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="A folder or a manifest; with --server also a single file.")
    ],
    source: Annotated[str, typer.Option("--source", help="Name of the source.")],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="`photo` or `street`; makes the source if it is new."),
    ] = None,
    originals: Annotated[
        str | None,
        typer.Option("--originals", help="`reference`, `copy` or `rendition`, for a new source."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="CSV or GeoJSON whose rows name files below PATH."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when every file has its verdict.")
    ] = False,
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Ingest a folder: registered in place on the embedded stack, uploaded to a server."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_exists(path)
    check_kinds("--kind", [kind])
    check_choice("--originals", originals, ORIGINALS)
    if session.server is not None or session.key is not None:
        batch = _upload(session, path, source, kind, originals, manifest, wait)
    else:
        batch = _register(session, path, source, kind, originals, manifest, wait)
    if session.as_json:
        output.show_json(batch)
    else:
        show_counts([batch])
        _show_not_sent(batch["not_sent"])
        if batch["repeated"]:
            output.note(f"{batch['repeated']} requests were sent again: the server was away")
    if batch["failed"]:
        raise typer.Exit(FAILED_ITEMS)


def _show_not_sent(refused: list[dict[str, str]]) -> None:
    """Rows and files that never left this machine; they are in no batch."""
    if refused:
        output.say(f"{len(refused)} more rejected here and not sent:")
        names = ("file", "stage", "reason", "detail")
        output.table(None, names, [[one[name] for name in names] for one in refused])


def _upload(
    session: Session,
    path: Path,
    source: str,
    kind: str | None,
    originals: str | None,
    manifest: Path | None,
    wait: bool,
) -> dict[str, Any]:
    listed = None if manifest is None else _manifest(path, manifest)
    tracked = 0 if listed else with_tracks(path)
    if tracked:
        output.note(
            f"GPX tracks are not sent: {tracked} photos lie beside one, and those without a "
            "position of their own will be rejected (no_position); ingest them on the machine of "
            "the stack, or give their positions in a manifest"
        )
    with session.client() as client:
        try:
            client.source(source)
        except NotFound:
            if kind is None:
                raise
            client.add_source(source, kind, originals=originals or "copy")
        bar, task = output.progress("ingest")
        seen: list[dict[str, Any]] = []

        def show_progress(batch: dict[str, Any]) -> None:
            seen[:] = [batch]
            bar.update(task, completed=count_settled(batch), total=max(batch["items"], 1))

        with name_continuation(lambda: next(iter(seen), None)), bar:
            return client.ingest_folder(
                path, source=source, manifest=listed, wait=wait, on_progress=show_progress
            )


def _register(
    session: Session,
    path: Path,
    source: str,
    kind: str | None,
    originals: str | None,
    manifest: Path | None,
    wait: bool,
) -> dict[str, Any]:
    from pinpoint.ingest import intake

    what = path if manifest is None else _manifest(path, manifest)
    with session.services() as services:
        organization_id = session.own(services).id
        batch = intake.register_folder(
            what,
            source=source,
            kind=kind,
            originals=ORIGINALS[originals or "reference"],
            organization_id=organization_id,
            database=services.database,
            settings=services.settings,
        )
        if wait:
            with name_continuation(lambda: as_dict(batch)):
                batch = _follow(services, organization_id, batch)
    return as_dict(batch)


def _manifest(folder: Path, manifest: Path) -> Path:
    """The manifest, which must lie in the folder that its rows are relative to."""
    found = manifest if manifest.exists() else folder / manifest
    if found.resolve().parent != folder.resolve():
        raise BadRequest(
            f"a manifest's rows name files below its own folder: put {manifest} into {folder}, "
            "or give its folder as PATH"
        )
    return found


def _follow(services: Services, organization_id: Any, batch: Batch) -> Batch:
    """Show a bar until every file has its verdict."""
    bar, task = output.progress("ingest")
    pause_s = _FIRST_WAIT_S
    with bar:
        while True:
            with services.database.read(organization_id) as catalogue:
                batch = catalogue.batch(batch.id)
            bar.update(task, completed=batch.settled, total=max(batch.items, 1))
            if batch.complete:
                return batch
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, _LONGEST_WAIT_S)


def as_dict(batch: Batch) -> dict[str, Any]:
    """A batch in the form that an upload gives; here nothing has to be sent."""
    fields: dict[str, Any] = dataclasses.asdict(batch)
    as_text: Callable[[Any], Any] = output.wire
    fields = {
        name: value if isinstance(value, int | str | None) else as_text(value)
        for name, value in fields.items()
    }
    return {**fields, "complete": batch.complete, "not_sent": [], "repeated": 0}
