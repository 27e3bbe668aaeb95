"""Select the gallery images that a vocabulary is learned from, and those of its report.

Letters: N images of the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.nets.bundle.specs import VocabularySource
from pinpoint.training.core.samples import Rows, Sample, Samples, SnapshotSource
from pinpoint.training.vocabulary.config import UNSTATED_LICENSE

MATCH_RADIUS_M: Final = 25.0
"""Distance up to which an image shows the place of a query; the usual threshold of visual place
recognition (Torii et al., "24/7 Place Recognition by View Synthesis", CVPR 2015)."""
STRATUM_RESOLUTION: Final = 9
"""H3 cells of about 0.1 km²."""
_MAX_QUERIES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySample:
    """Rows of the gallery that are read."""

    table: Samples
    """The gallery."""
    source_names: tuple[str, ...]
    """Organization, slash, source."""
    source_numbers: NDArray[np.int64]
    """Source of each row of the gallery."""
    rows: Rows
    """Rows of the PCA and of the report, ascending."""
    center_rows: Rows
    """Rows of the centers, ascending."""

    @property
    def gallery_size(self) -> int:
        """Number of usable rows of the gallery."""
        return len(self.table)

    @property
    def samples(self) -> Samples:
        """Images of the PCA and of the report."""
        return self.table.take_rows(self.rows)

    @property
    def center_samples(self) -> Samples:
        """Images of the centers."""
        return self.table.take_rows(self.center_rows)

    def describe_sources(
        self, usable: Rows, licenses: Mapping[str, str | None]
    ) -> tuple[VocabularySource, ...]:
        """Provenance of the images that could be read.

        Args:
            usable: Their rows in `samples`.
            licenses: License of each source, by its name without the organization.
        """
        present, counts = np.unique(self.source_numbers[self.rows[usable]], return_counts=True)
        names = [self.source_names[number] for number in present.tolist()]
        return tuple(
            VocabularySource(
                name=name[:200],
                count=count,
                license=(licenses.get(name.split("/", 1)[1]) or UNSTATED_LICENSE)[:200],
            )
            for name, count in zip(names, counts.tolist(), strict=True)
        )


def number_sources(samples: Samples, snapshots: Sequence[SnapshotSource]) -> NDArray[np.int64]:
    """Number of the source of each row, `[N]`."""
    numbers: dict[str, int] = {}
    for number, snapshot in enumerate(snapshots):
        for row in snapshot.rows:
            if isinstance(row, Sample):
                numbers.setdefault(row.id, number)
    return np.array([numbers[row_id] for row_id in samples.ids.tolist()], dtype=np.int64)


def stratified_order(samples: Samples, sources: NDArray[np.int64], seed: int) -> Rows:
    """All rows, so that any first part of them covers the strata evenly.

    Strata are the combinations of source, sequence and cell. Each of them gives one image, then
    each a second one, until all images are taken; a long sequence cannot crowd out short ones.

    Args:
        samples: The gallery; its cells should be about as large as a neighborhood.
        sources: Number of the source of each row, `[N]`.
        seed: Of the order within the strata and among them.
    """
    _, sequences = np.unique(np.array(samples.sequences.tolist()), return_inverse=True)
    keys = np.column_stack([sources, sequences, samples.cells])
    _, strata = np.unique(keys, axis=0, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(samples))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    sorted_strata = strata[by_stratum]
    starts = np.searchsorted(sorted_strata, sorted_strata)
    turns = np.empty(len(samples), dtype=np.int64)
    turns[by_stratum] = np.arange(len(samples)) - starts
    return shuffled[np.argsort(turns[shuffled], kind="stable")]


def add_partners(samples: Samples, selected: Rows, seed: int) -> Rows:
    """The selected rows and, for up to 500 of them, the nearest image of another panorama.

    In a sample of a large gallery hardly any query would have a match; without one it cannot be
    right or wrong.

    Args:
        samples: The gallery.
        selected: Selected rows.
        seed: Of the choice of the 500.

    Returns:
        Ascending rows.
    """
    if len(selected) == len(samples):
        return np.sort(selected)
    xyz = unit_xyz(samples.positions)
    tree = cKDTree(xyz)
    partners: list[int] = []
    for row in np.random.default_rng(seed).permutation(selected):
        neighbors = tree.query_ball_point(xyz[row], MATCH_RADIUS_M / EARTH_RADIUS_M)
        matches = [other for other in neighbors if _is_match(samples, int(row), other)]
        if matches:
            distances = np.linalg.norm(xyz[matches] - xyz[row], axis=1)
            partners.append(matches[int(distances.argmin())])
        if len(partners) == _MAX_QUERIES:
            break
    return np.unique(np.concatenate([selected, np.array(partners, dtype=np.int64)]))


def _is_match(samples: Samples, row: int, other: int) -> bool:
    """Whether another row is neither the row itself nor a face of its panorama."""
    panorama = samples.panoramas[row]
    return row != other and (panorama == "" or samples.panoramas[other] != panorama)
