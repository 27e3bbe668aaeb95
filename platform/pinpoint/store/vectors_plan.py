"""How one question is searched: the only place that chooses between exact, HNSW and ACORN.

Exact compares every image the filter lets through (recall 1, time grows with their number). Plain
HNSW walks the graph and skips what the filter forbids: where the filter cuts links it is left on
an island and loses hits without a word. ACORN looks past forbidden neighbours: it holds recall and
costs more steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from pinpoint.records import IndexFilter, IndexQuery

Way = Literal["exact", "hnsw", "acorn"]
Chooser = Callable[[int], Way]
"""Takes how many images a filter lets through."""

EXACT_BELOW: Final = 150_000
"""Images let through below which comparing all of them is quick enough and loses nothing."""
GRAPH_EF: Final = 256
"""Points the graph keeps in sight: at 128 an organisation that fills the index got 0.988 of a graph
with links of single fields, and 0.997 at 256; without them it gets 0.998."""


def choose(matched: int) -> Way:
    """The way to search for a filter, from the table below.

    100,000 images of 512 values, one optimised segment, two cores: recall@48 against exact
    and median milliseconds with payload:

    | filter                 | matched | exact       | plain HNSW   | ACORN       |
    | organisation           |  57,811 | 1.000 10.1  | 0.917 12.0   | 0.992 16.2  |
    | + kind                 |  31,338 | 1.000  6.3  | 0.946  7.5   | 0.990 11.1  |
    | + time range           |  32,276 | 0.999 20.7  | 0.878 14.0   | 0.991 19.2  |
    | + radius               |  37,559 | 0.999 13.8  | 0.898 12.6   | 0.990 18.6  |
    | + kind, time, radius   |  11,453 | 1.000  7.6  | 0.842  7.4   | 0.987 16.5  |
    | organisation of 1 %    |   1,039 | 1.000  1.3  | 1.000  1.0   | 1.000  1.2  |
    | 96 % of 20,000         |  19,208 | 1.000  4.2  | 0.998  5.1   | 0.998  5.7  |

    So exact up to a size, whatever the shape: it loses nothing and its answers do not depend on
    what other organisations add. Beyond it ACORN: plain HNSW falls under 0.98 wherever a filter
    cuts links, and where it hardly does (the last line) it is not much quicker, because ACORN then
    has little to look past. There the points in sight decide, so they are 256.
    `tests/trials/test_recall.py` prints such a table.

    Args:
        matched: Images the filter lets through, counted and not estimated: an estimate of several
            conditions depends on what others store.
    """
    return "exact" if matched < EXACT_BELOW else "acorn"


def way(
    query: IndexQuery,
    chooser: Chooser,
    count: Callable[[IndexFilter], int],
    listed: Callable[[IndexFilter], tuple[int, bool]],
    points: int | None = None,
) -> Way:
    """The way for one question; `exact` cannot be overruled and costs no count.

    Args:
        query: What is asked.
        chooser: Usually `choose`.
        count: Exact number of live points under a filter, which looks at each of them.
        listed: How many images the filter's lists hold (`vectors_filter.lists`), known without
            looking, and whether it lets all of them through.
        points: Size of the whole index, where it is known without asking: no filter lets more
            through, so a small index needs no count, and the choice is the same.
    """
    if query.exact or (points is not None and chooser(points) == "exact"):
        return "exact"
    most, whole = listed(query.filter)
    if whole or chooser(most) == "exact":
        return chooser(most)
    return chooser(count(query.filter))
