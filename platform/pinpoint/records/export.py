"""Requests for exports of gallery rows, and the rows of one export as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from pinpoint.records.image_filter import ImageFilter

if TYPE_CHECKING:
    import pyarrow as pa

EmbeddingType = Literal["float16", "float32"]
EMBEDDING_TYPES: Final[tuple[EmbeddingType, ...]] = get_args(EmbeddingType)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingColumn:
    """The embedding of each image as a column of an export."""

    contract: str
    """Digest of the contract that computed the embeddings."""
    channel: str
    """Named vector: `image`, `gps`, `raw`."""
    type: EmbeddingType = "float16"
    """Type of the numbers; the stored ones are float16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Rows and columns of one export."""

    image_filter: ImageFilter
    has_paths: bool
    """Whether `uri` may be the path of a file on the server."""
    embedding: EmbeddingColumn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRows:
    """Rows of one export: one state of the gallery, ordered by H3 cell (resolution 9) and id."""

    schema: pa.Schema
    """Columns of each batch. `lat` and `lon` are degrees in WGS84, `attributes` is JSON text, times
    are microseconds in UTC."""
    num_rows: int
    """Number of rows of all batches together."""
    batches: Iterator[pa.RecordBatch]
    """The rows; they are read while the iterator advances, and only once."""
