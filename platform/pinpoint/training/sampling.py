"""Batches balanced over kinds and cells; each is a function of the seed, its step and the table.

So a run goes on after a kill with two numbers, seed and step, and no other state.
Letters: N rows of the table, B rows of a batch, Q of them of one kind, C cells, P partners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinpoint.errors import BadRequest
from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.records import SourceKind
from pinpoint.training.samples import Rows, Samples

_BLOCK: Final = 4096
"""Cells drawn at once, at least; where there are few, a draw for each pass would cost most."""
_TRIES: Final = 8
"""Spare rows drawn for each that is missing, before all rows are gone through."""
_ORDER, _SPARE, _PARTNER = range(3)
"""Told to the generator, so that what is drawn for one purpose says nothing about another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Rows of one kind, cell after cell."""

    rows: Rows
    """In a cell one picture of each sequence comes first, then the second ones, and so on."""
    starts: NDArray[np.int64]
    """`[C]` where each cell begins in `rows`."""
    counts: NDArray[np.int64]
    """`[C]` pictures in each cell."""


class BatchSampler:
    """Batches of a table, without end.

    All kinds have the same part of each batch. Of a kind, cells come in passes: in each pass every
    occupied cell once, in a new order; at each visit a cell gives its next picture. So cells are
    balanced, and within a cell no picture is seen twice before all were seen once. Where a picture
    would be the second one of its sequence in the batch, one of a drawn cell takes its place.

    Args:
        samples: The table.
        rows: Rows to draw from, as `Split.train`.
        batch: B, a multiple of the number of kinds among these rows.
        seed: Names the order; any integer that is not negative.

    Raises:
        BadRequest: The batch cannot be filled; the message says with how many it could.
    """

    def __init__(self, samples: Samples, rows: Rows, *, batch: int, seed: int) -> None:
        own = np.asarray(rows, dtype=np.int64)
        self.kinds: tuple[SourceKind, ...] = tuple(np.unique(samples.kinds[own]).tolist())
        if not self.kinds or batch < 1 or batch % len(self.kinds):
            raise BadRequest(
                f"a batch of {batch} cannot be shared evenly by {len(own)} pictures of "
                f"{len(self.kinds)} kinds ({', '.join(self.kinds)}); take a positive multiple"
            )
        if seed < 0:
            raise BadRequest(f"a seed is not negative, unlike {seed}")
        self.seed, self.batch_size = seed, batch
        self._each = batch // len(self.kinds)
        self._sequence = _sequences(samples)
        self._sequence_count = int(self._sequence.max()) + 1
        self._parts = tuple(
            _arranged(samples, own[samples.kinds[own] == kind], self._sequence, [seed, number])
            for number, kind in enumerate(self.kinds)
        )
        self._check_sequences()
        self._blocks: dict[int, tuple[int, NDArray[np.int64]]] = {}

    @property
    def cells(self) -> Mapping[SourceKind, int]:
        """Occupied cells of each kind: what one pass of that kind visits."""
        return {kind: len(p.starts) for kind, p in zip(self.kinds, self._parts, strict=True)}

    def batch(self, step: int) -> Rows:
        """The rows of one batch.

        Args:
            step: From 0; steps may be asked for in any order.

        Returns:
            `[B]` rows of the table, no two of one sequence. Kinds take turns (row i is of kind
            i modulo their number), so that any slice that is a multiple long is balanced, too.
        """
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        used = np.zeros(self._sequence_count, dtype=np.bool_)
        drawn = [self._of_kind(number, step, used) for number in range(len(self._parts))]
        return np.stack(drawn, axis=1).reshape(-1)

    def _of_kind(self, number: int, step: int, used: NDArray[np.bool_]) -> Rows:
        """`[Q]` rows of one kind; marks their sequences as used."""
        part = self._parts[number]
        visits = np.arange(step * self._each, (step + 1) * self._each)
        cells = self._visited(number, visits)
        turns = visits // len(part.starts)
        rows = part.rows[part.starts[cells] + turns % part.counts[cells]]
        sequences = self._sequence[rows]
        first = np.zeros(len(rows), dtype=np.bool_)
        first[np.unique(sequences, return_index=True)[1]] = True
        first &= ~used[sequences]
        used[sequences] = True
        missing = np.flatnonzero(~first)
        if len(missing):
            rows[missing] = self._instead(number, step, len(missing), used)
        return rows

    def _visited(self, number: int, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cell of each visit: pass after pass, each a permutation of all cells."""
        count = len(self._parts[number].starts)
        passes = -(-_BLOCK // count)
        blocks, within = np.divmod(visits, passes * count)
        cells = np.empty_like(visits)
        for block in range(int(blocks[0]), int(blocks[-1]) + 1):
            here = blocks == block
            cells[here] = self._block(number, block, passes, count)[within[here]]
        return cells

    def _block(self, number: int, block: int, passes: int, count: int) -> NDArray[np.int64]:
        # Only remembered: another process, or another order of steps, draws the same.
        known = self._blocks.get(number)
        if known is None or known[0] != block:
            rng = np.random.default_rng([self.seed, _ORDER, number, block])
            order = rng.permuted(np.tile(np.arange(count), (passes, 1)), axis=1)
            known = self._blocks[number] = (block, order.reshape(-1))
        return known[1]

    def _instead(self, number: int, step: int, count: int, used: NDArray[np.bool_]) -> Rows:
        """Rows of unused sequences: of drawn cells, and where these do not suffice, of any."""
        part = self._parts[number]
        rng = np.random.default_rng([self.seed, _SPARE, number, step])
        cells = rng.integers(len(part.starts), size=_TRIES * count)
        places = np.floor(rng.random(len(cells)) * part.counts[cells]).astype(np.int64)
        found = self._unused(part.rows[part.starts[cells] + places], used)[:count]
        if len(found) < count:
            used[self._sequence[found]] = True
            more = self._unused(rng.permutation(part.rows), used)[: count - len(found)]
            found = np.concatenate([found, more])
        used[self._sequence[found]] = True
        return found

    def _unused(self, rows: Rows, used: NDArray[np.bool_]) -> Rows:
        """Those rows, in order, that are the first of a sequence not used yet."""
        free = rows[~used[self._sequence[rows]]]
        first = np.unique(self._sequence[free], return_index=True)[1]
        return free[np.sort(first)]

    def _check_sequences(self) -> None:
        own = [np.unique(self._sequence[part.rows]) for part in self._parts]
        names, holders = np.unique(np.concatenate(own), return_counts=True)
        shared = names[holders > 1]
        for kind, sequences in zip(self.kinds, own, strict=True):
            alone = int((~np.isin(sequences, shared)).sum())
            if alone < self._each:
                raise BadRequest(
                    f"a batch of {self.batch_size} takes {self._each} pictures of kind {kind}, one "
                    f"of each sequence, and there are {alone} sequences of that kind alone; at "
                    f"most {alone * len(self.kinds)} fit"
                )


class NearPairs:
    """For each picture those of another kind near by: positives across sources.

    Args:
        samples: The table.
        rows: Rows that may be partners, and whose partners can be asked for.
        radius_m: Farthest partner, along the great circle.
        seed: Names the choice.
        most: P, the nearest partners remembered for each picture.

    Raises:
        BadRequest: The radius or `most` is not positive.
    """

    def __init__(
        self, samples: Samples, rows: Rows, *, radius_m: float, seed: int, most: int = 16
    ) -> None:
        if not 0 < radius_m <= 1e6 or most < 1:
            raise BadRequest(
                f"partners need a radius in (0, 1,000,000] m and a positive number of places, not "
                f"{radius_m} and {most}"
            )
        self.seed = seed
        self._partners = np.full((len(samples), most), -1, dtype=np.int64)
        xyz = unit_xyz(samples.positions)
        # Rounded up by a hair, since the tree wants partners nearer than its bound.
        chord = 2.0 * np.sin(radius_m / (2.0 * EARTH_RADIUS_M)) * (1.0 + 1e-12)
        kinds = samples.kinds[rows]
        for kind in np.unique(kinds).tolist():
            ask, there = rows[kinds == kind], rows[kinds != kind]
            if len(there):
                tree = cKDTree(xyz[there])
                k = np.arange(1, most + 1)
                _, found = tree.query(xyz[ask], k=k, distance_upper_bound=chord)
                self._partners[ask] = np.append(there, -1)[found]
        self._counts: NDArray[np.int64] = (self._partners >= 0).sum(axis=1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """`[N]` partners remembered for each row of the table."""
        return self._counts

    def partners(self, row: int) -> Rows:
        """The partners of a row, nearest first."""
        return np.asarray(self._partners[row, : self._counts[row]])

    def draw(self, step: int, anchors: Rows) -> Rows:
        """One partner for each anchor, as even a choice as a seed gives.

        Args:
            step: Of the batch; the same step and anchors give the same partners.
            anchors: `[B]` rows of the table.

        Returns:
            `[B]` rows, -1 where an anchor has no partner. Two anchors may have the same one.
        """
        rng = np.random.default_rng([self.seed, _PARTNER, step])
        counts = self._counts[anchors]
        picks = np.floor(rng.random(len(anchors)) * counts).astype(np.int64)
        # A row without partners holds -1 everywhere, so its first place says so.
        return np.asarray(self._partners[anchors, np.minimum(picks, np.maximum(counts - 1, 0))])


def _sequences(samples: Samples) -> NDArray[np.int64]:
    """`[N]` numbers of sequences; a picture of none is one of its own."""
    _, numbers = np.unique(samples.sequences, return_inverse=True)
    alone = samples.sequences == ""
    numbered = numbers.astype(np.int64)
    numbered[alone] = len(samples) + np.arange(int(alone.sum()))
    return np.unique(numbered, return_inverse=True)[1].astype(np.int64)


def _arranged(samples: Samples, rows: Rows, sequences: NDArray[np.int64], seed: list[int]) -> _Kind:
    """Rows by cell, and within a cell by turns of its sequences, otherwise shuffled."""
    drawn = np.random.default_rng([seed[0], _ORDER, *seed[1:]]).permutation(rows)
    cells = samples.cells[drawn]
    together = np.lexsort((sequences[drawn], cells))
    keys = np.stack([cells, sequences[drawn]], axis=1)[together]
    fresh = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    begins = np.flatnonzero(fresh)
    turn = np.empty(len(drawn), dtype=np.int64)
    turn[together] = np.arange(len(drawn)) - begins[np.cumsum(fresh) - 1]
    order = np.lexsort((turn, cells))  # stable, so that within a turn the drawn order stays
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    return _Kind(rows=drawn[order], starts=starts, counts=counts)
