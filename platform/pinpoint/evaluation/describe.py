"""What a labelled set is made of, before anything is asked: `pinpoint evaluate … --describe`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pinpoint.evaluation.labels import Labelled, Question


def describe(labelled: Labelled) -> dict[str, object]:
    """Counts, ranges and clustering of a labelled set, ready for JSON.

    The clustering says what an interval may rest on: photos of one author or of one exact
    coordinate are no independent observations.

    Returns:
        `rows` = `questions` + the sum of `dropped`. Ranges are `[least, greatest]` degrees, None
        without a question. Shares are of the questions, in [0, 1].
    """
    protocol, queries = labelled.protocol, labelled.questions
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "label_format": protocol.label_format,
        "licence": protocol.licence,
        "convention": protocol.convention,
        "expected_rows": protocol.denominator,
        "released_images": protocol.released,
        "rows": labelled.rows,
        "questions": len(queries),
        "dropped": dict(labelled.dropped),
        "latitude_deg": _value_range(query.truth.lat for query in queries),
        "longitude_deg": _value_range(query.truth.lon for query in queries),
        "authors": _group_counts(query.creator for query in queries),
        "sequences": _group_counts(query.sequence for query in queries),
        "coordinates": _coordinate_counts(queries),
        "kinds": _value_counts(query.kind for query in queries),
        "areas": {level: _area_counts(queries, level) for level in protocol.areas},
        "strata": _strata_counts(queries),
        "notes": list(labelled.notes),
    }


def _value_range(values: Iterable[float]) -> list[float] | None:
    numbers = list(values)
    return [min(numbers), max(numbers)] if numbers else None


def _group_counts(names: Iterable[str | None]) -> dict[str, int]:
    """How many there are, how many questions the largest has, and how many name none."""
    counts = Counter(names)
    unknown = counts.pop(None, 0)
    return {"number": len(counts), "largest": max(counts.values(), default=0), "unknown": unknown}


def _coordinate_counts(queries: Sequence[Question]) -> dict[str, float | int]:
    """How many photos stand at exactly the coordinate of another one."""
    counts = Counter(query.truth for query in queries)
    sharing = sum(count for count in counts.values() if count > 1)
    return {
        "different": len(counts),
        "photos_sharing": sharing,
        "share_sharing": sharing / len(queries) if queries else 0.0,
        "most_at_one": max(counts.values(), default=0),
    }


def _value_counts(values: Iterable[str | None]) -> dict[str, int]:
    """Value → questions, most first; what names none is `unknown`."""
    counts = Counter("unknown" if value is None else value for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _area_counts(queries: Sequence[Question], level: str) -> dict[str, int]:
    """Both denominators of a level, and how many different areas there are."""
    labels = [label for query in queries if (label := query.areas[level]) is not None]
    return {
        "as_released": len(queries),
        "labelled": len(labels),
        "different": len(set(labels)),
    }


def _strata_counts(queries: Sequence[Question]) -> Mapping[str, Mapping[str, int]]:
    """Stratum → value → questions; `unknown` counts those without a value."""
    names = sorted({name for query in queries for name in query.strata})
    return {name: _value_counts(query.strata.get(name) for query in queries) for name in names}
