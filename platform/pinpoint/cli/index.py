"""`pinpoint index`: the vector index, derived from PostgreSQL, on the machine of the stack."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.batch_waiting import explain_interrupt
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import ConfigurationError, ConflictError, IndexUnavailableError

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.store.vectors.rpc.client import RebuildProgress, RemoteIndex

app = typer.Typer(
    help="Show and rebuild the vector index, and compare it with PostgreSQL.", no_args_is_help=True
)

_PAUSE_S: Final = 0.2
_ON_WAIT_INTERVAL_S: Final = 2.0
"""Pause between two calls of `while_waiting`, because the calls and the build load PostgreSQL."""


@app.command("info")
def info(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show the state, build and contents of the index."""
    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        index_info = services.index.info()
    if session.as_json:
        output.print_json(index_info)
        return
    rows = [
        ("engine", index_info.engine),
        ("ready", index_info.ready),
        ("contract", index_info.contract),
        ("build", index_info.build),
        ("points", index_info.points),
        ("indexed vectors", index_info.indexed_vectors),
        ("loading", index_info.loading),
        ("installation", index_info.installation),
        ("shards", index_info.shards),
        ("replicas", index_info.replicas),
    ]
    output.print_table(None, ("index", "value"), rows)


@app.command("rebuild")
def rebuild(
    context: typer.Context,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the new index is active.")
    ] = True,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Rebuild even if the index belongs to another installation, which loses it.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a new index from PostgreSQL, without encoding images again, and switch to it."""
    session = Session.of(context, as_json=as_json)
    resumption = ["pinpoint: stopped waiting; the rebuild continues; see: pinpoint index info"]
    with session.services() as services, explain_interrupt(lambda: resumption):
        progress = rebuild_index(services, wait=wait, take_over=take_over)
    if session.as_json:
        output.print_json(progress)
    else:
        output.print_line(_progress_line(progress))


@app.command("reconcile")
def reconcile(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report differences without repairing them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare PostgreSQL with the index; report and repair the drift."""
    from pinpoint.ingest.reconcile import reconcile_index_rows as compare

    session = Session.of(context, as_json=as_json)
    with session.services() as services:
        if services.repository is None:
            raise ConfigurationError("the API's services cannot compare; use those of the operator")
        drift = compare(
            repository=services.repository,
            index=services.index,
            queue=None if dry_run else services.tasks,
            contract=services.encoder.contract.digest,
            chunk=services.settings.worker.task_batch_size,
        )
        services.maintenance_stats.record_drift(drift)
    if session.as_json:
        output.print_json(drift)
        return
    output.print_line(
        f"{drift.checked} rows checked: {drift.missing} missing, {drift.stale} stale, "
        f"{drift.extra} extra in the index; {drift.repaired} repaired"
    )


def rebuild_index(
    services: Services,
    *,
    wait: bool = True,
    contract: str | None = None,
    while_waiting: Callable[[], None] | None = None,
    take_over: bool = False,
) -> RebuildProgress:
    """Build a new index from PostgreSQL and switch to it.

    Args:
        services: Services of the operator.
        wait: Return when the build is done; otherwise when it has started.
        contract: Digest of the contract to serve; None keeps the current one.
        while_waiting: Called repeatedly while the index owner builds.
        take_over: Rebuild even if the index belongs to another installation.

    Raises:
        IndexUnavailableError: The rebuild failed; the old index stays active.
        ConfigurationError: The index belongs to another installation.
    """
    from pinpoint.bootstrap import open_point_source
    from pinpoint.store.vectors.qdrant import QdrantIndex
    from pinpoint.store.vectors.rpc.client import RebuildProgress, RemoteIndex

    if isinstance(services.index, RemoteIndex):
        _start_rebuild(services.index, contract, take_over=take_over)
        if not wait:
            return services.index.progress()
        return _wait_for_rebuild(services.index, while_waiting)
    if isinstance(services.index, QdrantIndex) and services.rebuild_source is not None:
        source = services.rebuild_source if contract is None else open_point_source(contract)
        services.index.rebuild(source, take_over=take_over)
        info = services.index.info()
        return RebuildProgress(
            state="done", build=info.build, contract=info.contract, points=info.points, error=None
        )
    raise ConfigurationError("this command cannot rebuild this index")


def _start_rebuild(index: RemoteIndex, contract: str | None, *, take_over: bool) -> None:
    """Start a rebuild; wait for a running rebuild for another contract."""
    while True:
        try:
            index.rebuild(contract, take_over=take_over)
        except ConflictError as error:
            output.warn(error.message)
            time.sleep(10 * _PAUSE_S)
        else:
            return


def _wait_for_rebuild(
    index: RemoteIndex, while_waiting: Callable[[], None] | None = None
) -> RebuildProgress:
    """Wait for the owner's rebuild to end and print its progress.

    Raises:
        IndexUnavailableError: The rebuild failed; the old index stays active.
    """
    last_line, last_call = None, time.monotonic()
    while True:
        progress = index.progress()
        line = _progress_line(progress)
        if line != last_line:
            output.warn(line)
            last_line = line
        if progress.state == "failed":
            raise IndexUnavailableError(
                f"the rebuild failed, the old index stays active: {progress.error}"
            )
        if progress.state == "idle":
            raise IndexUnavailableError(
                "the index owner restarted during the rebuild; run it again"
            )
        if progress.state == "done":
            return progress
        if while_waiting is not None and time.monotonic() - last_call >= _ON_WAIT_INTERVAL_S:
            while_waiting()
            last_call = time.monotonic()
        time.sleep(_PAUSE_S)


def _progress_line(progress: RebuildProgress) -> str:
    return f"rebuild {progress.state}: {progress.points} points, build {progress.build or '–'}"
