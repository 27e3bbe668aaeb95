"""Waiting for a batch: `pinpoint batches wait`, and what Ctrl-C says while a command waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from pinpoint.cli import output
from pinpoint.cli.batches import BatchId, show_counts
from pinpoint.cli.exits import FAILED_ITEMS, INTERRUPTED
from pinpoint.cli.session import Json, Key, Org, Server, Session


def add_to(batches: typer.Typer) -> None:
    """Register this command."""
    batches.command("wait")(wait)


def wait(
    context: typer.Context,
    batch_id: BatchId,
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Wait until every file of a batch has its verdict; Ctrl-C stops the waiting only."""
    from pinpoint.client.folders import settle
    from pinpoint.client.patience import Patience

    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        batch = client.batch(batch_id)
        if batch["state"] != "closed":
            output.note(f"batch {batch_id} is still open: more files may be sent to it")
        bar, task = output.progress("batch")

        def show_progress(current: dict[str, Any]) -> None:
            bar.update(task, completed=count_settled(current), total=max(current["items"], 1))

        with name_continuation(lambda: batch), bar:
            batch = settle(client, batch, show_progress, Patience())
    if session.as_json:
        output.show_json(batch)
    else:
        show_counts([batch])
    if batch["failed"]:
        raise typer.Exit(FAILED_ITEMS)


@contextmanager
def name_continuation(last_seen: Callable[[], dict[str, Any] | None]) -> Iterator[None]:
    """On Ctrl-C say which batch goes on by itself, and how to come back to it.

    Args:
        last_seen: The batch as it was last seen; None while there is none.

    Raises:
        typer.Exit: With the exit code of an interrupted command.
    """

    def explain() -> list[str]:
        batch = last_seen()
        if batch is None:
            return ["pinpoint: interrupted before a batch was made; run the command again"]
        return describe_continuation(batch)

    with explain_interrupt(explain):
        yield


@contextmanager
def explain_interrupt(explain: Callable[[], list[str]]) -> Iterator[None]:
    """On Ctrl-C print how to go on, and leave with the exit code of an interrupted command.

    Args:
        explain: The lines; called after the interrupt.

    Raises:
        typer.Exit: After the lines.
    """
    try:
        yield
    except KeyboardInterrupt:
        for line in explain():
            output.note(line)
        raise typer.Exit(INTERRUPTED) from None


def describe_continuation(batch: dict[str, Any]) -> list[str]:
    """What happens to a batch whose command was interrupted, and the commands to go on with."""
    batch_id, processed, files = batch["id"], count_settled(batch), batch["items"]
    if batch["state"] != "closed":
        head = (
            f"pinpoint: interrupted while sending batch {batch_id}; {files} files were sent. Run "
            "the same command again to send the rest: what is there already is not taken twice"
        )
    else:
        head = (
            f"pinpoint: stopped waiting; batch {batch_id} goes on by itself ({processed} of {files} "
            "files have their verdict)"
        )
    return [
        head,
        f"  wait again: pinpoint batches wait {batch_id}",
        f"  look:       pinpoint batches show {batch_id}",
    ]


def count_settled(batch: dict[str, Any]) -> int:
    """Files of a batch that have their verdict."""
    return int(batch["items"] - batch["received"] - batch["stored"])
