"""Answers of several queries as one GeoJSON layer (`pinpoint locate --geojson`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def merge_answers(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the FeatureCollections of several queries to one.

    Args:
        answers: `photos`, `answer` (a FeatureCollection, or None) and `error` of each query.

    Returns:
        A FeatureCollection whose features have the property `photo`. Its member `answers` has the
        foreign members of each answer.
    """
    features, members = [], []
    for entry in answers:
        answer = dict(entry["answer"] or {})
        photo = ", ".join(entry["photos"])
        features += [
            {**feature, "properties": {"photo": photo, **feature["properties"]}}
            for feature in answer.pop("features", [])
        ]
        answer.pop("type", None)
        members.append({"photos": entry["photos"], "error": entry["error"], **answer})
    return {"type": "FeatureCollection", "features": features, "answers": members}
