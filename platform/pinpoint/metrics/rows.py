"""What comes into a metric: columns with one entry per row, checked before anything is counted.

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
    """A column of numbers.

    Args:
        values: `[N]`, or `[N, K]` with `dims=2`.
        name: What the error calls the column.
        rows: The N that it must have.
        dims: Number of dimensions.
        gaps: Whether NaN may stand for "none".
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
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f"row {where[0]}" + "".join(f", column {i}" for i in where[1:])
        raise ValueError(
            f"{name}: {place} is {column[where]}; wanted a number in [{least:g}, {most:g}]"
            + (" or NaN" if gaps else "")
        )
    return column


def check_flags(
    values: ArrayLike, name: str, *, rows: int | None = None, dims: int = 1
) -> BoolColumn:
    """A column of yes and no.

    Args:
        values: `[N]` (or `[N, K]`) booleans, or zeros and ones.
        name: What the error calls the column.
        rows: The N that it must have.
        dims: Number of dimensions.

    Raises:
        ValueError: Wrong shape, or something that is neither yes nor no (NaN, 0.5).
    """
    column = np.asarray(values)
    _check_shape(column.shape, name, rows, dims)
    yes = column.astype(np.bool_)
    if not np.array_equal(yes, column):
        raise ValueError(f"{name}: wanted true or false (or 1 and 0) in every row")
    return yes


def _check_shape(shape: tuple[int, ...], name: str, rows: int | None, dims: int) -> None:
    if len(shape) != dims:
        raise ValueError(f"{name}: wanted {dims} dimension(s), got shape {shape}")
    if rows is not None and shape[0] != rows:
        raise ValueError(f"{name}: {shape[0]} rows beside {rows} of the other columns")


def mean(values: FloatColumn | BoolColumn) -> float:
    """Mean of a column; NaN (and no warning) where there are no rows."""
    return float(np.mean(values)) if len(values) else float("nan")


def median(values: FloatColumn) -> float:
    """Median of a column, of two middle rows their mean; NaN where there are no rows."""
    return float(np.median(values)) if len(values) else float("nan")
