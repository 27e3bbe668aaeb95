"""`pinpoint batches`: sets of files that are ingested together."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pinpoint.cli import ids, output
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.records import FINAL_STATUSES

app = typer.Typer(
    help="Follow batches: sets of files that are ingested together.", no_args_is_help=True
)

BatchIdArgument = Annotated[
    str, typer.Argument(help="Id of the batch, or at least its first six hex digits.")
]


@app.command("list")
def list_batches(
    context: typer.Context,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=500, help="Number of batches per page.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List batches, newest first."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        page = client.batches(page_size, cursor=cursor)
    if session.as_json:
        output.print_json(page)
        return
    show_counts(page["batches"])
    if page["next"] is not None:
        output.warn_of_next_page(page["next"])


@app.command("show")
def show(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    batch_id: BatchIdArgument,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Show only files with this status, such as `rejected`."),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Number of files per page.")
    ] = 200,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a batch and its files, with the error of each rejected or failed file."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        batch_id = ids.find_batch(client, batch_id)
        batch = client.batch(batch_id)
        page = client.items(batch_id, status=status, cursor=cursor, limit=page_size)
    if session.as_json:
        output.print_json({"batch": batch, **page})
        return
    show_counts([batch])
    show_errors(batch)
    rows = []
    for item in page["items"]:
        rows.append(
            [
                *(item[name] for name in ("position", "file", "status")),
                output.format_place(item["nearest_place"]),
                *(
                    item[name]
                    for name in ("error_stage", "error_code", "error_message", "image_ids")
                ),
            ]
        )
        rows += [["", "", "", "", "", "note", note, ""] for note in item["notes"]]
    columns = (
        *(">position", "file", "status", "nearest place"),
        *("stage", "error", "message", "images"),
    )
    output.print_table(None, columns, rows)
    if page["next"] is not None:
        output.warn_of_next_page(page["next"])


@app.command("retry")
def retry(
    context: typer.Context,
    batch_id: BatchIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Process the failed and canceled files of a batch once more."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        batch_id = ids.find_batch(client, batch_id)
        retried = client.retry(batch_id)
        batch = client.batch(batch_id)
    if session.as_json:
        output.print_json({"retried": retried, "batch": batch})
    else:
        output.print_line(f"{retried} files will be processed again")


@app.command("cancel")
def cancel(
    context: typer.Context,
    batch_id: BatchIdArgument,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel the files of a batch that no worker has started; files in progress are finished."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        result = client.cancel(ids.find_batch(client, batch_id))
    if session.as_json:
        output.print_json(result)
        return
    in_progress = result["batch"]["received"] + result["batch"]["stored"]
    suffix = f"; {in_progress} are in progress and will be finished" if in_progress else ""
    output.print_line(f"{result['canceled']} files canceled{suffix}")


def show_counts(batches: list[dict[str, Any]]) -> None:
    """Print one line with counts for each batch."""
    rows = [
        [
            batch["id"],
            batch["source"],
            str(batch["created_at"])[:16].replace("T", " "),
            batch["items"],
            describe_counts(batch),
        ]
        for batch in batches
    ]
    output.print_table(None, ("id", "source", "created (UTC)", ">files", "status"), rows)


def show_errors(batch: dict[str, Any], *, how_to_list: bool = False) -> None:
    """Print how many files ended without an image, by error code."""
    if not batch.get("error_counts"):
        return
    counts = ", ".join(f"{count} {code}" for code, count in batch["error_counts"].items())
    output.print_line(f"not ingested: {counts}")
    if how_to_list:
        for state in ("rejected", "failed"):
            if batch[state]:
                output.print_line(
                    f"list them: pinpoint batches show {batch['id']} --status {state}"
                )


def describe_counts(batch: dict[str, Any]) -> str:
    """Describe the status of a batch's files, for example `open: 3 waiting, 61 indexed`."""
    counts = {"waiting": batch["received"] + batch["stored"]}
    counts |= {name: batch[name] for name in FINAL_STATUSES}
    text = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no files"
    return text if batch["state"] == "closed" else f"open: {text}"
