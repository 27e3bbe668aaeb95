"""Whether what is kept from a question shows where it was taken.

A question's own author and sequence are no evidence for it. Where that leaves sets with empty seats
near the truth while they are full elsewhere, a network need not look at pictures: it counts. Seen
on the synthetic planet with as many seats as a town has photos: two thirds of the gap to the oracle
closed on validation, and less than nothing on questions from which nothing had to be kept.
Letters: N questions, K candidates, E evidence photos of a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pinpoint.geo.distance import haversine_m
from pinpoint.nets.rerank_inputs import Row
from pinpoint.records import KINDS
from pinpoint.training.examples import SUPPORT_M

NEAR: Final = "near the truth"
ELSEWHERE: Final = "elsewhere"
MUCH: Final = 0.05
"""A difference beyond this is worth a word: of so many questions the counting tells the answer."""


def short_evidence(rows: Row) -> Mapping[str, Mapping[str, float]]:
    """Share of candidates whose evidence of the question's own kind leaves seats empty.

    Args:
        rows: `[N]` of `examples.example_type`, after other towns have lost theirs.

    Returns:
        By kind of the question, within 25 km of the truth and elsewhere; kinds that nobody asked
        about, or without candidates on both sides, are left out.
    """
    near = haversine_m(rows["position"], rows["truth"][:, None]) <= SUPPORT_M
    per_kind = rows["near_present"].shape[-1] // len(KINDS)
    found = {}
    for code, kind in enumerate(KINDS):
        there = rows["present"] & (rows["query_kind"] == code)[:, None]
        seats = rows["near_present"][..., code * per_kind : (code + 1) * per_kind]
        sides = {NEAR: there & near, ELSEWHERE: there & ~near}
        if all(side.any() for side in sides.values()):
            found[kind] = {
                name: float((~seats[side].all(-1)).mean()) for name, side in sides.items()
            }
    return found


def warning(found: Mapping[str, Mapping[str, float]]) -> str | None:
    """What to say of it, if anything."""
    seen = [
        f"{kind} {own[NEAR]:.0%} and {own[ELSEWHERE]:.0%}"
        for kind, own in found.items()
        if abs(own[NEAR] - own[ELSEWHERE]) > MUCH
    ]
    if not seen:
        return None
    return (
        "near the truth evidence leaves seats empty more often, or less, than elsewhere "
        f"({', '.join(seen)}), because authors and sequences are left out: the network can tell "
        "the truth by that, and will not in serving; set a lower gallery.evidence_per_kind"
    )
