"""Assignment of cities to roles: a region has one role, and roles are separated by a buffer."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from pinpoint.geo.cells import cell_ids
from pinpoint.geo.gazetteer import City, cities, positions
from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon, unit_xyz
from pinpoint.synthetic.presets import BUFFER_M, ROLES, Preset, Role
from pinpoint.synthetic.seeds import rng, uniform

_REGION_RESOLUTION: Final = 2
"""Regions are H3 cells of about 87,000 km² (mean area)."""
_MAX_CITIES_PER_REGION: Final = 4
"""Maximum number of cities per region, so that dense regions do not dominate the planet."""
_MAX_COUNTRY_FRACTION: Final = 0.06
"""Maximum share of one country in the cities of a role."""
REACH_M: Final = 10_000.0
"""Maximum distance of an image from the center of its city."""

SHARES: Final[dict[Role, float]] = {
    "train": 0.42,
    "rerank": 0.16,
    "calibration": 0.09,
    "test": 0.25,
    "null-train": 0.03,
    "null-test": 0.05,
}
"""Probability of each role for a region; the sum is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A city with its role."""

    city: City
    role: Role


def choose_sites(seed: int, preset: Preset) -> tuple[Site, ...]:
    """The cities of a planet; other roles are at least `BUFFER_M` plus two `REACH_M` away.

    The role of a city does not depend on the preset. The preset only sets how many of the candidate
    cities are used, always the first ones.
    """
    chosen: list[Site] = []
    for role in ROLES:
        max_cities = preset.towns[role].cities if role in preset.towns else 0
        max_per_country = max(2, round(max_cities * _MAX_COUNTRY_FRACTION))
        per_country: dict[str, int] = defaultdict(int)
        role_sites: list[Site] = []
        for site in _candidate_sites(seed):
            if len(role_sites) == max_cities:
                break
            if site.role == role and per_country[site.city.country] < max_per_country:
                per_country[site.city.country] += 1
                role_sites.append(site)
        chosen += role_sites
    return tuple(chosen)


@cache
def _candidate_sites(seed: int) -> tuple[Site, ...]:
    """All candidate cities, in seeded order."""
    table, regions = cities(), cell_ids(positions(), (_REGION_RESOLUTION,))[:, 0]
    order = rng(seed, "cities").permutation(len(table))
    per_region: dict[int, int] = defaultdict(int)
    sites: list[Site] = []
    for number in order:
        region = int(regions[number])
        if per_region[region] < _MAX_CITIES_PER_REGION:
            per_region[region] += 1
            sites.append(Site(city=table[number], role=_draw_role(seed, region)))
    return tuple(
        site for site, is_far in zip(sites, _is_far_from_other_roles(sites), strict=True) if is_far
    )


def _draw_role(seed: int, region: int) -> Role:
    remaining = uniform(seed, "role", region)
    for role, fraction in SHARES.items():
        remaining -= fraction
        if remaining < 0:
            return role
    return ROLES[-1]


def _is_far_from_other_roles(sites: list[Site]) -> list[bool]:
    """Whether each site is far from all sites of other roles; of a close pair both are false."""
    xyz = unit_xyz(lat_lon([site.city.point for site in sites]))
    roles = np.array([ROLES.index(site.role) for site in sites])
    # The chord of the arc; cities of one role may be close to each other.
    min_chord = 2.0 * np.sin((BUFFER_M + 2.0 * REACH_M) / (2.0 * EARTH_RADIUS_M))
    is_far = []
    for center, role in zip(xyz, roles, strict=True):
        near = np.square(xyz - center).sum(axis=1) < min_chord * min_chord
        is_far.append(not bool((near & (roles != role)).any()))
    return is_far
