"""`pinpoint train status` and `train resume`: training runs of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pinpoint import tasks
from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, Session
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.training.core.configs import EmbedderConfig
    from pinpoint.training.core.runs import Run

RunIdArgument = Annotated[UUID, typer.Argument(metavar="RUN_ID", help="Id of the run.")]


app = typer.Typer()


@app.command()
def status(
    context: typer.Context,
    run_id: Annotated[
        UUID | None,
        typer.Argument(metavar="[RUN_ID]", help="Id of a run; the default is all runs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the training runs of workers and their progress."""
    from pinpoint.training.core.runs import all_runs, find_run

    session, home = Session.of(context, as_json=as_json), load_settings().services.home
    if run_id is not None:
        run = find_run(home, run_id)
        if session.as_json:
            output.print_json(run)
        else:
            _print_runs([run])
            if run.error_message:
                output.print_line(f"{run.error_code}: {run.error_message}")
        return
    runs = all_runs(home)
    if session.as_json:
        output.print_json({"runs": runs})
    else:
        _print_runs(runs)


@app.command()
def resume(context: typer.Context, run_id: RunIdArgument, as_json: JsonOption = False) -> None:
    """Resume a failed or stopped training run from its last checkpoint."""
    from pinpoint.stack.training_worker import start_training_worker
    from pinpoint.training.core.runs import requeue

    session, settings = Session.of(context, as_json=as_json), load_settings()
    start_training_worker(settings)
    run = requeue(settings.services.home, run_id)
    _send_task(session, run)
    _print_run(session, run)


def send_run(session: Session, settings: Settings, config: EmbedderConfig) -> None:
    """Create a run and send it to a worker."""
    from pinpoint.stack.training_worker import start_training_worker
    from pinpoint.training.core.runs import open_run

    start_training_worker(settings)
    run = open_run(settings.services.home, config)
    _send_task(session, run)
    _print_run(session, run)


def _send_task(session: Session, run: Run) -> None:
    with session.services() as services:
        services.tasks.send(tasks.TRAIN_EMBEDDER, [UUID(run.id)])


def _print_run(session: Session, run: Run) -> None:
    if session.as_json:
        output.print_json(run)
    else:
        output.print_line(
            f"training run {run.id} is {run.state}; see: pinpoint train status {run.id}"
        )


def _print_runs(runs: list[Run]) -> None:
    output.print_table(
        None,
        ("run", "bundle", "state", "stage", ">done", ">of", ">ETA s", "reason", "since (UTC)"),
        [_table_row(run) for run in runs],
    )


def _table_row(run: Run) -> tuple[object, ...]:
    eta_s = run.eta_s if run.state == "running" else None
    progress = (run.state, run.stage, run.completed, run.total, eta_s)
    return (run.id, run.name, *progress, run.error_code, run.updated_at)
