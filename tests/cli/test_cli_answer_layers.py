"""Answers of several queries as one GeoJSON layer."""

from __future__ import annotations

from typing import Any

from pinpoint.cli.answer_layers import merge_answers


def feature(feature_type):
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [2.35, 48.85]},
        "properties": {"feature_type": feature_type},
    }


def test_merge_answers_keeps_features_foreign_members_and_errors():
    layer = {"type": "FeatureCollection", "bundle": {"name": "descriptor"}}
    error = {"reason": "bad_photo", "detail": "x.jpg: not an image"}
    answers: list[dict[str, Any]] = [
        {
            "photos": ["a.jpg", "b.jpg"],
            "answer": {**layer, "features": [feature("candidate"), feature("point")]},
            "error": None,
        },
        {"photos": ["x.jpg"], "answer": None, "error": error},
        {"photos": ["c.jpg"], "answer": {**layer, "features": []}, "error": None},
    ]
    merged = merge_answers(answers)
    assert merged["type"] == "FeatureCollection"
    properties = [entry["properties"] for entry in merged["features"]]
    assert properties == [
        {"photo": "a.jpg, b.jpg", "feature_type": "candidate"},
        {"photo": "a.jpg, b.jpg", "feature_type": "point"},
    ]
    assert merged["answers"] == [
        {"photos": ["a.jpg", "b.jpg"], "error": None, "bundle": {"name": "descriptor"}},
        {"photos": ["x.jpg"], "error": error},
        {"photos": ["c.jpg"], "error": None, "bundle": {"name": "descriptor"}},
    ]
    assert answers[0]["answer"]["features"], "the answers are not changed"
