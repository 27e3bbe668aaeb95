"""Split into training and validation images, disjoint by creator, sequence and area.

Validation consists of complete H3 cells. Images that would connect both sides are left out and
counted. Letters: N images.
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

from pinpoint.errors import BadRequestError
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, unit_xyz
from pinpoint.training.core.samples import Rows, Samples, Texts

SPLITS: Final = ("train", "validation", "left out: creator", "left out: buffer")
"""Names of the codes in `Split.sides`."""
TRAIN, VALIDATION, SAME_CREATOR, BUFFER = range(4)

_ELLIPSOID_MARGIN: Final = 1.006
"""Factor of the buffer on the sphere, whose distances differ from WGS84 by up to 0.56 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """Parameters of the split.

    Raises:
        BadRequestError: A value is out of range.
    """

    seed: int = 0
    share: float = 0.1
    """Share of the images in validation cells, before images are left out."""
    buffer_m: float = 1_000.0
    """Minimum distance between a validation image and a training image."""
    resolution: int = 4
    """H3 resolution of the cells; 4 is about 1,770 km² each."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise BadRequestError(
                f"the share of validation must be between 0 and 1, not {self.share}"
            )
        if not 0 <= self.buffer_m <= 1e6:
            raise BadRequestError(
                f"the buffer must be in [0, 1,000,000] meters, not {self.buffer_m}"
            )
        if not 0 <= self.resolution <= 15:
            raise BadRequestError(
                f"the cells' resolution must be in [0, 15], not {self.resolution}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The side of every image of a table."""

    sides: NDArray[np.int8]
    """`[N]` codes of `SPLITS`."""
    settings: SplitSettings
    fingerprint: str
    """SHA-256 over the table, the sides and the settings; part of the contract."""

    @property
    def train(self) -> Rows:
        """Training rows, ascending."""
        return np.flatnonzero(self.sides == TRAIN)

    @property
    def validation(self) -> Rows:
        """Validation rows, ascending."""
        return np.flatnonzero(self.sides == VALIDATION)

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of images on each side, and left out by reason; the sum is the table's size."""
        return dict(
            zip(SPLITS, np.bincount(self.sides, minlength=len(SPLITS)).tolist(), strict=True)
        )


def split_samples(samples: Samples, settings: SplitSettings) -> Split:
    """Split a table.

    Cells are chosen for validation in an order drawn from the seed until they hold the share.
    Images with a shared creator or sequence, directly or through others, form a group. If a group
    is in cells of both sides, its training part remains and the other part is left out. Validation
    images within the buffer of a training image are left out too.

    Raises:
        BadRequestError: One side would be empty.
    """
    in_validation = _choose_validation_cells(samples, settings)
    groups = connected_groups(samples)
    sides = np.where(in_validation, VALIDATION, TRAIN).astype(np.int8)
    is_trained = np.zeros(groups.max(initial=-1) + 1, dtype=np.bool_)
    is_trained[groups[~in_validation]] = True
    sides[in_validation & is_trained[groups]] = SAME_CREATOR
    validation = np.flatnonzero(sides == VALIDATION)
    train = np.flatnonzero(sides == TRAIN)
    if len(train) and len(validation):
        near = _within_radius(samples.positions, validation, train, settings.buffer_m)
        sides[validation[near]] = BUFFER
    split = Split(
        sides=sides, settings=settings, fingerprint=_split_fingerprint(samples, settings, sides)
    )
    empty = [name for name in SPLITS[:2] if not split.counts[name]]
    if empty:
        raise BadRequestError(
            f"no image is left for {empty[0]} ({split.counts}); try another share, a smaller "
            "buffer, finer cells (a higher resolution), or images of more areas"
        )
    return split


def connected_groups(samples: Samples) -> NDArray[np.int64]:
    """Groups of images that share a creator or a sequence, directly or through others.

    They are the connected components of the graph between images and names. A name means the same
    in every source: a group that is too large is better than one creator on both sides.

    Returns:
        `[N]` numbers of groups, from 0.
    """
    count = len(samples)
    edges = [_name_edges(column) for column in (samples.creators, samples.sequences)]
    rows = np.concatenate([row for row, _ in edges])
    starts = np.cumsum([count, *(name.max(initial=-1) + 1 for _, name in edges)])
    names = np.concatenate([name + start for (_, name), start in zip(edges, starts, strict=False)])
    size = int(starts[-1])
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, names)), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    return np.asarray(components[:count], dtype=np.int64)


def _name_edges(column: Texts) -> tuple[Rows, Rows]:
    """Rows that have a name, and the number of their name."""
    rows = np.flatnonzero(column != "")
    _, names = np.unique(column[rows], return_inverse=True)
    return rows, names.astype(np.int64)


def _choose_validation_cells(samples: Samples, settings: SplitSettings) -> NDArray[np.bool_]:
    """Whether an image is in a validation cell, `[N]`.

    The order of cells depends only on seed and cell: images in other cells do not change it.
    """
    cell_of_row = cell_ids(samples.positions, [settings.resolution])[:, 0]
    cells, inverse, counts = np.unique(cell_of_row, return_inverse=True, return_counts=True)
    order = sorted(
        range(len(cells)),
        key=lambda k: hashlib.sha256(f"{settings.seed} {cells[k]}".encode()).digest(),
    )
    before = np.cumsum(counts[order]) - counts[order]
    is_chosen = np.zeros(len(cells), dtype=np.bool_)
    is_chosen[np.array(order)[before < settings.share * len(samples)]] = True
    return np.asarray(is_chosen[inverse])


def _within_radius(
    positions: LatLonArray, rows: Rows, others: Rows, radius_m: float
) -> NDArray[np.bool_]:
    """Whether each of the rows has one of the others within the radius."""
    xyz = unit_xyz(positions)
    chords, _ = cKDTree(xyz[others]).query(xyz[rows])
    arcs_m = 2.0 * EARTH_RADIUS_M * np.arcsin(np.minimum(chords / 2.0, 1.0))
    return np.asarray(arcs_m <= radius_m * _ELLIPSOID_MARGIN)


def _split_fingerprint(samples: Samples, settings: SplitSettings, sides: NDArray[np.int8]) -> str:
    content = {"table": samples.fingerprint(), "settings": asdict(settings), "sides": SPLITS}
    hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    hashed.update(sides.tobytes())
    return hashed.hexdigest()
