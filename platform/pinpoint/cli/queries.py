"""`pinpoint queries`: answers that callers asked to keep."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session

app = typer.Typer(
    help="List and delete kept queries: answers without photos.", no_args_is_help=True
)


@app.command("list")
def list_queries(
    context: typer.Context,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Number of queries per page.")
    ] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Cursor that the previous page printed.")
    ] = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the queries that were kept by `pinpoint locate --keep`, newest first."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        page = client.kept_queries(limit=page_size, cursor=cursor)
    if session.as_json:
        output.print_json(page)
        return
    _print_queries(page["queries"])
    if page["next"] is not None:
        output.warn_of_next_page(page["next"])


def _print_queries(queries: list[dict[str, Any]]) -> None:
    rows = [
        (
            query["created_at"][:16].replace("T", " "),
            query["expires_at"][:16].replace("T", " "),
            f"{query['lat']:.5f}, {query['lon']:.5f}",
            None if query["radius_m"] is None else output.format_length(query["radius_m"]),
            None if query["probability"] is None else f"{query['probability']:.0%}",
            query["calibrated"],
            query["abstention_reason"],
            query["bundle"],
            query["id"],
        )
        for query in queries
    ]
    columns = ("created (UTC)", "expires (UTC)", "lat, lon (°)", ">radius", ">probability")
    more_columns = ("calibrated", "abstention reason", "bundle", "id")
    output.print_table(None, (*columns, *more_columns), rows)


@app.command("delete")
def delete(
    context: typer.Context,
    query_id: Annotated[str, typer.Argument(help="Id of the kept query.")],
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a kept query before it expires."""
    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    with session.client() as client:
        client.delete_kept_query(query_id)
    if session.as_json:
        output.print_json({"deleted": query_id})
    else:
        output.print_line(f"deleted {query_id}")
