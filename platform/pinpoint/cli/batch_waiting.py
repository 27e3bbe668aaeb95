"""`pinpoint batches wait`, and the message after Ctrl-C in commands that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.batches import BatchIdArgument, show_counts
from pinpoint.cli.exit_codes import FAILED_ITEMS, INTERRUPTED
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session

app = typer.Typer()


@app.command()
def wait(
    context: typer.Context,
    batch_id: BatchIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until every file of a batch is processed; Ctrl-C stops only the waiting."""
    from pinpoint_client.retry import RetryPolicy
    from pinpoint_client.uploads import wait_until_processed

    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        batch = client.batch(ids.find_batch(client, batch_id))
        if batch["state"] != "closed":
            output.warn(f"batch {batch['id']} is still open; more files may be added to it")
        bar, task = output.open_progress_bar("batch")

        def show_progress(current: dict[str, Any]) -> None:
            bar.update(task, completed=count_processed(current), total=max(current["items"], 1))

        with explain_continuation(lambda: batch), bar:
            batch = client.run_flow(wait_until_processed(batch, show_progress, RetryPolicy()))
    if session.as_json:
        output.print_json(batch)
    else:
        show_counts([batch])
    if batch["failed"]:
        raise typer.Exit(FAILED_ITEMS)


@contextmanager
def explain_continuation(last_seen: Callable[[], dict[str, Any] | None]) -> Iterator[None]:
    """On Ctrl-C print the id of the batch, which continues, and the commands to follow it.

    Args:
        last_seen: Returns the last known state of the batch; None if there is no batch yet.

    Raises:
        typer.Exit: On Ctrl-C, with the exit code of an interrupted command.
    """

    def explain() -> list[str]:
        batch = last_seen()
        if batch is None:
            return ["pinpoint: interrupted before a batch was created; run the command again"]
        return describe_continuation(batch)

    with explain_interrupt(explain):
        yield


@contextmanager
def explain_interrupt(explain: Callable[[], list[str]]) -> Iterator[None]:
    """On Ctrl-C print how to continue, and exit with the exit code of an interrupted command.

    Args:
        explain: Returns the lines to print; called after the interrupt.

    Raises:
        typer.Exit: On Ctrl-C, after the lines.
    """
    try:
        yield
    except KeyboardInterrupt:
        for line in explain():
            output.warn(line)
        raise typer.Exit(INTERRUPTED) from None


def describe_continuation(batch: dict[str, Any]) -> list[str]:
    """Describe the state of a batch after an interrupt, and the commands to continue."""
    batch_id, processed, files = batch["id"], count_processed(batch), batch["items"]
    if batch["state"] != "closed":
        head = (
            f"pinpoint: interrupted while sending batch {batch_id}; {files} files were sent. Run "
            "the same command again to send the rest; files that were sent are not stored twice"
        )
    else:
        head = (
            f"pinpoint: stopped waiting; batch {batch_id} continues by itself ({processed} of "
            f"{files} files are processed)"
        )
    return [
        head,
        f"  wait again:  pinpoint batches wait {batch_id}",
        f"  show status: pinpoint batches show {batch_id}",
    ]


def count_processed(batch: dict[str, Any]) -> int:
    """Count the processed files of a batch."""
    return int(batch["items"] - batch["received"] - batch["stored"])
