"""`pinpoint index`: the index that is derived from PostgreSQL. Only on the machine of the stack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.session import Json, Session
from pinpoint.errors import IndexUnavailable
from pinpoint.jobs import REBUILD

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

app = typer.Typer(help="The index: look, rebuild, compare.", no_args_is_help=True)

_PAUSE_S: Final = 0.2


@app.command("info")
def info(context: typer.Context, as_json: Json = False) -> None:
    """Say what the index holds and which build it is."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        found = services.index.info()
    if session.as_json:
        output.show_json(found)
        return
    rows = [
        ("engine", found.engine),
        ("ready", found.ready),
        ("contract", found.contract),
        ("build", found.build),
        ("points", found.points),
        ("indexed vectors", found.indexed_vectors),
        ("loading", found.loading),
    ]
    output.table(None, ("index", "value"), rows)


@app.command("rebuild")
def rebuild(
    context: typer.Context,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the new index answers.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Build the next index from PostgreSQL, without an encoder, and swap it in."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        begin = getattr(services.index, "rebuild", None)
        if begin is None:
            # A Qdrant server optimises by itself; its next build is a job for a worker.
            services.jobs.send(REBUILD)
            done: Any = {"state": "sent"}
        else:
            begin()
            done = _wait_for(services) if wait else services.index.progress()
    if session.as_json:
        output.show_json(done)
    else:
        output.say(_line(done))


@app.command("reconcile")
def reconcile(context: typer.Context, as_json: Json = False) -> None:
    """Compare PostgreSQL with the index, report the drift and mend it."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        drift = _compare(services)
    if session.as_json:
        output.show_json(drift)
        return
    output.say(
        f"{drift.checked} rows checked: {drift.missing} missing, {drift.stale} stale, "
        f"{drift.extra} too many in the index; {drift.mended} mended"
    )


def _wait_for(services: Services) -> Any:
    """Follow the owner's rebuild to its end.

    Raises:
        IndexUnavailable: The rebuild failed; the index that was there goes on.
    """
    shown = None
    while True:
        now = services.index.progress()
        line = _line(now)
        if line != shown:
            output.note(line)
            shown = line
        if now.state == "failed":
            raise IndexUnavailable(f"the rebuild failed, the old index goes on: {now.error}")
        if now.state in ("done", "idle"):
            return now
        time.sleep(_PAUSE_S)


def _line(now: Any) -> str:
    if isinstance(now, dict):
        return "sent to a worker"
    return f"rebuild {now.state}: {now.points} points, build {now.build or '-'}"
