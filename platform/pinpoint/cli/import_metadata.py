"""`pinpoint images import-metadata`: corrects many images from a table, without their files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.exit_codes import FAILED_ITEMS
from pinpoint.cli.metadata_options import ColumnOption, TimeZoneOption, read_options
from pinpoint.cli.option_values import check_exists
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import TooLargeError
from pinpoint.iteration import batched
from pinpoint.records import CORRECTION_STATUSES, Rejected
from pinpoint.settings_file import load_settings
from pinpoint_client.calls import gallery_calls
from pinpoint_client.retry import RetryPolicy, send_call

if TYPE_CHECKING:
    from pinpoint.cli.api_client import ApiClient
    from pinpoint.media.manifests.correction_rows import CorrectionRow

ROWS_PER_REQUEST: Final = 500
"""Rows of one request, which the server applies in one transaction."""
_MAX_SHOWN: Final = 20
_COLUMNS: Final = ("row", "image", "status", "error_code", "error_message")

app = typer.Typer()


@app.command("import-metadata")
def import_metadata(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="Table with a column `id`, or with `external_id` and `source`, such as "
            "`corrections.csv` or `corrections.gpkg`: CSV, GeoJSON, GeoParquet, GeoPackage, "
            "FlatGeobuf or Shapefile."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option("--source", help="Source of the external ids, if no column names it."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="CSV file to write with the status of each row.")
    ] = None,
    column: ColumnOption = None,
    time_zone: TimeZoneOption = None,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set manual metadata of many images from a table; an empty cell changes nothing.

    The columns `lat` and `lon` (or a geometry), `captured_at`, `heading_deg`, `creator`, `sequence`
    and `license` set values; the column `clear` lists fields that lose their manual value. A second
    run changes nothing, so an interrupted import is run again.
    """
    from pinpoint.media.manifests.correction_rows import read_corrections

    session = Session.of(context, server=server, key=key, org=org, as_json=as_json)
    check_exists(file)
    options = read_options(None, time_zone, None, column)
    rows = read_corrections(file, load_settings().media, options, source)
    summary = _Summary()
    with ExitStack() as stack:
        write_row: Callable[[list[Any]], Any] | None = None
        if report is not None:
            stream = stack.enter_context(report.open("w", encoding="utf-8", newline=""))
            write_row = csv.writer(stream).writerow
            write_row(list(_COLUMNS))
        client = stack.enter_context(session.client())
        bar, task = output.open_progress_bar("importing")
        stack.enter_context(bar)
        for result in _send_rows(client, rows):
            summary.add(result)
            bar.update(task, completed=summary.rows, total=summary.rows)
            if write_row is not None:
                write_row([result[name] for name in _COLUMNS])
    _print_summary(session, summary)
    if summary.counts["rejected"]:
        raise typer.Exit(FAILED_ITEMS)


@dataclass(slots=True)
class _Summary:
    """Counts of the rows by status, and the first rejections."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CORRECTION_STATUSES, 0))
    rejections: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    def add(self, result: dict[str, Any]) -> None:
        self.counts[result["status"]] += 1
        if result["status"] == "rejected" and len(self.rejections) < _MAX_SHOWN:
            self.rejections.append(result)


def _send_rows(
    client: ApiClient, rows: Iterator[CorrectionRow | Rejected]
) -> Iterator[dict[str, Any]]:
    """Send the rows in requests; one result for each row, in order."""
    from pinpoint.media.manifests.correction_rows import to_request_row

    patience = RetryPolicy()
    numbered = enumerate(rows, start=1)
    for page in batched(numbered, ROWS_PER_REQUEST):
        sent = [(number, row) for number, row in page if not isinstance(row, Rejected)]
        request = [to_request_row(row) for _, row in sent]
        answers = _send_request(client, patience, request)
        results = {
            number: {"image": row.key, **answer}
            for (number, row), answer in zip(sent, answers, strict=True)
        }
        for number, row in page:
            if isinstance(row, Rejected):
                yield {
                    "row": number,
                    "image": row.file,
                    "status": "rejected",
                    "error_code": row.error_code,
                    "error_message": row.error_message,
                }
            else:
                yield {"row": number, **results[number]}


def _send_request(
    client: ApiClient, patience: RetryPolicy, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Send rows in one request, or in halves if it is too large; one result for each row."""
    if not rows:
        return []
    try:
        call = gallery_calls.update_images(rows).as_json()
        answer = client.run_flow(patience.repeat(lambda: send_call(call)))
    except TooLargeError:
        if len(rows) == 1:
            raise
        middle = len(rows) // 2
        return [
            *_send_request(client, patience, rows[:middle]),
            *_send_request(client, patience, rows[middle:]),
        ]
    return list(answer["results"])


def _print_summary(session: Session, summary: _Summary) -> None:
    if session.as_json:
        rejections = [{name: row[name] for name in _COLUMNS} for row in summary.rejections]
        output.print_json({"rows": summary.rows, **summary.counts, "first_rejected": rejections})
        return
    counts = ", ".join(f"{count} {status}" for status, count in summary.counts.items())
    output.print_line(f"{summary.rows} rows: {counts}")
    if summary.rejections:
        names = ("row", "image", "error_code", "error_message")
        output.print_table(None, names, [[r[n] for n in names] for r in summary.rejections])
    if summary.counts["rejected"] > len(summary.rejections):
        output.warn("more rows were rejected; --report FILE lists all of them")
