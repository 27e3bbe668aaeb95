"""`pinpoint keys limits`, `set-limits` and `clear-limits`, on the machine of the stack."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from pinpoint.cli import output
from pinpoint.cli.keys import KeyIdArgument
from pinpoint.cli.session import JsonOption, Session
from pinpoint.records.key_limits import KeyLimits

app = typer.Typer()

LimitOption = Annotated[int | None, typer.Option(min=0, help="0: no limit.")]


@app.command("limits")
def show_limits(context: typer.Context, key_id: KeyIdArgument, as_json: JsonOption = False) -> None:
    """Print the limits of a key: those that were set for it, and those in force."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        overrides = services.key_limiter.read_overrides(key_id)
        limits = services.key_limiter.find_limits(key_id)
    if session.as_json:
        output.print_json({"overrides": overrides, "limits": limits})
        return
    rows = [
        ("requests per minute", overrides.requests_per_minute, limits.requests_per_minute),
        ("photos in 24 hours", overrides.photos_per_day, limits.photos_per_day),
        ("bytes in 24 hours", overrides.bytes_per_day, limits.bytes_per_day),
        ("concurrent jobs", overrides.concurrent_jobs, limits.concurrent_jobs),
    ]
    output.print_table(None, ("limit", ">set for this key", ">in force (0: no limit)"), rows)


@app.command("set-limits")
def set_limits(
    context: typer.Context,
    key_id: KeyIdArgument,
    requests_per_minute: LimitOption = None,
    photos_per_day: LimitOption = None,
    bytes_per_day: LimitOption = None,
    concurrent_jobs: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the limits of a key; those that are not given are the limits of the settings."""
    limits = KeyLimits(
        requests_per_minute=requests_per_minute,
        photos_per_day=photos_per_day,
        bytes_per_day=bytes_per_day,
        concurrent_jobs=concurrent_jobs,
    )
    _store_limits(context, key_id, limits, as_json=as_json)


@app.command("clear-limits")
def clear_limits(
    context: typer.Context, key_id: KeyIdArgument, as_json: JsonOption = False
) -> None:
    """Give a key the limits of the settings."""
    _store_limits(context, key_id, KeyLimits(), as_json=as_json)


def _store_limits(
    context: typer.Context, key_id: UUID, limits: KeyLimits, *, as_json: bool
) -> None:
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        services.key_limiter.set_overrides(key_id, limits)
    if session.as_json:
        output.print_json({"key_id": key_id, "overrides": limits})
    else:
        output.print_line(f"limits of key {key_id} are in force within 5 s")
