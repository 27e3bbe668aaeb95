"""The candidate-slot rule as plain loops over hits: the oracle of `search.candidate_slots`."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from pinpoint.geo.distance import haversine_m


def slots_by_loop(image, gps, slots, dedupe_m, raw=None) -> set[UUID]:
    """Ids of the hits that get a slot, in rounds over all hits.

    `image`, `gps` and `raw` are lists of hits for each kind; the last two are None if they were not
    searched.
    """
    selected = []
    gps_quota = 0 if gps is None else slots.gps_quota
    raw_quota = 0 if raw is None else slots.raw_quota
    rounds = [(image, slots.candidates - gps_quota - raw_quota)]
    if gps is not None:
        rounds.append((gps, slots.candidates - raw_quota))
    if raw is not None:
        rounds.append((raw, slots.candidates))
    rounds.append((image, slots.candidates))
    for answers, until in rounds:
        new_by_kind = []
        for hits in answers:
            new = []
            for hit in sorted(hits, key=lambda entry: (-entry.score, entry.id)):
                if any(hit.id == other.id for other in selected):
                    continue
                if not any(_is_redundant(hit, other, dedupe_m) for other in [*selected, *new]):
                    new.append(hit)
            new_by_kind.append(new)
        free = until - len(selected)
        reserved = [hit for new in new_by_kind for hit in new[: free // (2 * len(answers))]]
        rest = [hit for new in new_by_kind for hit in new if hit not in reserved]
        rest.sort(key=lambda entry: (-entry.score, entry.id))
        selected += reserved + rest[: free - len(reserved)]
    return {hit.id for hit in selected}


def _is_redundant(hit, other, dedupe_m) -> bool:
    at_hit, at_other = (np.array([entry.point.lat, entry.point.lon]) for entry in (hit, other))
    same_group = hit.kind == other.kind and hit.group == other.group
    return same_group and haversine_m(at_hit, at_other) < dedupe_m
