"""The planet's difficulty, measured with an embedder that is trained for this test only.

All tests use the open setting: no gallery image or query within 25 km of a training image. The
difficulty of the planet was set to these bounds once, before any reranker existed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from pinpoint.metrics.intervals import cluster_codes, paired_bootstrap
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS
from pinpoint.synthetic.presets import PRESETS
from trials.planet import probe
from trials.planet.planet_images import PlanetImages, candidates_km, plan_shots, render_planet
from trials.planet.tables import (
    BOTH,
    CPU_LIMIT_S,
    STEPS,
    descriptor_vectors,
    markdown,
    search_planet,
    share,
)

SEED = 7
PRESET = PRESETS["bench"]


@dataclass(frozen=True)
class Trained:
    """A planet, the probe network, and its vector of every image."""

    planet: PlanetImages
    net: probe.Probe
    vectors: np.ndarray
    steps: int
    cpu_s: float


@pytest.fixture(scope="module")
def trained():
    planet = render_planet(SEED, PRESET, plan_shots(SEED, PRESET, ("train", "test")))
    net, steps, cpu_s = probe.train(planet, steps=STEPS, cpu_limit_s=CPU_LIMIT_S, say=say)
    return Trained(planet, net, probe.vectors(net, planet), steps, cpu_s)


def say(text):
    sys.stdout.write(text + "\n")


@pytest.mark.timeout(2_400)
def test_planet_retrieval_is_within_difficulty_bounds(trained):
    said = f"{trained.steps} steps, {trained.cpu_s:.0f} CPU seconds"
    say(f"\nprobe: {said}; synthetic planet, not the Earth")
    figures = {
        "descriptor": search_planet(trained.planet, descriptor_vectors(trained.planet)),
        "probe": search_planet(trained.planet, trained.vectors),
    }
    say(markdown(figures))
    assert trained.cpu_s <= 600
    for kind, low, high in (("photo", 15, 40), ("street", 30, 60)):
        distances_km = figures["probe"]["open", kind, (kind,)]
        assert low <= share(distances_km, 1, 25) <= high
        assert share(distances_km, 48, 25) >= share(distances_km, 1, 25) + 15


@pytest.mark.timeout(600)
def test_planet_gallery_of_two_kinds_difference_has_interval(trained):
    """Report the difference, of any sign, with its interval, clustered by creator."""
    for kind in BOTH:
        one, rows = candidates_km(
            trained.planet, trained.vectors, role="test", query_kind=kind, gallery=(kind,)
        )
        two, _ = candidates_km(
            trained.planet, trained.vectors, role="test", query_kind=kind, gallery=BOTH
        )
        labels = trained.planet.drive if kind == "street" else trained.planet.creator
        codes = cluster_codes(list(labels[rows]))
        for depth in (1, 48):
            left, right = ((each[:, :depth].min(axis=1) < 25).astype(float) for each in (two, one))
            compared = paired_bootstrap(left, right, codes, seed=SEED)
            gap = compared.difference
            say(
                f"\n{kind} queries, two kinds - one, {'top-1' if depth == 1 else 'oracle@48'}"
                f" @25 km: {100 * gap.value:+.1f} points"
                f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}], p = {compared.p_value:.4f}"
            )
            assert gap.low <= gap.value <= gap.high
            assert gap.rows == len(rows)


@pytest.mark.timeout(1_500)
def test_planet_every_factor_scale_affects_retrieval(trained):
    """Render images with one scale of factors switched off; the probe is the same."""
    some = [shot for shot in trained.planet.shots if shot.site.role == "test"][::2]
    seen = {}
    for blind in ((), *((scale,) for scale in LATENT_COLUMNS)):
        part = render_planet(SEED, PRESET, some, blind)
        vectors = probe.vectors(trained.net, part)
        for kind in BOTH:
            away_km, _ = candidates_km(part, vectors, role="test", query_kind=kind, gallery=(kind,))
            seen[blind, kind] = share(away_km, 1, 25)
        say(
            f"\nwithout {blind[0] if blind else 'nothing':8}"
            f" photo @25 {seen[blind, 'photo']:5.1f} %  street @25 {seen[blind, 'street']:5.1f} %"
        )
    # Every scale must matter to at least one kind.
    for scale in LATENT_COLUMNS:
        drop = max(seen[(), kind] - seen[(scale,), kind] for kind in BOTH)
        assert drop > 0.3, scale


@pytest.mark.timeout(900)
def test_planet_images_do_not_reveal_seed_or_split(trained):
    """A linear probe on pixels, evaluated on countries (regions for the split) not fitted on."""
    same = trained.planet
    chosen = np.flatnonzero(same.use == "gallery")[::12]
    other = render_planet(SEED + 1, PRESET, plan_shots(SEED + 1, PRESET, ("train", "test"))[::13])
    here, there = _features(same.pixels[chosen]), _features(other.pixels)
    countries = np.concatenate([same.country[chosen], other.country])
    seed_auroc = _read(
        np.concatenate([here, there]),
        np.repeat([0, 1], [len(here), len(there)]),
        countries,
    )
    split_auroc = _read(here, (same.role[chosen] == "test").astype(int), same.country[chosen])
    say(f"\nlinear probe, AUROC: seed {seed_auroc:.3f}, split {split_auroc:.3f}")
    assert abs(seed_auroc - 0.5) <= 0.05
    assert abs(split_auroc - 0.5) <= 0.05


def _features(pixels):
    """`[N, 8 × 8 × 3 + 3]`: a small image, and the roughness of each channel."""
    count, side = len(pixels), pixels.shape[1]
    blocks = pixels.reshape(count, 8, side // 8, 8, side // 8, 3).astype(np.float32)
    rough = np.abs(np.diff(pixels.astype(np.float32), axis=2)).mean(axis=(1, 2))
    return np.concatenate([blocks.mean(axis=(2, 4)).reshape(count, -1), rough], axis=1)


def _read(features, label, groups):
    """AUROC of ridge regression, fitted on half the groups and evaluated on the other half."""
    names = np.unique(groups)
    train = np.isin(groups, np.random.default_rng(0).choice(names, len(names) // 2, replace=False))
    middle, spread = features[train].mean(axis=0), features[train].std(axis=0) + 1e-6
    table = np.c_[(features - middle) / spread, np.ones(len(features))]
    own = table[train]
    weights = np.linalg.solve(
        own.T @ own + 10.0 * np.eye(own.shape[1]), own.T @ (label[train] - label[train].mean())
    )
    score, positive = (table @ weights)[~train], label[~train].astype(bool)
    order = np.argsort(np.argsort(score, kind="stable"), kind="stable") + 1
    positives = int(positive.sum())
    return (order[positive].sum() - positives * (positives + 1) / 2) / (
        positives * (len(positive) - positives)
    )
