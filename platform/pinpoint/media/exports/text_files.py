"""CSV (RFC 4180) and GeoJSON text sequences (RFC 8142) of exports."""

from __future__ import annotations

from collections.abc import Generator
from json.encoder import encode_basestring as _quote
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pinpoint.media.exports.byte_sink import ByteSink
from pinpoint.records import ExportRows

_RECORD_SEPARATOR: Final = "\x1e"
_RFC_3339: Final = "%Y-%m-%dT%H:%M:%SZ"
"""Arrow writes the fraction of a second, six digits, as a part of `%S`."""


def stream_csv(rows: ExportRows) -> Generator[bytes]:
    """CSV in UTF-8 with a header; null is an empty field, an empty text is `""`."""
    sink = ByteSink()
    schema = pa.schema([pa.field(name, _text_type(field)) for name, field in _fields(rows)])
    with csv.CSVWriter(sink, schema) as writer:
        for batch in rows.batches:
            columns = [_write_times(column) for column in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            yield sink.take()
    yield sink.take()


def stream_geojson_sequence(rows: ExportRows) -> Generator[bytes]:
    """GeoJSON text sequence: each record is a record separator, a Feature and a line feed."""
    names = [name for name in rows.schema.names if name not in ("lat", "lon")]
    members = ",".join(f"{_quote(name)}:%s" for name in names)
    record = (
        f'{_RECORD_SEPARATOR}{{"type":"Feature","geometry":{{"type":"Point","coordinates":'
        f'[%s,%s]}},"properties":{{{members}}}}}\n'
    )
    for batch in rows.batches:
        columns = [_to_json(name, batch.column(name)) for name in ("lon", "lat", *names)]
        yield "".join([record % values for values in zip(*columns, strict=True)]).encode()


def _to_json(name: str, column: Any) -> list[str]:
    """JSON text of each value."""
    column = _write_times(column)
    if pa.types.is_string(column.type) and name != "attributes":
        return ["null" if text is None else _quote(text) for text in column.to_pylist()]
    # Numbers, and attributes, which PostgreSQL wrote as JSON.
    texts: list[str] = pc.fill_null(pc.cast(column, pa.string()), "null").to_pylist()
    return texts


def _fields(rows: ExportRows) -> list[tuple[str, pa.Field]]:
    return [(field.name, field) for field in rows.schema]


def _text_type(field: pa.Field) -> pa.DataType:
    return pa.string() if pa.types.is_timestamp(field.type) else field.type


def _write_times(column: Any) -> Any:
    """Times as text of RFC 3339; other columns unchanged."""
    return pc.strftime(column, format=_RFC_3339) if pa.types.is_timestamp(column.type) else column
