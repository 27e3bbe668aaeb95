"""`pinpoint up | down | status | demo`: the embedded stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinpoint.cli import output
from pinpoint.cli.session import Json, Org, Session
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.stack.lifecycle import StackStatus

NOT_UP = 3
"""Exit code of `status` where the stack is not up, as of `systemctl status`."""


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    for command in (up, down, status, demo):
        app.command()(command)


def up(context: typer.Context, as_json: Json = False) -> None:
    """Start the embedded stack, or leave it as it is if it runs."""
    from pinpoint.stack import lifecycle

    _show(Session.of(context, as_json=as_json), lifecycle.up(_settings(), output.note))


def down(context: typer.Context, as_json: Json = False) -> None:
    """Stop the embedded stack; its data stay."""
    from pinpoint.stack import lifecycle

    _show(Session.of(context, as_json=as_json), lifecycle.down(_settings(), output.note))


def status(context: typer.Context, as_json: Json = False) -> None:
    """Say how the embedded stack is and how the work stands; exit code 0 if it is up, else 3."""
    from pinpoint.cli import standing
    from pinpoint.stack import lifecycle

    session, settings = Session.of(context, as_json=as_json), _settings()
    found = lifecycle.status(settings)
    work = None if found.state == "down" and not found.external else standing.ask(settings)
    sandbox = standing.ask_sandbox(settings)
    if session.as_json:
        work_shown = None if work is None else standing.as_json(work)
        shown = {**output.wire(found), "work": work_shown, "decoder_sandbox": sandbox}
        output.show_json(shown)
    else:
        _show(session, found)
        output.say(f"decoder sandbox: {sandbox['summary']}")
        if work is not None:
            standing.show(work)
    if found.state != "up":
        raise typer.Exit(NOT_UP)


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder of the map.")] = Path("demo-out"),
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Start the stack, ingest a small seeded gallery and locate photos it has not seen."""
    from pinpoint.cli.demo import run_demo

    session = Session.of(context, org=org, as_json=as_json)
    run_demo(_settings(), as_json=session.as_json, organization=session.org, out=out)


def _settings() -> Settings:
    return Settings.from_environment()


def _show(session: Session, found: StackStatus) -> None:
    if session.as_json:
        output.show_json(found)
        return
    output.say(f"{found.state}  {found.api_url or ''}  home {found.home}")
    if found.processes:
        rows = [(one.name, one.state, one.pid, one.restarts) for one in found.processes]
        output.table(None, ("process", "state", ">pid", ">restarts"), rows)
    if found.external:
        output.say(f"not embedded: {', '.join(found.external)}")
