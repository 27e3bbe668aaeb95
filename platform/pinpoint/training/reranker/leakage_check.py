"""Leakage check: whether the number of evidence photos reveals the ground truth.

A query's own creator and sequence are excluded from its evidence. If that leaves empty evidence
slots near the ground truth, and few elsewhere, a network can count slots instead of comparing
images. Measured on the synthetic planet with as many slots as a locality has photos: two thirds of
the gap to the oracle closed on validation, and less than zero on queries without exclusions.
Letters: N queries, K candidates, E evidence photos of a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pinpoint.geo.distance import haversine_m
from pinpoint.nets.reranker.inputs import InputRow
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.reranker.examples import IN_GALLERY_RADIUS_M

NEAR_GROUND_TRUTH: Final = "near_ground_truth"
ELSEWHERE: Final = "elsewhere"
WARNING_DIFFERENCE: Final = 0.05
"""Difference of shares above which a warning is given: counting then reveals the ground truth for
that share of queries."""


def short_evidence_shares(rows: InputRow) -> Mapping[str, Mapping[str, float]]:
    """Share of candidates with empty evidence slots of the query's own kind.

    Args:
        rows: `[N]` of `examples.example_type`, after exclusions in the other localities.

    Returns:
        By kind of the query: the share within 25 km of the ground truth and elsewhere. Kinds
        without queries, or without candidates on both sides, are omitted.
    """
    is_near = haversine_m(rows["position"], rows["ground_truth"][:, None]) <= IN_GALLERY_RADIUS_M
    per_kind = rows["evidence_present"].shape[-1] // len(SOURCE_KINDS)
    shares: dict[str, dict[str, float]] = {}
    for code, kind in enumerate(SOURCE_KINDS):
        present = rows["present"] & (rows["query_kind"] == code)[:, None]
        filled = rows["evidence_present"][..., code * per_kind : (code + 1) * per_kind]
        sides = {NEAR_GROUND_TRUTH: present & is_near, ELSEWHERE: present & ~is_near}
        if all(side.any() for side in sides.values()):
            shares[kind] = {
                name: float((~filled[side].all(-1)).mean()) for name, side in sides.items()
            }
    return shares


def leakage_warning(shares_by_kind: Mapping[str, Mapping[str, float]]) -> str | None:
    """The warning to show, or None.

    Args:
        shares_by_kind: Result of `short_evidence_shares`.
    """
    differing = [
        f"{kind} {shares[NEAR_GROUND_TRUTH]:.0%} and {shares[ELSEWHERE]:.0%}"
        for kind, shares in shares_by_kind.items()
        if abs(shares[NEAR_GROUND_TRUTH] - shares[ELSEWHERE]) > WARNING_DIFFERENCE
    ]
    if not differing:
        return None
    return (
        "possible label leak: the shares of candidates with empty evidence slots at the true "
        f"location and elsewhere differ ({', '.join(differing)}), because creators and sequences "
        "are excluded in training and not in serving; lower gallery.evidence_per_kind"
    )
