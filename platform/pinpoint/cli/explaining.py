"""What `pinpoint locate --explain` prints: whom the ranker moved, and what it looked at."""

from __future__ import annotations

from typing import Any, Final

from pinpoint.cli import output
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point

_ATTENDED: Final = 3
"""Photos of evidence shown of a candidate."""
_LEAST_ATTENTION: Final = 0.01


def show_explanation(answer: dict[str, Any]) -> None:
    """Print where retrieval had each candidate, where the ranker has it, and what it attended to.

    Args:
        answer: As the API gives it.
    """
    candidates = answer["candidates"]
    if not candidates:
        return
    reranked = answer["null_score"] is not None
    columns = [">rank", ">was", ">moved", ">mass", ">support", "kind", "file", "source"]
    columns += ["nearest place", "image"]
    columns += [">score", ">refined by"] if reranked else []
    rows = [
        (
            rank,
            one["rank"],
            _moved(one["rank"] - rank),
            f"{one['mass']:.3f}",
            f"{one['support']:.0%}",
            one["kind"],
            one["file_name"],
            one["source"],
            output.place(one["nearest_place"]),
            one["image_id"],
            *((f"{one['rerank_score']:.2f}", _refined(one)) if reranked else ()),
        )
        for rank, one in enumerate(candidates)
    ]
    output.table(f"by {answer['ranker']}, before by retrieval", columns, rows)
    if reranked:
        output.say(f"score of none of these: {answer['null_score']:.2f}")
        _show_attention(candidates)


def _show_attention(candidates: list[dict[str, Any]]) -> None:
    rows = [
        (
            rank,
            f"{near['attention']:.0%}",
            near["kind"],
            near["file_name"],
            near["source"],
            output.place(near["nearest_place"]),
            near["image_id"],
            f"{near['distance_m']:.0f}",
            f"{near['similarity']:.3f}",
        )
        for rank, one in enumerate(candidates)
        for near in sorted(one["evidence"], key=lambda near: -near["attention"])[:_ATTENDED]
        if near["attention"] >= _LEAST_ATTENTION
    ]
    columns = (">rank", ">attention", "kind", "file", "source", "nearest place", "evidence")
    title = "what each candidate's evidence was attended to"
    output.table(title, (*columns, ">distance m", ">similarity"), rows)


def _moved(places: int) -> str:
    return f"{places:+d}" if places else "="


def _refined(one: dict[str, Any]) -> str:
    """How far the better place lies from the candidate's own."""
    to = one["refined"]
    away_m = geodesic_m(Point(one["lat"], one["lon"]), Point(to["lat"], to["lon"]))
    return output.length(away_m)
