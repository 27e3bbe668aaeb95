"""Retrieval by an oracle observer that compares images in pairs, as the search does.

It reads the visible factors of an image with the image's own noise, and misreads each factor by
`blur` standard deviations. It knows the distribution of factors and the noise of each kind, and
ranks by the likelihood ratio of one location against two. It does not pool several images of a
city, and does not know that regions without a gallery share country and climate with those that
have one. So it is a reference for embedders and no upper bound for rerankers.
`pinpoint bench planet --eye` makes the table in docs/results.md.
Letters: N images, Q queries, G gallery images, F factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from reference_tables import table

from pinpoint.arrays import Flags
from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.metrics.abstention import abstention_auroc
from pinpoint.synthetic.appearance import Appearance
from pinpoint.synthetic.capture_patterns import Shot
from pinpoint.synthetic.draws import Draws
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS, WIDTH, latent_factors
from pinpoint.synthetic.presets import GENERATOR, PRESETS, Preset, preset_digest
from pinpoint.synthetic.shot_rendering import draw_shot_noise, scene_appearance
from trials.planet.planet_images import apart_km, best_columns, plan_shots

BLURS = (0.0, 0.3, 0.6, 1.0)
KINDS = ("photo", "street")
_MIXED = [
    *range(LATENT_COLUMNS["corner"].start, LATENT_COLUMNS["corner"].start + 4),
    *range(LATENT_COLUMNS["corner"].start + 8, LATENT_COLUMNS["corner"].stop),
]
"""Corner factors that are visible only in a sum that depends on the heading; left out."""
_FAR = slice(0, LATENT_COLUMNS["corner"].start)
"""Factors that a location shares with its whole city."""
_AT_ONCE, _DEPTH, _NEAR_KM = 500, 48, 25.0
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What the observer has read in N images."""

    values: np.ndarray
    """`[N, F]`."""
    seen: np.ndarray
    """Which factors are visible, `[N, F]`."""
    spread: np.ndarray
    """Error of the values in standard deviations of the factors, `[N]`."""
    shots: list[Shot]
    xyz: np.ndarray

    def rows(self, *, use: str, role: str, kind: str | None = None) -> np.ndarray:
        return np.array(
            [
                row
                for row, shot in enumerate(self.shots)
                if shot.use == use and shot.site.role == role and kind in (None, shot.kind)
            ],
            dtype=np.intp,
        )

    @property
    def shows(self) -> np.ndarray:
        """Whether an image shows any factor of its location, `[N]`."""
        return np.asarray(self.seen.any(axis=1))


def read(seed: int, preset: Preset, shots: list[Shot]) -> Readings:
    """Read the factors of images exactly, without rendering them."""
    values, seen = [], []
    for first in range(0, len(shots), 2_048):
        part = shots[first : first + 2_048]
        countries = [shot.site.city.country for shot in part]
        own = latent_factors(seed, lat_lon([shot.point for shot in part]), countries)
        # The first noise that `looks` takes is that of the factors.
        values.append(
            own
            + _noise(preset, part)[:, None] * Draws(*draw_shot_noise(seed, part)).normal(1.0, WIDTH)
        )
        seen.append(visible(scene_appearance(seed, part, preset)))
    return Readings(
        values=np.concatenate(values),
        seen=np.concatenate(seen),
        spread=_noise(preset, shots),
        shots=shots,
        xyz=unit_xyz(lat_lon([shot.point for shot in shots])),
    )


def blurred(readings: Readings, blur: float, seed: int) -> Readings:
    """The readings with independent errors of `blur` standard deviations."""
    missed = np.random.default_rng(seed).standard_normal(readings.values.shape).astype(np.float32)
    return replace(
        readings, values=readings.values + blur * missed, spread=np.hypot(readings.spread, blur)
    )


def _noise(preset: Preset, shots: list[Shot]) -> np.ndarray:
    of = {"photo": preset.habits.photo_noise, "street": preset.habits.street_noise}
    return np.array([of[shot.kind] for shot in shots], np.float32)


def visible(shown: Appearance) -> np.ndarray:
    """Factors with a visible feature, `[N, WIDTH]`, as `synthetic.appearance` assigns them.

    An overestimate: a road may be outside the field of view.
    """
    built: Flags = np.asarray((shown.houses[:, 1] < 1e4).any(axis=1))
    road: Flags = np.asarray(shown.road_shape[:, 1] > 0)
    sign: Flags = np.asarray(shown.sign_shape[:, 1] > 0)
    country = LATENT_COLUMNS["country"].start
    seen: Flags = np.zeros((len(built), WIDTH), dtype=np.bool_)
    seen[:, LATENT_COLUMNS["climate"]] = seen[:, LATENT_COLUMNS["region"]] = True
    seen[:, LATENT_COLUMNS["region"].start + 3] = built | (shown.trees[:, 2] > 0).any(axis=1)
    seen[:, country : country + 4] = road[:, None]
    seen[:, country + 2] |= sign
    seen[:, country + 4 : country + 8] = built[:, None]
    seen[:, country + 6 : country + 8] |= sign[:, None]
    seen[:, LATENT_COLUMNS["town"]] = seen[:, LATENT_COLUMNS["corner"]] = built[:, None]
    seen[:, _MIXED] = False
    # A subject with a radius of 3 half images hides everything; close-ups hide a part.
    return np.asarray(seen & (shown.subject_shape[:, 2] < 1.5)[:, None])


def likeness(readings: Readings, queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Log-likelihood ratio of one location against two, `[Q, G]`.

    One location is one corner or one city; a factor is standard normal over locations.
    """
    ratios = np.empty((len(queries), len(gallery)), np.float32)
    values, seen = readings.values * readings.seen, readings.seen.astype(np.float32)
    for one in np.unique(readings.spread[queries]):
        for other in np.unique(readings.spread[gallery]):
            rows = np.flatnonzero(readings.spread[queries] == one)
            columns = np.flatnonzero(readings.spread[gallery] == other)
            left, right = queries[rows], gallery[columns]
            pair = [
                _ratio(
                    (values[left, part], seen[left, part], 1.0 + one**2),
                    (values[right, part], seen[right, part], 1.0 + other**2),
                )
                for part in (slice(0, WIDTH), _FAR)
            ]
            ratios[np.ix_(rows, columns)] = np.logaddexp(*pair)
    return ratios


_Side = tuple[np.ndarray, np.ndarray, float]
"""Values, 0 where not seen; which are seen, 1 or 0; their variance."""


def _ratio(one: _Side, other: _Side) -> np.ndarray:
    """Log ratio of two normal variables with covariance 1 against 0, over factors of both."""
    (x, x_seen, a), (y, y_seen, b) = one, other
    left = a * b - 1.0
    both = np.log(left / (a * b)) * (x_seen @ y_seen.T)
    squares = (b / left - 1.0 / a) * (x**2 @ y_seen.T) + (a / left - 1.0 / b) * (x_seen @ (y**2).T)
    return np.asarray((x @ y.T) / left - 0.5 * (both + squares))


def make_table(preset: str, seed: int, *, every: int, say: Say) -> str:
    """The table: a line for each blur.

    Args:
        preset: Of the planet.
        seed: Of the planet.
        every: Step through the queries with a gallery; 2 means every second query.
        say: Called with progress messages.
    """
    shots = plan_shots(seed, PRESETS[preset], ("test", "null-test"))
    plain, rows = read(seed, PRESETS[preset], shots), []
    for blur in BLURS:
        readings = blurred(plain, blur, seed)
        results = {
            (role, kind): _search_gallery(
                readings, readings.rows(use="query", role=role, kind=kind)[::step]
            )
            for role, step in (("test", every), ("null-test", 1))
            for kind in KINDS
        }
        rows.append([f"{blur:g}", *_line(results)])
        say(f"blur {blur:g} done")
    words = (
        f"Synthetic planet, not the Earth: {GENERATOR}, preset `{preset}`, seed {seed}, digest "
        f"`{preset_digest(PRESETS[preset], seed)}`; galleries of both kinds; of the covered "
        f"queries one in {every}, of those without a gallery all."
    )
    columns = ["blur"]
    for kind in KINDS:
        columns += [
            f"{kind} queries",
            f"top-1 / oracle@{_DEPTH}, 25 km: {kind}",
            f"AUROC: {kind}",
        ]
    return f"{words}\n\n{table(columns, rows)}"


@dataclass(frozen=True, kw_only=True)
class _SearchResult:
    near_km: np.ndarray
    """The best one's distance, `[Q]`."""
    nearest_km: np.ndarray
    """The nearest of `_DEPTH`."""
    evidence: np.ndarray
    """Logarithm of the summed likelihoods of the gallery, `[Q]`."""
    shows: np.ndarray


def _search_gallery(readings: Readings, queries: np.ndarray) -> _SearchResult:
    gallery = readings.rows(use="gallery", role="test")
    creators = np.array([shot.creator for shot in readings.shots])
    parts = [(np.empty(0),) * 3]
    for first in range(0, len(queries), _AT_ONCE):
        rows = queries[first : first + _AT_ONCE]
        like = likeness(readings, rows, gallery)
        like[creators[rows][:, None] == creators[gallery]] = -np.inf
        away_km = apart_km(readings.xyz[rows], readings.xyz[gallery[best_columns(like, _DEPTH)]])
        parts.append((away_km[:, 0], away_km.min(axis=1), np.logaddexp.reduce(like, axis=1)))
    near_km, nearest_km, evidence = map(np.concatenate, zip(*parts, strict=True))
    return _SearchResult(
        near_km=near_km, nearest_km=nearest_km, evidence=evidence, shows=readings.shows[queries]
    )


def _line(results: dict[tuple[str, str], _SearchResult]) -> list[str]:
    """Cells of each kind: number of queries, hit rates, and AUROC of a missing gallery.

    The AUROC compares all queries without a gallery with those with one that show their location.
    """
    cells = []
    for kind in KINDS:
        here, nowhere = results["test", kind], results["null-test", kind]
        top = 100 * (here.near_km < _NEAR_KM).mean()
        oracle = 100 * (here.nearest_km < _NEAR_KM).mean()
        both = np.concatenate([nowhere.evidence, here.evidence[here.shows]])
        without = np.arange(len(both)) < len(nowhere.evidence)
        auroc = abstention_auroc(-both, without)
        count = f"{len(here.near_km):,} + {len(nowhere.near_km):,}"
        cells += [count, f"{top:.1f} / {oracle:.1f}", f"{auroc:.2f}"]
    return cells
