"""Search strategy of one query: the only place that chooses between exact, HNSW and ACORN.

Exact search compares every image that matches the filter (recall 1; time grows with their number).
Plain HNSW traverses the graph and skips excluded points: where the filter cuts links, the traversal
stays in one component and loses hits silently. ACORN traverses excluded neighbors: it keeps the
recall at the cost of more steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from pinpoint.records import IndexFilter, IndexQuery

SearchStrategy = Literal["exact", "hnsw", "acorn"]
StrategyChooser = Callable[[int], SearchStrategy]
"""Maps the number of images that match a filter to a strategy."""

EXACT_BELOW: Final = 150_000
"""Below this number of matching images, exact search is fast enough and loses nothing."""
GRAPH_EF: Final = 256
"""Size of the candidate list of HNSW (`ef`). For an organization that fills the index, recall was
0.988 at 128 and 0.997 at 256 with graph links per field; without such links it is 0.998."""


def choose_by_matches(matched: int) -> SearchStrategy:
    """Choose the search strategy of a filter from the number of matches.

    100,000 images of 512 values, one optimized segment, two cores: recall@48 against exact
    and median milliseconds with payload:

    | filter                 | matched | exact       | plain HNSW   | ACORN       |
    | organization           |  57,811 | 1.000 10.1  | 0.917 12.0   | 0.992 16.2  |
    | + kind                 |  31,338 | 1.000  6.3  | 0.946  7.5   | 0.990 11.1  |
    | + time range           |  32,276 | 0.999 20.7  | 0.878 14.0   | 0.991 19.2  |
    | + radius               |  37,559 | 0.999 13.8  | 0.898 12.6   | 0.990 18.6  |
    | + kind, time, radius   |  11,453 | 1.000  7.6  | 0.842  7.4   | 0.987 16.5  |
    | organization of 1 %    |   1,039 | 1.000  1.3  | 1.000  1.0   | 1.000  1.2  |
    | 96 % of 20,000         |  19,208 | 1.000  4.2  | 0.998  5.1   | 0.998  5.7  |

    Therefore exact search up to a size, whatever the shape: it loses nothing, and its results do
    not depend on data that other organizations add. Above it ACORN: plain HNSW falls under 0.98
    wherever a filter cuts links. Where a filter hardly cuts links (the last line), it is not much
    faster, because ACORN then has few excluded neighbors. There `ef` decides, so it is 256.
    `tests/trials/test_recall.py` prints such a table.

    Args:
        matched: Number of images that match the filter. Counted, not estimated: an estimate of
            several conditions depends on data of other organizations.
    """
    return "exact" if matched < EXACT_BELOW else "acorn"


def choose_strategy(
    query: IndexQuery,
    chooser: StrategyChooser,
    count: Callable[[IndexFilter], int],
    estimate_partitions: Callable[[IndexFilter], tuple[int, bool]],
    points: int | None = None,
) -> SearchStrategy:
    """Choose the strategy of one query; `exact` queries stay exact and cost no count.

    Args:
        query: The query.
        chooser: Usually `choose_by_matches`.
        count: Exact number of live points that match a filter; reads each of them.
        estimate_partitions: Total size of the filter's partitions (`filters.split_by_partition`),
            known without reading points, and whether all of their points match.
        points: Size of the whole index, if known. No filter matches more points, so a small index
            needs no count, and the choice is the same.
    """
    if query.exact or (points is not None and chooser(points) == "exact"):
        return "exact"
    upper_bound, complete = estimate_partitions(query.filter)
    if complete or chooser(upper_bound) == "exact":
        return chooser(upper_bound)
    return chooser(count(query.filter))
