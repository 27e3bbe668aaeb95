"""Naive implementations of the mixture's mathematics over all pairs: slow oracles for the tests.

Letters: M kernels, N positions, B boxes.
"""

from __future__ import annotations

import numpy as np

from pinpoint.geo import hdr, kernels
from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.gazetteer import cities, positions
from pinpoint.geo.kernels import EARTH_RADIUS_KM, kappa
from pinpoint.geo.points import unit_xyz

STEPS = 16


def log_density(mixture, places):
    """Log density of the mixture at each place, as a sum over all kernels: `[N]`."""
    away_km = pairwise_m(places, mixture.centers) / 1_000.0
    log_densities = kernels.log_kernel(away_km, mixture.radii_km) + np.log(mixture.weights)
    return np.logaddexp.reduce(log_densities, axis=1)


def disc_mass(angle, radius_km):
    """Mass of a kernel within an angle of its center, by the textbook formula."""
    k = float(kappa(radius_km))
    return np.expm1(-2.0 * k * np.sin(angle / 2.0) ** 2) / np.expm1(-2.0 * k)


def mass_within(mixture, point, radius_km):
    """Mass of the mixture in a disc, by a loop over kernels."""
    r, x = radius_km / EARTH_RADIUS_KM, (np.arange(STEPS) + 0.5) / STEPS * np.pi
    total = 0.0
    for center, radius, weight in zip(
        mixture.centers, mixture.radii_km, mixture.weights, strict=True
    ):
        d = float(haversine_m(point, center)) / 1_000.0 / EARTH_RADIUS_KM
        low, high = abs(r - d), min(r + d, 2.0 * np.pi - r - d)
        from_low, to_high = (float(disc_mass(at, radius)) for at in (low, high))
        mass = from_low + (to_high - from_low) * (0.5 - 0.5 * np.cos(x))
        ring = np.clip(kernels.disc_km(mass, radius) / EARTH_RADIUS_KM, low, high)
        over = np.maximum(np.sin(ring) * np.sin(d), 1e-300)
        arc = np.arccos(np.clip((np.cos(r) - np.cos(ring) * np.cos(d)) / over, -1, 1)) / np.pi
        mass_inside = (to_high - from_low) * np.pi / (2 * STEPS) * float((arc * np.sin(x)).sum())
        mass_inside += from_low * (d <= r) + (1.0 - to_high) * (r + d > np.pi)
        total += weight * min(max(mass_inside, 0.0), 1.0)
    return total


def radius_for_mass_km(mixture, point, share):
    low, high = np.log(1e-3), np.log(np.pi * EARTH_RADIUS_KM)
    for _ in range(18):
        middle = (low + high) / 2
        enough = mass_within(mixture, point, np.exp(middle)) >= share
        low, high = (low, middle) if enough else (middle, high)
    return np.exp(high)


def boxes_above(mixture, log_level):
    """Boxes above a density level, with bounds from all kernels that are not negligible."""
    level, peak = np.exp(log_level), kernels.peak_densities(mixture)
    order = np.argsort(peak)
    loud = order[np.cumsum(peak[order]) > hdr._NEGLIGIBLE_SHARE * level]
    centers, k, peak = unit_xyz(mixture.centers[loud]), kappa(mixture.radii_km[loud]), peak[loud]

    def density(chords):
        with np.errstate(under="ignore"):
            return np.exp(chords**2 * k / -2.0) @ peak

    waiting, kept, seen = hdr._make_root_boxes(), [], 0
    for cut in range(hdr._MAX_SUBDIVISIONS):
        seen += len(waiting)
        south, west, north, east = waiting.T
        middle = unit_xyz(np.stack([(south + north) / 2, (west + east) / 2], axis=1))
        corners = [unit_xyz(np.stack(pair, axis=1)) for pair in ((south, west), (north, west))]
        reach = np.max([np.linalg.norm(middle - corner, axis=1) for corner in corners], axis=0)[
            :, None
        ]
        away = np.linalg.norm(middle[:, None] - centers, axis=2)
        least, most = density(np.minimum(away + reach, 2)), density(np.maximum(away - reach, 0))
        unsure = (least < level) & (most >= level) & (most > hdr._UNIFORM_RATIO * least)
        unsure &= not (cut == hdr._MAX_SUBDIVISIONS - 1 or seen > hdr._MAX_BOXES)
        kept.append(waiting[(density(away) >= level) & ~unsure])
        waiting = hdr._subdivide_boxes(waiting[unsure])
    return np.concatenate(kept)


def nearest(point):
    """The nearest city by linear search."""
    return cities()[int(np.argmin(haversine_m(positions(), point)))]
