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
    reranked = answer["no_match_logit"] is not None
    columns = [
        ">rank",
        ">retrieval rank",
        ">change",
        ">weight",
        ">evidence share",
        "source kind",
        "file",
        "source",
    ]
    columns += ["nearest place", "image"]
    columns += [">logit", ">refined by"] if reranked else []
    rows = [
        (
            rank,
            candidate["rank"],
            _format_move(candidate["rank"] - rank),
            f"{candidate['weight']:.3f}",
            f"{candidate['evidence_share']:.0%}",
            candidate["source_kind"],
            candidate["file_name"],
            candidate["source"],
            output.format_place(candidate["nearest_place"]),
            candidate["image_id"],
            *(
                (f"{candidate['rerank_logit']:.2f}", _format_refinement(candidate))
                if reranked
                else ()
            ),
        )
        for rank, candidate in enumerate(candidates)
    ]
    output.print_table(f"candidates in the order of the ranker `{answer['ranker']}`", columns, rows)
    if reranked:
        output.print_line(f"logit of no match: {answer['no_match_logit']:.2f}")
        _show_attention(candidates)
    if answer["explanation"] is not None:
        _show_dropped(answer["explanation"])


def _show_dropped(explanation: dict[str, Any]) -> None:
    """Print why images that the index returned are no candidates."""
    rows = [
        (
            dropped["drop_reason"].replace("_", " "),
            dropped["source_kind"],
            min(score["rank"] for score in dropped["channels"].values()),
            f"{max(score['score'] for score in dropped['channels'].values()):.3f}",
            dropped["kept_image_id"],
            dropped["image_id"],
        )
        for dropped in explanation["dropped"]
    ]
    columns = ("reason", "source kind", ">best rank", ">best score", "kept instead", "image")
    title = f"dropped images: {explanation['num_dropped']}, of which {len(rows)} are shown"
    output.print_table(title, columns, rows)


def _show_attention(candidates: list[dict[str, Any]]) -> None:
    rows = [
        (
            rank,
            f"{evidence['attention']:.0%}",
            evidence["source_kind"],
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
    columns = (">rank", ">attention", "source kind", "file", "source", "nearest place", "evidence")
    title = "attention on the evidence of each candidate"
    output.print_table(title, (*columns, ">distance m", ">similarity"), rows)


def _format_move(change: int) -> str:
    return f"{change:+d}" if change else "="


def _format_refinement(candidate: dict[str, Any]) -> str:
    """Format the distance between the candidate and its refined position."""
    refined = candidate["refined_position"]
    distance_m = geodesic_m(
        Point(candidate["lat"], candidate["lon"]), Point(refined["lat"], refined["lon"])
    )
    return output.format_length(distance_m)
