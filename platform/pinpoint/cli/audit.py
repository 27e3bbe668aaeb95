"""`pinpoint audit`: who asked, exported or changed what."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.records.audit import AUDIT_OPERATIONS

app = typer.Typer(help="Read the audit log of an organization.", no_args_is_help=True)


@app.command("list")
def list_audit_rows(  # noqa: PLR0913 - Typer makes one parameter of every option
    context: typer.Context,
    operation: Annotated[
        str | None,
        typer.Option("--operation", help=f"Operation: {', '.join(AUDIT_OPERATIONS)}."),
    ] = None,
    key_id: Annotated[
        str | None,
        typer.Option("--key-id", help="Id of the API key, from `pinpoint keys list`."),
    ] = None,
    datetime: Annotated[
        str | None,
        typer.Option(
            "--datetime", help="Time interval START/END; `..` is an open end; RFC 3339 times."
        ),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Number of rows per page.")
    ] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the operations on an organization, newest first; never photos."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        page = client.audit_rows(
            operation=operation, key_id=key_id, datetime=datetime, limit=page_size, cursor=cursor
        )
    if session.as_json:
        output.print_json(page)
        return
    _print_rows(page["rows"])
    if page["next"] is not None:
        (next_cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]
        output.warn(f"more: the same command with --cursor {next_cursor}")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    cells = [
        (
            row["created_at"][:19].replace("T", " "),
            row["key_name"] or "operator",
            row["operation"],
            row["status"],
            row["num_rows"],
            row["target_id"],
            row["photo_sha256"] and row["photo_sha256"][:12],
            row["bundle"],
            row["request_id"],
        )
        for row in rows
    ]
    columns = ("time (UTC)", "key", "operation", "status", ">rows", "target id")
    more_columns = ("photo SHA-256", "bundle", "request id")
    output.print_table(None, (*columns, *more_columns), cells)
