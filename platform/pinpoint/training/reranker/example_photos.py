"""Vectors of the gallery photos in the training examples, stored once for all rows.

Letters: N queries, U gallery photos, D width of vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.atomic_files import open_atomic
from pinpoint.errors import ConflictError, describe_cause
from pinpoint.evaluation.run.evaluate import EvaluationComponents
from pinpoint.iteration import batched
from pinpoint.nets.reranker.inputs import EmbeddingTable, InputRow
from pinpoint.search import consistency

_FETCH_BATCH: Final = 512
_FILE_NAME: Final = "photos.{}.npy"
_COLUMNS: Final = ("image", "gps", "ids")
"""Columns in the order of writing: if the last one exists, all exist."""


def photos_of(
    folder: Path, rows: InputRow, dim: int, components: EvaluationComponents
) -> EmbeddingTable:
    """Vectors of all photos in the rows; fetched once, then memory-mapped.

    Args:
        folder: Folder of the cache.
        rows: `[N]` of `nets.reranker.inputs.row_dtype`, or of a type with additional fields.
        dim: D.
        components: The index, and the encoder whose vectors it must hold.

    Raises:
        ConflictError: The stored vectors cannot be read.
        ModelMismatchError: The index changed during the fetch.
    """
    if not (folder / _FILE_NAME.format(_COLUMNS[-1])).is_file():
        ids = np.unique(
            np.concatenate(
                [rows["id"][rows["present"]], rows["evidence_id"][rows["evidence_present"]]]
            )
        )
        photo_ids = [UUID(bytes=value.ljust(16, b"\0")) for value in ids.tolist()]
        vectors = {
            point.id: point.vectors
            for page in batched(photo_ids, _FETCH_BATCH)
            for point in components.index.fetch(page, vectors=True)
        }
        consistency.require_same_model(components.index, components.encoder.contract)
        photos = EmbeddingTable.of(vectors, dim, np.float16)
        for column in _COLUMNS:
            _write_column(folder / _FILE_NAME.format(column), getattr(photos, column))
    return EmbeddingTable(
        **{column: _open_column(folder / _FILE_NAME.format(column)) for column in _COLUMNS}
    )


def _write_column(path: Path, values: NDArray[Any]) -> None:
    """Write a column to the folder of the examples, durably as the examples themselves."""
    with open_atomic(path, durable=True) as file:
        np.save(file, values)


def _open_column(path: Path) -> NDArray[Any]:
    """Open a column, memory-mapped.

    Raises:
        ConflictError: It cannot be read.
    """
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConflictError(
            f"{path} cannot be read ({describe_cause(error)}); delete the examples in its folder"
        ) from error
    return values
