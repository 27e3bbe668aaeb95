"""Output of `pinpoint locate --explain`: rank changes by the ranker and its attention."""

from __future__ import annotations

from typing import Any, Final

from pinpoint.cli import output
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point

_MAX_EVIDENCE_SHOWN: Final = 3
"""Evidence images shown per candidate."""
_MIN_ATTENTION: Final = 0.01


def show_explanation(answer: dict[str, Any]) -> None:
    """Print each candidate's rank by retrieval and by the ranker, and the attention on evidence.

    Args:
        answer: Answer of the API.
    """
    candidates = answer["candidates"]
    if not candidates:
        return
    reranked = answer["null_score"] is not None
    columns = [">rank", ">retrieval rank", ">change", ">mass", ">support", "kind", "file", "source"]
    columns += ["nearest place", "image"]
    columns += [">score", ">refined by"] if reranked else []
    rows = [
        (
            rank,
            candidate["rank"],
            _format_move(candidate["rank"] - rank),
            f"{candidate['mass']:.3f}",
            f"{candidate['support']:.0%}",
            candidate["kind"],
            candidate["file_name"],
            candidate["source"],
            output.format_place(candidate["nearest_place"]),
            candidate["image_id"],
            *(
                (f"{candidate['rerank_score']:.2f}", _format_refinement(candidate))
                if reranked
                else ()
            ),
        )
        for rank, candidate in enumerate(candidates)
    ]
    output.print_table(f"candidates in the order of the ranker `{answer['ranker']}`", columns, rows)
    if reranked:
        output.print_line(f"score of no match: {answer['null_score']:.2f}")
        _show_attention(candidates)


def _show_attention(candidates: list[dict[str, Any]]) -> None:
    rows = [
        (
            rank,
            f"{evidence['attention']:.0%}",
            evidence["kind"],
            evidence["file_name"],
            evidence["source"],
            output.format_place(evidence["nearest_place"]),
            evidence["image_id"],
            f"{evidence['distance_m']:.0f}",
            f"{evidence['similarity']:.3f}",
        )
        for rank, candidate in enumerate(candidates)
        for evidence in sorted(candidate["evidence"], key=lambda evidence: -evidence["attention"])[
            :_MAX_EVIDENCE_SHOWN
        ]
        if evidence["attention"] >= _MIN_ATTENTION
    ]
    columns = (">rank", ">attention", "kind", "file", "source", "nearest place", "evidence")
    title = "attention on the evidence of each candidate"
    output.print_table(title, (*columns, ">distance m", ">similarity"), rows)


def _format_move(change: int) -> str:
    return f"{change:+d}" if change else "="


def _format_refinement(candidate: dict[str, Any]) -> str:
    """Format the distance between the candidate and its refined position."""
    refined = candidate["refined"]
    distance_m = geodesic_m(
        Point(candidate["lat"], candidate["lon"]), Point(refined["lat"], refined["lon"])
    )
    return output.format_length(distance_m)
