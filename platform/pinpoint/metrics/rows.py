"""Input columns of metrics, with one entry per row, and their checks.

Letters: N rows (photos), K candidates of a photo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatColumn = NDArray[np.float64]
BoolColumn = NDArray[np.bool_]


def check_numbers(
    values: ArrayLike,
    name: str,
    *,
    rows: int | None = None,
    dims: int = 1,
    gaps: bool = False,
    least: float = -np.inf,
    most: float = np.inf,
) -> FloatColumn:
    """Check a column of numbers.

    Args:
        values: `[N]`, or `[N, K]` with `dims=2`.
        name: Name of the column in errors.
        rows: Required N.
        dims: Number of dimensions.
        gaps: Whether NaN is allowed, as "none".
        least: Smallest number allowed.
        most: Largest number allowed.

    Raises:
        ValueError: Wrong shape; a number that is infinite, out of range, or NaN without `gaps`.
    """
    column = np.asarray(values, dtype=np.float64)
    _check_shape(column.shape, name, rows, dims)
    bad = np.isinf(column) | (column < least) | (column > most)
    if not gaps:
        bad |= np.isnan(column)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        position = f"row {index[0]}" + "".join(f", column {i}" for i in index[1:])
        raise ValueError(
            f"{name}: {position} is {column[index]}; wanted a number in [{least:g}, {most:g}]"
            + (" or NaN" if gaps else "")
        )
    return column


def check_flags(
    values: ArrayLike, name: str, *, rows: int | None = None, dims: int = 1
) -> BoolColumn:
    """Check a column of flags.

    Args:
        values: `[N]` (or `[N, K]`) booleans, or zeros and ones.
        name: Name of the column in errors.
        rows: Required N.
        dims: Number of dimensions.

    Raises:
        ValueError: Wrong shape, or a value that is neither true nor false (NaN, 0.5).
    """
    column = np.asarray(values)
    _check_shape(column.shape, name, rows, dims)
    flags = column.astype(np.bool_)
    if not np.array_equal(flags, column):
        raise ValueError(f"{name}: wanted true or false (or 1 and 0) in every row")
    return flags


def _check_shape(shape: tuple[int, ...], name: str, rows: int | None, dims: int) -> None:
    if len(shape) != dims:
        raise ValueError(f"{name}: wanted {dims} dimension(s), got shape {shape}")
    if rows is not None and shape[0] != rows:
        raise ValueError(f"{name}: {shape[0]} rows, expected {rows} as in the other columns")


def mean(values: FloatColumn | BoolColumn) -> float:
    """Mean of a column; NaN (and no warning) if there are no rows."""
    return float(np.mean(values)) if len(values) else float("nan")


def median(values: FloatColumn) -> float:
    """Median of a column (mean of two middle rows); NaN if there are no rows."""
    return float(np.median(values)) if len(values) else float("nan")
