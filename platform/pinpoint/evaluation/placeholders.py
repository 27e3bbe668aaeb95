"""Placeholder images: one picture ("photo no longer available") under many truths.

Whoever serves photos answers for a deleted one with a picture of its own. Such rows cannot be
located; 82 of 3,795 photos of YFCC4k were of that sort when an author of the field counted them.
They are flagged and counted, and figures are given with them and without.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m

COSINE: Final = 0.999
"""Pictures at least this alike are one picture. The same pixels always have the same vector."""
LEAST_TRUTHS: Final = 3
"""One picture of this many places is of none of them."""
APART_M: Final = 1_000.0
"""Truths nearer than this are one place: an author may upload one view twice."""
_BLOCK_ROWS: Final = 1_024

Floats = NDArray[np.float64]


def placeholder_groups(vectors: NDArray[np.floating], truths: Floats) -> list[NDArray[np.intp]]:
    """Groups of questions that show one picture under at least three truths.

    A group is a photo and all later ones at least `COSINE` like it that are in no group yet; every
    pair is compared, in blocks: O(N² D), about 3 s for 10,000 photos of 512 values.

    Args:
        vectors: `[N, D]` of the photos, of length 1 up to rounding.
        truths: `[N, 2]` degrees.

    Returns:
        Row numbers of each group, ascending; largest group first, ties by first row.
    """
    unit = np.asarray(vectors, dtype=np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    assigned = np.zeros(len(unit), dtype=np.bool_)
    groups = []
    for start in range(0, len(unit), _BLOCK_ROWS):
        alike = unit[start : start + _BLOCK_ROWS] @ unit[start:].T >= COSINE
        for row in np.flatnonzero(alike.sum(axis=1) > 1).tolist():
            if assigned[start + row]:
                continue
            members = start + np.flatnonzero(alike[row])
            members = members[(members >= start + row) & ~assigned[members]]
            if len(members) >= LEAST_TRUTHS and _count_locations(truths[members]) >= LEAST_TRUTHS:
                assigned[members] = True
                groups.append(members)
    return sorted(groups, key=lambda members: (-len(members), int(members[0])))


def _count_locations(truths: Floats) -> int:
    """How many truths stand apart from each other, counted up to what makes a placeholder."""
    locations: list[Floats] = []
    for position in truths:
        if all(float(haversine_m(position, other)) > APART_M for other in locations):
            locations.append(position)
            if len(locations) == LEAST_TRUTHS:
                break
    return len(locations)
