"""Rows of an export: PostgreSQL writes CSV (`COPY`), which Arrow parses in batches.

Python touches no single value: a row costs one read from the connection. With one Python object for
each value, an export would need most of a CPU for the interpreter alone.
"""

from __future__ import annotations

import binascii
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, Final

import numpy as np
import psycopg
import pyarrow as pa
from pyarrow import csv
from sqlalchemy import Connection, Select, Text, and_, case, cast, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from pinpoint.errors import InvalidRequestError
from pinpoint.records import EmbeddingColumn, ExportRequest, ExportRows
from pinpoint.store.db.database import translate_errors
from pinpoint.store.db.tables import embeddings
from pinpoint.store.db.views import visible_images
from pinpoint.store.gallery.image_conditions import image_conditions

EXPORT_BATCH_ROWS: Final = 5_000
"""Maximum rows of a batch."""
MAX_EXPORT_BATCH_BYTES: Final = 16 << 20
"""A batch ends at this size; rows with embeddings are large."""
EMBEDDING: Final = "embedding"

_TIME: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final = {
    "lat": pa.float64(),
    "lon": pa.float64(),
    "captured_at": _TIME,
    "heading_deg": pa.float64(),
    "field_of_view_deg": pa.float64(),
    "altitude_m": pa.float64(),
    "size_bytes": pa.int64(),
    "width_px": pa.int32(),
    "height_px": pa.int32(),
    "version": pa.int32(),
    "created_at": _TIME,
    "updated_at": _TIME,
}
"""Column → its type; all others are text."""


@contextmanager
def open_export(connection: Connection, request: ExportRequest) -> Iterator[ExportRows]:
    """Count the rows of an export and read the first batch; the others are read on demand.

    Args:
        connection: A transaction at the isolation level REPEATABLE READ, so that the number and
            the rows are of one state; it must stay open while the rows are read.
        request: Rows and columns.

    Raises:
        InvalidRequestError: No image has an embedding of this contract and channel.
    """
    conditions = [*image_conditions(visible_images.c, request.image_filter)]
    if not request.image_filter.states:
        # Images that failed are not in the gallery.
        conditions.append(visible_images.c.state != "failed")
    count = select(func.count()).select_from(visible_images).where(*conditions)
    num_rows = connection.execute(count).scalar_one()
    dims = None if request.embedding is None else _read_dims(connection, request.embedding)
    columns = _select_columns(request)
    fields = [pa.field(name, _TYPES.get(name, pa.string())) for name in columns]
    if request.embedding is not None and dims is not None:
        number = pa.float16() if request.embedding.type == "float16" else pa.float32()
        fields[-1] = pa.field(EMBEDDING, pa.list_(number, dims))
    schema = pa.schema(fields)
    # The order of the cells at resolution 9 refines the order at resolution 7, which has an index.
    statement = (
        _join_embeddings(request, columns)
        .where(*conditions)
        .order_by(visible_images.c.cell_r7, visible_images.c.cell_r9, visible_images.c.id)
    )
    # Closed here, so that the statement has ended when the transaction ends.
    with closing(_read_batches(connection, statement, schema)) as batches:
        first = next(batches, None)
        leading = () if first is None else (first,)
        yield ExportRows(schema=schema, num_rows=num_rows, batches=chain(leading, batches))


def _select_columns(request: ExportRequest) -> dict[str, ColumnElement[Any]]:
    """Name → expression of each column; names that a manifest has are those of the manifest."""
    row = visible_images.c
    columns: dict[str, ColumnElement[Any]] = {"id": row.id}
    plain: tuple[str, ...] = (
        "source",
        "source_kind",
        "external_id",
        "cubemap_face",
        "panorama_id",
        "lat",
        "lon",
    )
    plain += ("captured_at", "heading_deg", "field_of_view_deg", "altitude_m", "camera", "creator")
    plain += ("sequence", "license", "attribution", "position_source", "time_source")
    columns |= {name: row[name] for name in plain}
    columns["sha256"] = func.encode(row.sha256, "hex")
    columns |= {name: row[name] for name in ("size_bytes", "format", "width_px", "height_px")}
    columns["uri"] = (
        row.uri
        if request.has_paths
        else case(
            (and_(row.uri.not_like("file:%"), row.image_access == "full"), row.uri), else_=None
        )
    )
    # As text: 64-bit integers lose digits in JSON and in many GIS.
    columns["cell_r9"] = func.to_hex(row.cell_r9)
    columns["attributes"] = cast(row.attributes, Text)
    columns |= {name: row[name] for name in ("state", "version", "created_at", "updated_at")}
    if request.embedding is not None:
        columns[EMBEDDING] = func.encode(embeddings.c.vector, "hex")
    return columns


def _join_embeddings(request: ExportRequest, columns: dict[str, ColumnElement[Any]]) -> Select[Any]:
    statement = select(*(column.label(name) for name, column in columns.items()))
    if request.embedding is None:
        return statement.select_from(visible_images)
    is_same = and_(
        embeddings.c.image_id == visible_images.c.id, *_embedding_conditions(request.embedding)
    )
    return statement.select_from(visible_images.outerjoin(embeddings, is_same))


def _embedding_conditions(embedding: EmbeddingColumn) -> tuple[ColumnElement[bool], ...]:
    return (
        embeddings.c.contract == embedding.contract,
        embeddings.c.channel == embedding.channel,
    )


def _read_dims(connection: Connection, embedding: EmbeddingColumn) -> int:
    """Number of dimensions of a channel."""
    statement = (
        select(func.octet_length(embeddings.c.vector))
        .where(*_embedding_conditions(embedding))
        .limit(1)
    )
    size_bytes = connection.execute(statement).scalar()
    if size_bytes is None:
        raise InvalidRequestError(
            f"no image has an embedding of the channel {embedding.channel!r}",
            reason="no_embeddings",
        )
    return int(size_bytes) // 2


def _read_batches(
    connection: Connection, statement: Select[Any], schema: pa.Schema
) -> Generator[pa.RecordBatch]:
    """Run the statement as COPY and parse its CSV.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer, or the time limit ended the statement.
    """
    raw: Any = connection.connection.driver_connection
    query = _quote_statement(connection, raw, statement)
    with translate_errors():
        try:
            with (
                raw.cursor() as cursor,
                cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as copy,
            ):
                for lines in _batch_lines(copy):
                    yield _parse_lines(lines, schema)
        except psycopg.Error as error:
            raise DBAPIError.instance(
                "COPY", None, error, psycopg.Error, dialect=connection.dialect
            ) from error


def _quote_statement(
    connection: Connection, raw: psycopg.Connection[Any], statement: Select[Any]
) -> str:
    """SQL with all parameters quoted by psycopg, because COPY takes no parameters."""
    dialect = connection.dialect
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = dict(compiled.params)
    for name, bind in getattr(compiled, "binds", {}).items():
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if name in values and process is not None:
            values[name] = process(values[name])
    return psycopg.ClientCursor(raw).mogrify(str(compiled), values)


def _batch_lines(lines: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """Group rows of CSV to batches."""
    batch: list[memoryview] = []
    num_bytes = 0
    for line in lines:
        batch.append(line)
        num_bytes += len(line)
        if len(batch) >= EXPORT_BATCH_ROWS or num_bytes >= MAX_EXPORT_BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _parse_lines(lines: list[memoryview], schema: pa.Schema) -> pa.RecordBatch:
    """Parse rows of CSV as PostgreSQL writes them: null is empty, an empty text is quoted."""
    types = {field.name: field.type for field in schema}
    if EMBEDDING in types:
        types[EMBEDDING] = pa.string()
    data = b"".join(lines)
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(column_names=schema.names, block_size=len(data) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    if EMBEDDING not in types:
        return batch
    *columns, digits = batch.columns
    return pa.RecordBatch.from_arrays(
        [*columns, _decode(digits, schema.field(-1).type)], schema=schema
    )


def _decode(digits: pa.Array, kind: pa.FixedSizeListType) -> pa.Array:
    """Vectors `[N, D]` of hex digits of little-endian float16 numbers; null stays null."""
    is_null = np.asarray(digits.is_null())
    vectors = np.zeros((len(digits), kind.list_size), dtype="<f2")
    joined = "".join(digits.drop_null().to_pylist())
    vectors[~is_null] = np.frombuffer(binascii.unhexlify(joined), dtype="<f2").reshape(
        -1, kind.list_size
    )
    numbers = vectors.astype(kind.value_type.to_pandas_dtype(), copy=False)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(numbers.ravel()), kind.list_size, mask=pa.array(is_null)
    )
