"""Placeholder images: one image ("photo no longer available") with many ground truths.

Photo hosts return a placeholder for a deleted photo. Such rows cannot be located; a published count
is 82 of 3,795 photos of YFCC4k. They are flagged and counted, and metrics are reported with and
without them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.distance import haversine_m

MIN_COSINE: Final = 0.999
"""Minimum cosine of two copies of one image. Equal pixels always have equal vectors."""
MIN_LOCATIONS: Final = 3
"""An image with this many distinct locations is a placeholder."""
MIN_DISTANCE_M: Final = 1_000.0
"""Closer ground truths count as one location: a creator may upload one view twice."""
_BLOCK_ROWS: Final = 1_024


def placeholder_groups(
    vectors: NDArray[np.floating], ground_truths: Floats
) -> list[NDArray[np.intp]]:
    """Groups of queries that show one image with at least three distinct ground truths.

    A group is a photo and all later ungrouped photos with a cosine of at least `MIN_COSINE`. All
    pairs are compared, in blocks: O(N² D), about 3 s for 10,000 photos and 512 dimensions.

    Args:
        vectors: Vectors of the photos, `[N, D]`, of length 1 up to rounding.
        ground_truths: Ground truths, `[N, 2]` degrees.

    Returns:
        Row numbers of each group, ascending; largest group first, ties by first row.
    """
    unit = np.asarray(vectors, dtype=np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    assigned = np.zeros(len(unit), dtype=np.bool_)
    groups = []
    for start in range(0, len(unit), _BLOCK_ROWS):
        alike = unit[start : start + _BLOCK_ROWS] @ unit[start:].T >= MIN_COSINE
        for row in np.flatnonzero(alike.sum(axis=1) > 1).tolist():
            if assigned[start + row]:
                continue
            members = start + np.flatnonzero(alike[row])
            members = members[(members >= start + row) & ~assigned[members]]
            if (
                len(members) >= MIN_LOCATIONS
                and _count_locations(ground_truths[members]) >= MIN_LOCATIONS
            ):
                assigned[members] = True
                groups.append(members)
    return sorted(groups, key=lambda members: (-len(members), int(members[0])))


def _count_locations(ground_truths: Floats) -> int:
    """Number of distinct locations; counting stops at `MIN_LOCATIONS`."""
    locations: list[Floats] = []
    for position in ground_truths:
        if all(float(haversine_m(position, other)) > MIN_DISTANCE_M for other in locations):
            locations.append(position)
            if len(locations) == MIN_LOCATIONS:
                break
    return len(locations)
