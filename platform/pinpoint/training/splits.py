"""Which pictures are trained on and which validate: apart by author, sequence and place.

Validation gets whole H3 cells. Pictures that would tie the sides together are left out and counted.
Letters: N pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pinpoint.errors import BadRequest
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import EARTH_RADIUS_M, LatLon, unit_xyz
from pinpoint.training.samples import Rows, Samples, Texts

SIDES: Final = ("train", "validation", "left out: author", "left out: buffer")
"""What `Split.sides` counts in, by code."""
TRAIN, VALIDATION, AUTHOR, BUFFER = range(4)

_ELLIPSOID: Final = 1.006
"""A buffer is this much wider on the sphere, which errs by up to 0.56 % against WGS84."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How the table is divided.

    Raises:
        BadRequest: A value is out of range.
    """

    seed: int = 0
    share: float = 0.1
    """Of the pictures, that lie in cells chosen for validation; what is left out comes off it."""
    buffer_m: float = 1_000.0
    """No validation picture is nearer than this to one that is trained on."""
    resolution: int = 4
    """H3 resolution of the cells that are divided; 4 is about 1,770 km² each."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise BadRequest(f"the share of validation lies between 0 and 1, not at {self.share}")
        if not 0 <= self.buffer_m <= 1e6:
            raise BadRequest(f"a buffer lies in [0, 1,000,000] metres, not at {self.buffer_m}")
        if not 0 <= self.resolution <= 15:
            raise BadRequest(f"cells have a resolution in [0, 15], not {self.resolution}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Every picture of a table on one side."""

    sides: NDArray[np.int8]
    """`[N]` codes of `SIDES`."""
    settings: SplitSettings
    fingerprint: str
    """SHA-256 over the table, the sides and the settings; goes into the contract."""

    @property
    def train(self) -> Rows:
        """Rows that are trained on, ascending."""
        return np.flatnonzero(self.sides == TRAIN)

    @property
    def validation(self) -> Rows:
        """Rows that validate, ascending."""
        return np.flatnonzero(self.sides == VALIDATION)

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures on each side, those left out by reason; together the whole table."""
        return dict(zip(SIDES, np.bincount(self.sides, minlength=len(SIDES)).tolist(), strict=True))


def split_samples(samples: Samples, settings: SplitSettings) -> Split:
    """Divide a table.

    Cells are taken for validation in an order drawn from the seed until they hold the share.
    Pictures tied by a shared author or sequence, directly or through others, form a group. Of a
    group that lies in cells of both sides the training part stays and the other is left out; so is
    a validation picture within the buffer of a training one.

    Raises:
        BadRequest: One side would be empty.
    """
    chosen = _cells(samples, settings)
    groups = tied(samples)
    sides = np.where(chosen, VALIDATION, TRAIN).astype(np.int8)
    trained = np.zeros(groups.max(initial=-1) + 1, dtype=np.bool_)
    trained[groups[~chosen]] = True
    sides[chosen & trained[groups]] = AUTHOR
    waiting = np.flatnonzero(sides == VALIDATION)
    train = np.flatnonzero(sides == TRAIN)
    if len(train) and len(waiting):
        near = _near(samples.positions, waiting, train, settings.buffer_m)
        sides[waiting[near]] = BUFFER
    split = Split(
        sides=sides, settings=settings, fingerprint=_fingerprint(samples, settings, sides)
    )
    empty = [name for name in SIDES[:2] if not split.counts[name]]
    if empty:
        raise BadRequest(
            f"no picture is left for {empty[0]} ({split.counts}); try another share, a smaller "
            "buffer, finer cells (a higher resolution), or more places"
        )
    return split


def tied(samples: Samples) -> NDArray[np.int64]:
    """Groups of pictures that share an author or a sequence, directly or through others.

    Connected components of the graph between pictures and the names on them. A name means the same
    in every source: better a group too large than one author on both sides.

    Returns:
        `[N]` numbers of groups, from 0.
    """
    count = len(samples)
    edges = [_edges(column) for column in (samples.creators, samples.sequences)]
    rows = np.concatenate([row for row, _ in edges])
    starts = np.cumsum([count, *(name.max(initial=-1) + 1 for _, name in edges)])
    names = np.concatenate([name + start for (_, name), start in zip(edges, starts, strict=False)])
    size = int(starts[-1])
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, names)), shape=(size, size))
    _, found = connected_components(graph, directed=False)
    return np.asarray(found[:count], dtype=np.int64)


def _edges(column: Texts) -> tuple[Rows, Rows]:
    """Rows that have a name, and the number of the name."""
    rows = np.flatnonzero(column != "")
    _, names = np.unique(column[rows], return_inverse=True)
    return rows, names.astype(np.int64)


def _cells(samples: Samples, settings: SplitSettings) -> NDArray[np.bool_]:
    """`[N]`, whether a picture lies in a cell that was taken for validation.

    The order of cells depends on seed and cell alone: more pictures elsewhere do not shuffle it.
    """
    own = cell_ids(samples.positions, [settings.resolution])[:, 0]
    cells, inverse, counts = np.unique(own, return_inverse=True, return_counts=True)
    order = sorted(
        range(len(cells)),
        key=lambda k: hashlib.sha256(f"{settings.seed} {cells[k]}".encode()).digest(),
    )
    before = np.cumsum(counts[order]) - counts[order]
    taken = np.zeros(len(cells), dtype=np.bool_)
    taken[np.array(order)[before < settings.share * len(samples)]] = True
    return np.asarray(taken[inverse])


def _near(positions: LatLon, ask: Rows, there: Rows, radius_m: float) -> NDArray[np.bool_]:
    """Whether each asked picture has one of the others within the buffer."""
    xyz = unit_xyz(positions)
    chords, _ = cKDTree(xyz[there]).query(xyz[ask])
    arcs_m = 2.0 * EARTH_RADIUS_M * np.arcsin(np.minimum(chords / 2.0, 1.0))
    return np.asarray(arcs_m <= radius_m * _ELLIPSOID)


def _fingerprint(samples: Samples, settings: SplitSettings, sides: NDArray[np.int8]) -> str:
    said = {"table": samples.fingerprint(), "settings": asdict(settings), "sides": SIDES}
    hashed = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    hashed.update(sides.tobytes())
    return hashed.hexdigest()
