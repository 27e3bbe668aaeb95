"""The gallery photos that examples name: their vectors, once for all rows.

Letters: N questions, U gallery photos, D width of vectors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import Conflict
from pinpoint.evaluation.run import Parts
from pinpoint.nets.rerank_inputs import Photos, Row
from pinpoint.search import builds

_FETCHED: Final = 512
_PHOTOS: Final = "photos.{}.npy"
_COLUMNS: Final = ("image", "gps", "ids")
"""The last one is written last: with it all are there."""


def photos_of(folder: Path, rows: Row, dim: int, parts: Parts) -> Photos:
    """Vectors of all photos that rows name; fetched once, then memory-mapped.

    Args:
        folder: Of the cache.
        rows: `[N]` of `rerank_inputs.row_type`, or of a type with more fields.
        dim: D.
        parts: The index, and whose vectors it must hold.

    Raises:
        Conflict: What was fetched before cannot be read.
        OtherContract: The index was switched meanwhile.
    """
    if not (folder / _PHOTOS.format(_COLUMNS[-1])).is_file():
        ids = np.unique(
            np.concatenate([rows["id"][rows["present"]], rows["near_id"][rows["near_present"]]])
        )
        named = [UUID(bytes=each.ljust(16, b"\0")) for each in ids.tolist()]
        vectors = {
            point.id: point.vectors
            for start in range(0, len(named), _FETCHED)
            for point in parts.index.fetch(named[start : start + _FETCHED], vectors=True)
        }
        builds.fitting(parts.index, parts.encoder.contract)
        made = Photos.of(vectors, dim, np.float16)
        for column in _COLUMNS:
            _save(folder / _PHOTOS.format(column), getattr(made, column))
    return Photos(**{column: _opened(folder / _PHOTOS.format(column)) for column in _COLUMNS})


def _save(path: Path, values: NDArray[Any]) -> None:
    """Put a column beside the examples, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as stream:
        np.save(stream, values)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def _opened(path: Path) -> NDArray[Any]:
    """A column, memory-mapped.

    Raises:
        Conflict: It cannot be read.
    """
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Conflict(f"{path} cannot be read ({error}); delete the examples beside it") from error
    return values
