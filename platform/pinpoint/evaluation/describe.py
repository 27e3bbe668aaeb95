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
    protocol, questions = labelled.protocol, labelled.questions
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "label_format": protocol.label_format,
        "licence": protocol.licence,
        "convention": protocol.convention,
        "expected_rows": protocol.denominator,
        "released_images": protocol.released,
        "rows": labelled.rows,
        "questions": len(questions),
        "dropped": dict(labelled.dropped),
        "latitude_deg": _range(question.truth.lat for question in questions),
        "longitude_deg": _range(question.truth.lon for question in questions),
        "authors": _groups(question.creator for question in questions),
        "sequences": _groups(question.sequence for question in questions),
        "coordinates": _coordinates(questions),
        "kinds": _counts(question.kind for question in questions),
        "areas": {level: _area(questions, level) for level in protocol.areas},
        "strata": _strata(questions),
        "notes": list(labelled.notes),
    }


def _range(values: Iterable[float]) -> list[float] | None:
    found = list(values)
    return [min(found), max(found)] if found else None


def _groups(names: Iterable[str | None]) -> dict[str, int]:
    """How many there are, how many questions the largest has, and how many name none."""
    counts = Counter(names)
    unknown = counts.pop(None, 0)
    return {"number": len(counts), "largest": max(counts.values(), default=0), "unknown": unknown}


def _coordinates(questions: Sequence[Question]) -> dict[str, float | int]:
    """How many photos stand at exactly the coordinate of another one."""
    counts = Counter(question.truth for question in questions)
    sharing = sum(count for count in counts.values() if count > 1)
    return {
        "different": len(counts),
        "photos_sharing": sharing,
        "share_sharing": sharing / len(questions) if questions else 0.0,
        "most_at_one": max(counts.values(), default=0),
    }


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    """Value → questions, most first; what names none is `unknown`."""
    counts = Counter("unknown" if value is None else value for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _area(questions: Sequence[Question], level: str) -> dict[str, int]:
    """Both denominators of a level, and how many different areas there are."""
    labels = [label for question in questions if (label := question.areas[level]) is not None]
    return {
        "as_released": len(questions),
        "labelled": len(labels),
        "different": len(set(labels)),
    }


def _strata(questions: Sequence[Question]) -> Mapping[str, Mapping[str, int]]:
    """Stratum → value → questions; `unknown` counts those without a value."""
    names = sorted({name for question in questions for name in question.strata})
    return {name: _counts(question.strata.get(name) for question in questions) for name in names}
