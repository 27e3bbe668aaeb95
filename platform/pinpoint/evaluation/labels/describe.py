"""Statistics of a labeled set, without any search: `pinpoint evaluate … --summarize-labels`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinpoint.evaluation.labels.labels import LabeledQueries, LabeledQuery


def describe_labels(labeled: LabeledQueries) -> dict[str, Any]:
    """Counts, ranges and clustering of a labeled set, ready for JSON.

    The clustering limits how narrow an interval can be: photos by one creator or at one exact
    coordinate are not independent observations.

    Returns:
        `rows` = `queries` + the sum of `dropped`. Ranges are `[minimum, maximum]` degrees, None
        without queries. Shares are fractions of the queries, in [0, 1].
    """
    protocol, queries = labeled.protocol, labeled.queries
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "label_format": protocol.label_format,
        "license": protocol.license,
        "convention": protocol.convention,
        "expected_rows": protocol.num_labels,
        "released_images": protocol.num_released_images,
        "rows": labeled.rows,
        "queries": len(queries),
        "dropped": dict(labeled.dropped),
        "latitude_deg": _value_range(query.ground_truth.lat for query in queries),
        "longitude_deg": _value_range(query.ground_truth.lon for query in queries),
        "creators": _group_counts(query.creator for query in queries),
        "sequences": _group_counts(query.sequence for query in queries),
        "coordinates": _coordinate_counts(queries),
        "query_kinds": _value_counts(query.query_kind for query in queries),
        "areas": {level: _area_counts(queries, level) for level in protocol.areas},
        "strata": _strata_counts(queries),
        "notes": list(labeled.notes),
    }


def _value_range(values: Iterable[float]) -> list[float] | None:
    numbers = list(values)
    return [min(numbers), max(numbers)] if numbers else None


def _group_counts(names: Iterable[str | None]) -> dict[str, int]:
    """Number of groups, size of the largest group, and number of queries without a group."""
    counts = Counter(names)
    unknown = counts.pop(None, 0)
    return {"number": len(counts), "largest": max(counts.values(), default=0), "unknown": unknown}


def _coordinate_counts(queries: Sequence[LabeledQuery]) -> dict[str, float | int]:
    """Number of distinct coordinates, and of photos that share their exact coordinate."""
    counts = Counter(query.ground_truth for query in queries)
    sharing = sum(count for count in counts.values() if count > 1)
    return {
        "different": len(counts),
        "photos_sharing": sharing,
        "share_sharing": sharing / len(queries) if queries else 0.0,
        "most_at_one": max(counts.values(), default=0),
    }


def _value_counts(values: Iterable[str | None]) -> dict[str, int]:
    """Value → number of queries, largest first; `unknown` counts queries without a value."""
    counts = Counter("unknown" if value is None else value for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _area_counts(queries: Sequence[LabeledQuery], level: str) -> dict[str, int]:
    """Both denominators of a level, and the number of different areas."""
    labels = [label for query in queries if (label := query.areas[level]) is not None]
    return {
        "as_released": len(queries),
        "labeled": len(labels),
        "different": len(set(labels)),
    }


def _strata_counts(queries: Sequence[LabeledQuery]) -> Mapping[str, Mapping[str, int]]:
    """Stratum → value → number of queries; `unknown` counts queries without a value."""
    names = sorted({name for query in queries for name in query.strata})
    return {name: _value_counts(query.strata.get(name) for query in queries) for name in names}
