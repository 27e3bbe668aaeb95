"""What would be kept from a question, had it been taken in another of the candidates' towns.

A question's own author and sequence are kept from it, so near the truth the gallery is thinner than
elsewhere, and that can be seen: sets of evidence are short, or reach farther. A network finds the
truth by it without a look at the pictures, and in serving nothing is kept out. So in training every
town loses as much in the same way: what one of its photos would have kept from its own question.
Letters: B questions, R candidates, E evidence photos of a candidate, U photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation.run import Parts
from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.nets.rerank_inputs import Photos, Row
from pinpoint.records import KINDS
from pinpoint.training.example_photos import open_column, save_column

TOWN_M: Final = 30_000.0
"""Candidates so near to an earlier one are of its town; as far as a photo supports the truth, and a
little more."""
_READ: Final = 2_000
_FILE: Final = "photos.makers.npy"
_NOBODY: Final = -1

Codes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """Whose pictures photos are, in the order of `Photos.ids`; -1 where that is not known."""

    creator: Codes
    """`[U]`, the same number for the same author."""
    sequence: Codes
    """`[U]`."""

    def of(self, photos: Photos, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """What must not be shared: the photo itself, its author, its sequence; `[3, ...]`."""
        seats, known = photos.seats(ids)
        every = np.stack([seats, self.creator[seats], self.sequence[seats]])
        return np.where(known, every, _NOBODY)


def makers_of(folder: Path, photos: Photos, parts: Parts, organization_id: UUID) -> Makers:
    """Whose the photos of a cache of examples are; read once, then kept beside them.

    Raises:
        Conflict: What was kept cannot be read.
    """
    path = folder / _FILE
    if not path.is_file():
        ids = [UUID(bytes=each.ljust(16, b"\0")) for each in photos.ids.tolist()]
        said: list[tuple[str | None, str | None]] = []
        with parts.database.read(organization_id) as reader:
            for start in range(0, len(ids), _READ):
                own = ids[start : start + _READ]
                images = reader.images(own)
                said += [
                    (images[each].creator, images[each].sequence) if each in images else (None,) * 2
                    for each in own
                ]
        save_column(path, np.stack([_coded([one[at] for one in said]) for at in (0, 1)]))
    creator, sequence = open_column(path)
    return Makers(creator=creator, sequence=sequence)


def _coded(names: list[str | None]) -> Codes:
    numbers = {name: number for number, name in enumerate(sorted({n for n in names if n}))}
    return np.array([numbers.get(name or "", _NOBODY) for name in names], dtype=np.int32)


def thinned(rows: Row, photos: Photos, makers: Makers, dice: np.random.Generator) -> None:
    """Take from every town what one of its photos would have kept from its own question.

    Questions from which nothing was kept, and the town of the truth, which has lost its own, are
    left as they are.

    Args:
        rows: `[B]` of `examples.example_type`; `present` and `near_present` are changed.
        photos: That the rows name.
        makers: Whose they are.
        dice: Chooses the photos.
    """
    asked = np.flatnonzero(rows["kept_out"])
    own, near = (makers.of(photos, rows[name][asked]) for name in ("id", "near_id"))
    for number, at in enumerate(asked):
        _thin(rows[at], own[:, number], near[:, number], dice)


def _thin(
    row: Row, own: NDArray[np.int64], near: NDArray[np.int64], dice: np.random.Generator
) -> None:
    """One question; `own` `[3, R]` and `near` `[3, R, E]` say whose its photos are."""
    present, shown = row["present"], row["near_present"]
    code, per_kind = int(row["query_kind"]), shown.shape[-1] // len(KINDS)
    of_kind = np.repeat(np.arange(len(KINDS)), per_kind) == code
    town, there = _towns(row["position"], row["truth"])
    for number in np.unique(town[present & ~there]):
        seats = np.flatnonzero((town == number) & present & ~there)
        pool = np.argwhere(shown[seats] & of_kind)
        if len(pool):
            seat, place = pool[dice.integers(len(pool))]
            maker = near[:, seats[seat], place]
            present[seats] &= ~_shared(own[:, seats], maker)
            shown[seats] &= ~_shared(near[:, seats], maker)


def _towns(
    position: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The first candidate in reach of each, `[R]`, and which of them stand at the truth."""
    places, here = unit_xyz(position), unit_xyz(truth[None])[0]
    least = np.cos(TOWN_M / EARTH_RADIUS_M)
    return (places @ places.T > least).argmax(1), places @ here > least


def _shared(theirs: NDArray[np.int64], maker: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which photos `[3, ...]` share anything that is known with one `[3]`."""
    wanted = maker.reshape(-1, *(1,) * (theirs.ndim - 1))
    return np.asarray(((theirs == wanted) & (wanted != _NOBODY)).any(axis=0))
