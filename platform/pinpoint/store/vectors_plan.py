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
"""Points the graph keeps in sight: at 128 an organisation that fills the index got 0.988."""


def choose(matched: int) -> Way:
    """The way to search for a filter, from the table below.

    100,000 images of 512 values, one optimised segment, two busy cores: recall@48 against exact
    and median milliseconds with payload (plain and ACORN with 128 points in sight, last with 256):

    | filter                 | matched | exact       | plain HNSW   | ACORN, 128  | ACORN, 256  |
    | organisation           |  58,996 | 1.000 28.6  | 0.972  8.6   | 0.999 17.8  | 1.000 22.4  |
    | + kind                 |  30,933 | 0.999 17.9  | 0.951  7.1   | 0.998 21.0  | 0.997 15.1  |
    | + time range           |  33,092 | 1.000 30.4  | 0.968 10.6   | 1.000 19.0  | 1.000 29.4  |
    | + radius               |  38,695 | 0.999 25.4  | 0.951  8.9   | 0.998 25.1  | 0.999 32.4  |
    | + kind, time, radius   |  11,033 | 1.000 11.4  | 0.948  5.0   | 0.999 29.1  | 0.999 13.7  |
    | organisation of 1 %    |   1,039 | 1.000  0.7  | 1.000  0.7   | 1.000  0.6  |             |
    | 98 % of 20,000         | ~19,600 | 1.000  6.7  | 0.988  3.3   | 0.988  2.7  | 0.997  2.9  |

    On an idle machine exact took 2-9 ms at 100,000 and ACORN 18-91 ms. So exact up to a size,
    whatever the shape: it loses nothing and its answers do not depend on what other organisations
    add. Beyond it ACORN: plain HNSW falls under 0.98 where a filter is narrow, and where none is
    (the last line) it is no quicker, because ACORN then has nothing to look past. There the points
    in sight decide, so they are 256. `tests/trials/test_recall.py` prints such a table.

    Args:
        matched: Images the filter lets through, counted and not estimated: an estimate of several
            conditions depends on what others store.
    """
    return "exact" if matched < EXACT_BELOW else "acorn"


def way(
    query: IndexQuery,
    chooser: Chooser,
    count: Callable[[IndexFilter], int],
    points: int | None = None,
) -> Way:
    """The way for one question; `exact` cannot be overruled and costs no count.

    Args:
        query: What is asked.
        chooser: Usually `choose`.
        count: Exact number of live points under a filter.
        points: Size of the whole index, where it is known without asking: no filter lets more
            through, so a small index needs no count, and the choice is the same.
    """
    if query.exact or (points is not None and chooser(points) == "exact"):
        return "exact"
    return chooser(count(query.filter))
