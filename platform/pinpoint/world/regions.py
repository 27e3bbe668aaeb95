"""Which city serves which purpose: whole regions have one role, and a strip between stays empty."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from pinpoint.geo.cells import cell_ids
from pinpoint.geo.gazetteer import City, cities, positions
from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.world.presets import BUFFER_M, ROLES, Preset, Role
from pinpoint.world.seeds import rng, share

_REGION_RESOLUTION: Final = 2
"""H3 cells of about 87,000 km² (mean area) are the regions."""
_MAX_CITIES_PER_REGION: Final = 4
"""Cities chosen of one region at most: crowded regions must not decide what the planet shows."""
_MAX_COUNTRY_FRACTION: Final = 0.06
"""Share of all cities that one country may have."""
REACH_M: Final = 10_000.0
"""Nothing of a city lies further from its centre."""

SHARES: Final[dict[Role, float]] = {
    "train": 0.42,
    "rerank": 0.16,
    "calibration": 0.09,
    "test": 0.25,
    "null-train": 0.03,
    "null-test": 0.05,
}
"""Chance of a region to have a role; the sum is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A city with its role."""

    city: City
    role: Role


def choose_sites(seed: int, preset: Preset) -> tuple[Site, ...]:
    """The cities of a planet, each at least `BUFFER_M` and two reaches from any of another role.

    Which city has which role does not depend on the preset; the preset only says how many of the
    possible ones are taken, always the same first ones.
    """
    chosen: list[Site] = []
    for role in ROLES:
        max_cities = preset.towns[role].cities if role in preset.towns else 0
        max_per_country = max(2, round(max_cities * _MAX_COUNTRY_FRACTION))
        per_country: dict[str, int] = defaultdict(int)
        of_role: list[Site] = []
        for site in _candidate_sites(seed):
            if len(of_role) == max_cities:
                break
            if site.role == role and per_country[site.city.country] < max_per_country:
                per_country[site.city.country] += 1
                of_role.append(site)
        chosen += of_role
    return tuple(chosen)


@cache
def _candidate_sites(seed: int) -> tuple[Site, ...]:
    """Every city that could be taken, in seeded order."""
    table, regions = cities(), cell_ids(positions(), (_REGION_RESOLUTION,))[:, 0]
    order = rng(seed, "cities").permutation(len(table))
    per_region: dict[int, int] = defaultdict(int)
    drawn: list[Site] = []
    for number in order:
        region = int(regions[number])
        if per_region[region] < _MAX_CITIES_PER_REGION:
            per_region[region] += 1
            drawn.append(Site(city=table[number], role=_draw_role(seed, region)))
    return tuple(
        site for site, alone in zip(drawn, _is_far_from_other_roles(drawn), strict=True) if alone
    )


def _draw_role(seed: int, region: int) -> Role:
    chance = share(seed, "role", region)
    for role, part in SHARES.items():
        chance -= part
        if chance < 0:
            return role
    return ROLES[-1]


def _is_far_from_other_roles(drawn: list[Site]) -> list[bool]:
    """Whether a site keeps its distance from all of other roles; where two do not, both go."""
    xyz = unit_xyz(lat_lon([site.city.point for site in drawn]))
    roles = np.array([ROLES.index(site.role) for site in drawn])
    # The chord of the arc; cities of one role may be neighbours.
    nearest = 2.0 * np.sin((BUFFER_M + 2.0 * REACH_M) / (2.0 * EARTH_RADIUS_M))
    alone = []
    for center, role in zip(xyz, roles, strict=True):
        near = np.square(xyz - center).sum(axis=1) < nearest * nearest
        alone.append(not bool((near & (roles != role)).any()))
    return alone
