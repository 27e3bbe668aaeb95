"""Batches balanced over kinds and cells; each is a function of the seed, its step and the table.

A run therefore resumes from seed and step, without other state.
Letters: N rows of the table, B rows of a batch, Q of them of one kind, C cells, P partners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinpoint.errors import BadRequestError
from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.records import SourceKind
from pinpoint.training.core.samples import Rows, Samples

_MIN_BLOCK: Final = 4096
"""Minimum number of cells in one draw; a draw for each pass is slow if there are few cells."""
_SPARES_PER_ROW: Final = 8
"""Spare rows drawn for each missing row, before all rows are tried."""
_ORDER_STREAM, _SPARE_STREAM, _PARTNER_STREAM = range(3)
"""Part of the seed, so that draws for different purposes are independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindRows:
    """Rows of one kind, ordered by cell."""

    rows: Rows
    """Within a cell, the first image of each sequence, then the second ones, and so on."""
    starts: NDArray[np.int64]
    """`[C]` index of each cell's first row in `rows`."""
    counts: NDArray[np.int64]
    """`[C]` number of images in each cell."""


class BatchSampler:
    """Unlimited batches of a table.

    All kinds have the same share of each batch. For each kind, a pass visits every occupied cell
    once, in a new order; each visit takes the cell's next image. Cells are therefore balanced, and
    no image of a cell is repeated before all of them were used. If an image would be the second one
    of its sequence in the batch, an image of a random cell replaces it.

    Args:
        samples: The table.
        rows: Rows to draw from, for example `Split.train`.
        batch_size: B, a multiple of the number of kinds among these rows.
        seed: Seed of the order; a non-negative integer.

    Raises:
        BadRequestError: The batch cannot be filled; the message names the largest possible size.
    """

    def __init__(self, samples: Samples, rows: Rows, *, batch_size: int, seed: int) -> None:
        rows = np.asarray(rows, dtype=np.int64)
        self.kinds: tuple[SourceKind, ...] = tuple(np.unique(samples.kinds[rows]).tolist())
        if not self.kinds or batch_size < 1 or batch_size % len(self.kinds):
            raise BadRequestError(
                f"a batch of {batch_size} cannot be shared evenly by {len(rows)} images of "
                f"{len(self.kinds)} kinds ({', '.join(self.kinds)}); use a positive multiple"
            )
        if seed < 0:
            raise BadRequestError(f"the seed must not be negative, but is {seed}")
        self.seed, self.batch_size = seed, batch_size
        self._per_kind = batch_size // len(self.kinds)
        self._sequence = _number_sequences(samples)
        self._sequence_count = int(self._sequence.max()) + 1
        self._kind_rows = tuple(
            _arrange_rows(
                samples, rows[samples.kinds[rows] == kind], self._sequence, [seed, number]
            )
            for number, kind in enumerate(self.kinds)
        )
        self._check_sequences()
        self._blocks: dict[int, tuple[int, NDArray[np.int64]]] = {}

    @property
    def cells(self) -> Mapping[SourceKind, int]:
        """Number of occupied cells of each kind, which is the length of a pass."""
        return {
            kind: len(kind_rows.starts)
            for kind, kind_rows in zip(self.kinds, self._kind_rows, strict=True)
        }

    def batch(self, step: int) -> Rows:
        """The rows of one batch.

        Args:
            step: From 0; steps may be requested in any order.

        Returns:
            `[B]` rows of the table, no two of one sequence. Kinds alternate (row i has kind i
            modulo their number), so slices of a multiple of that length are balanced too.
        """
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        used = np.zeros(self._sequence_count, dtype=np.bool_)
        drawn = [self._draw_kind(number, step, used) for number in range(len(self._kind_rows))]
        return np.stack(drawn, axis=1).reshape(-1)

    def _draw_kind(self, number: int, step: int, used: NDArray[np.bool_]) -> Rows:
        """Draw `[Q]` rows of one kind, and mark their sequences as used."""
        kind_rows = self._kind_rows[number]
        visits = np.arange(step * self._per_kind, (step + 1) * self._per_kind)
        cells = self._visited_cells(number, visits)
        turns = visits // len(kind_rows.starts)
        rows = kind_rows.rows[kind_rows.starts[cells] + turns % kind_rows.counts[cells]]
        sequences = self._sequence[rows]
        first = np.zeros(len(rows), dtype=np.bool_)
        first[np.unique(sequences, return_index=True)[1]] = True
        first &= ~used[sequences]
        used[sequences] = True
        missing = np.flatnonzero(~first)
        if len(missing):
            rows[missing] = self._draw_replacements(number, step, len(missing), used)
        return rows

    def _visited_cells(self, number: int, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cell of each visit; every pass is a permutation of all cells."""
        count = len(self._kind_rows[number].starts)
        passes = -(-_MIN_BLOCK // count)
        blocks, within = np.divmod(visits, passes * count)
        cells = np.empty_like(visits)
        for block in range(int(blocks[0]), int(blocks[-1]) + 1):
            in_block = blocks == block
            order = self._cell_order(number, block, passes, count)
            cells[in_block] = order[within[in_block]]
        return cells

    def _cell_order(self, number: int, block: int, passes: int, count: int) -> NDArray[np.int64]:
        # A cache: the draw does not depend on the process or on the order of steps.
        cached = self._blocks.get(number)
        if cached is None or cached[0] != block:
            rng = np.random.default_rng([self.seed, _ORDER_STREAM, number, block])
            order = rng.permuted(np.tile(np.arange(count), (passes, 1)), axis=1)
            cached = self._blocks[number] = (block, order.reshape(-1))
        return cached[1]

    def _draw_replacements(
        self, number: int, step: int, count: int, used: NDArray[np.bool_]
    ) -> Rows:
        """Rows of unused sequences, from random cells; if these do not suffice, from any cell."""
        kind_rows = self._kind_rows[number]
        rng = np.random.default_rng([self.seed, _SPARE_STREAM, number, step])
        cells = rng.integers(len(kind_rows.starts), size=_SPARES_PER_ROW * count)
        offsets = np.floor(rng.random(len(cells)) * kind_rows.counts[cells]).astype(np.int64)
        rows = self._filter_unused(kind_rows.rows[kind_rows.starts[cells] + offsets], used)[:count]
        if len(rows) < count:
            used[self._sequence[rows]] = True
            more = self._filter_unused(rng.permutation(kind_rows.rows), used)[: count - len(rows)]
            rows = np.concatenate([rows, more])
        used[self._sequence[rows]] = True
        return rows

    def _filter_unused(self, rows: Rows, used: NDArray[np.bool_]) -> Rows:
        """The rows, in order, that are the first of an unused sequence."""
        free = rows[~used[self._sequence[rows]]]
        first = np.unique(self._sequence[free], return_index=True)[1]
        return free[np.sort(first)]

    def _check_sequences(self) -> None:
        by_kind = [np.unique(self._sequence[kind_rows.rows]) for kind_rows in self._kind_rows]
        numbers, kind_counts = np.unique(np.concatenate(by_kind), return_counts=True)
        shared = numbers[kind_counts > 1]
        for kind, sequences in zip(self.kinds, by_kind, strict=True):
            exclusive = int((~np.isin(sequences, shared)).sum())
            if exclusive < self._per_kind:
                raise BadRequestError(
                    f"a batch of {self.batch_size} needs {self._per_kind} images of kind {kind}, "
                    f"one of each sequence, but only {exclusive} sequences have only that kind; "
                    f"the largest batch is {exclusive * len(self.kinds)}"
                )


class NearPairs:
    """Nearby images of another kind for each image: positives across kinds.

    Args:
        samples: The table.
        rows: Rows that have partners and may be partners.
        radius_m: Maximum great-circle distance of a partner.
        seed: Seed of the draws.
        most: P, the maximum number of partners stored for each image, nearest first.

    Raises:
        BadRequestError: The radius or `most` is not positive.
    """

    def __init__(
        self, samples: Samples, rows: Rows, *, radius_m: float, seed: int, most: int = 16
    ) -> None:
        if not 0 < radius_m <= 1e6 or most < 1:
            raise BadRequestError(
                f"partners need a radius in (0, 1,000,000] m and a positive maximum number, not "
                f"{radius_m} and {most}"
            )
        self.seed = seed
        self._partners = np.full((len(samples), most), -1, dtype=np.int64)
        xyz = unit_xyz(samples.positions)
        # Slightly enlarged, because the tree excludes its upper bound.
        chord = 2.0 * np.sin(radius_m / (2.0 * EARTH_RADIUS_M)) * (1.0 + 1e-12)
        kinds = samples.kinds[rows]
        for kind in np.unique(kinds).tolist():
            anchors, others = rows[kinds == kind], rows[kinds != kind]
            if len(others):
                tree = cKDTree(xyz[others])
                k = np.arange(1, most + 1)
                _, nearest = tree.query(xyz[anchors], k=k, distance_upper_bound=chord)
                self._partners[anchors] = np.append(others, -1)[nearest]
        self._counts: NDArray[np.int64] = (self._partners >= 0).sum(axis=1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """`[N]` number of partners stored for each row of the table."""
        return self._counts

    def partners(self, row: int) -> Rows:
        """The partners of a row, nearest first."""
        return np.asarray(self._partners[row, : self._counts[row]])

    def draw(self, step: int, anchors: Rows) -> Rows:
        """Draw one partner for each anchor, uniformly.

        Args:
            step: Step of the batch; the same step and anchors give the same partners.
            anchors: `[B]` rows of the table.

        Returns:
            `[B]` rows, -1 for an anchor without partners. Two anchors may have the same partner.
        """
        rng = np.random.default_rng([self.seed, _PARTNER_STREAM, step])
        counts = self._counts[anchors]
        picks = np.floor(rng.random(len(anchors)) * counts).astype(np.int64)
        # A row without partners contains only -1, so its first entry is -1.
        return np.asarray(self._partners[anchors, np.minimum(picks, np.maximum(counts - 1, 0))])


def _number_sequences(samples: Samples) -> NDArray[np.int64]:
    """`[N]` numbers of sequences; an image without one gets its own number."""
    _, numbers = np.unique(samples.sequences, return_inverse=True)
    without = samples.sequences == ""
    numbered = numbers.astype(np.int64)
    numbered[without] = len(samples) + np.arange(int(without.sum()))
    return np.unique(numbered, return_inverse=True)[1].astype(np.int64)


def _arrange_rows(
    samples: Samples, rows: Rows, sequences: NDArray[np.int64], seed: list[int]
) -> _KindRows:
    """Rows ordered by cell; within a cell its sequences alternate, in random order."""
    drawn = np.random.default_rng([seed[0], _ORDER_STREAM, *seed[1:]]).permutation(rows)
    cells = samples.cells[drawn]
    by_sequence = np.lexsort((sequences[drawn], cells))
    keys = np.stack([cells, sequences[drawn]], axis=1)[by_sequence]
    is_first = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    starts_of_groups = np.flatnonzero(is_first)
    turn = np.empty(len(drawn), dtype=np.int64)
    turn[by_sequence] = np.arange(len(drawn)) - starts_of_groups[np.cumsum(is_first) - 1]
    order = np.lexsort((turn, cells))  # Stable: within a turn, the random order remains.
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    return _KindRows(rows=drawn[order], starts=starts, counts=counts)
