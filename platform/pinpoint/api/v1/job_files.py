"""Files of a job's results and errors: NDJSON and GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final
from uuid import UUID

import pyarrow as pa

from pinpoint.api.export_stream import ExportResponse, ExportSlots, ExportStream
from pinpoint.bootstrap import Services
from pinpoint.media.exports.formats import EXPORT_FORMATS
from pinpoint.media.exports.geoparquet import stream_geoparquet
from pinpoint.records import Caller, ExportRows
from pinpoint.records.jobs import JobItemState, JobResult

PARQUET: Final = EXPORT_FORMATS["parquet"].media_type
_FIELDS: Final = ("position", "line_number", "custom_id", "file", "url")
_SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("line_number", pa.int64()),
        *(pa.field(name, pa.string()) for name in ("custom_id", "file", "url")),
        pa.field("state", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("error_code", "error_message", "answer")),
        *(pa.field(name, pa.float64()) for name in ("lat", "lon")),
    ]
)


def respond_with_results(
    job_id: UUID,
    states: Sequence[JobItemState],
    media_type: str,
    caller: Caller,
    services: Services,
    slots: ExportSlots,
) -> ExportResponse:
    """Stream the ended items of a job that have one of these states.

    Args:
        job_id: The job.
        states: States of the items.
        media_type: `NDJSON`, or `PARQUET` for the items with a position.
        caller: Caller with the organization of the job.
        services: Services.
        slots: Slots of exports.
    """
    settings = services.settings.export
    is_parquet = media_type == PARQUET

    def write_parts(rows: ExportRows, _: ExitStack) -> tuple[Generator[bytes], int | None]:
        return (stream_geoparquet(rows, "1.1") if is_parquet else _write_lines(rows)), None

    export = ExportStream(
        slots.occupy(caller.organization_id, settings.max_running),
        lambda: _open_rows(job_id, states, caller.organization_id, services, with_point=is_parquet),
        write_parts,
        # Each photo has its row in the audit log since it was located.
        lambda _: None,
    )
    file_name = f"{'results' if 'completed' in states else 'errors'}"
    suffix = "parquet" if is_parquet else "ndjson"
    return ExportResponse(export, settings.timeout_s, media_type, f"{file_name}.{suffix}")


@contextmanager
def _open_rows(
    job_id: UUID,
    states: Sequence[JobItemState],
    organization_id: UUID,
    services: Services,
    *,
    with_point: bool,
) -> Iterator[ExportRows]:
    opened: AbstractContextManager[Any] = services.jobs.results(
        organization_id,
        job_id,
        states,
        with_point=with_point,
        timeout_s=services.settings.export.timeout_s,
    )
    with opened as (num_items, pages):
        yield ExportRows(
            schema=_SCHEMA, num_rows=num_items, batches=(_to_batch(page) for page in pages)
        )


def _to_batch(results: Sequence[JobResult]) -> pa.RecordBatch:
    columns = {
        field.name: [
            getattr(result, "result" if field.name == "answer" else field.name)
            for result in results
        ]
        for field in _SCHEMA
    }
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _write_lines(rows: ExportRows) -> Generator[bytes]:
    """One JSON object for each item; `answer` is the stored text, byte for byte."""
    for batch in rows.batches:
        lines = []
        for row in batch.to_pylist():
            line: dict[str, Any] = {name: row[name] for name in _FIELDS}
            if row["answer"] is None:
                line["state"] = row["state"]
                line["error"] = {"code": row["error_code"], "message": row["error_message"]}
                lines.append(json.dumps(line, ensure_ascii=False))
            else:
                head = json.dumps(line, ensure_ascii=False)[:-1]
                lines.append(f'{head}, "answer": {row["answer"]}}}')
        yield "".join(f"{line}\n" for line in lines).encode()
