"""Synthetic queries with known probabilities that no fitted mixture matches exactly.

There are forty cities, and a photo is taken around one of them. The probability that the correct
city is a candidate increases with the similarity. The ranker is overconfident by a factor of three.
Letters: N queries, K candidates.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import destination
from pinpoint.records import QueryFeatures
from pinpoint.settings import SearchSettings

K = 12
SEARCH = SearchSettings()
CONTRACT = "c" * 64


def make_queries(count, seed, *, supported=True):
    """Return `count` tuples of features, ground truth and creator; three photos per creator."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(np.random.default_rng(1).uniform(-0.9, 0.9, 40)))
    cities = np.stack([lat, np.random.default_rng(2).uniform(-180, 180, 40)], axis=1)
    queries = []
    for number in range(count):
        kind = "photo" if number % 3 else "street"
        city_index = rng.integers(0, 40)
        spread_km = 2.0 if kind == "street" else 5.0
        ground_truth = _scatter_around(cities[city_index], spread_km, rng)
        similarity = rng.beta(5, 2) if supported else rng.beta(2, 4)
        in_candidates = supported and rng.uniform() < similarity
        others = rng.choice(np.delete(np.arange(40), city_index), K, replace=False)
        skill = rng.normal(0.0, 1.0, K)
        if in_candidates:
            others[0] = city_index
            skill[0] += 3.0 * similarity
        points = np.array([_scatter_around(cities[other], 3.0, rng) for other in others])
        features = QueryFeatures(
            kind=kind,
            positions=tuple((round(a, 7), round(b, 7)) for a, b in points.tolist()),
            logits=tuple(np.round(3.0 * skill, 5).tolist()),
            no_match_logit=None,
            max_similarity=round(float(similarity), 6),
            neighborhood_similarity=round(float(similarity) / 2, 6),
            neighborhood_coherence=round(float(similarity) / 3 - 0.3, 6),
            gallery_density=round(float(rng.lognormal()), 4),
        )
        queries.append((features, ground_truth, f"author {seed}-{number // 3}"))
    return queries


def add_inliers(queries, seed):
    """Queries with compared candidates: six of ten correct ones have many inliers, others few."""
    rng = np.random.default_rng(seed)
    compared = []
    for features, ground_truth, creator in queries:
        heaviest = np.array(features.positions[int(np.argmax(features.logits))])
        is_correct = haversine_m(heaviest, ground_truth) <= 25_000
        inliers = int(rng.integers(3, 10))
        if is_correct and rng.uniform() < 0.6:
            inliers = 12 + int(rng.geometric(0.03))
        elif rng.uniform() < 0.01:
            inliers = 13
        changed = replace(features, max_inliers=inliers, verified=inliers >= 12)
        compared.append((changed, ground_truth, creator))
    return compared


def write_run(folder: Path, covered, uncovered=(), **changes) -> Path:
    """Write the folder of a finished run with these answers."""
    folder.mkdir(parents=True)
    lines = []
    for queries, is_covered in ((covered, "true"), (uncovered, "false")):
        for features, ground_truth, creator in queries:
            role = "calibration" if is_covered == "true" else "null-train"
            lines.append(
                {
                    "number": len(lines),
                    "lat": ground_truth[0],
                    "lon": ground_truth[1],
                    "creator": creator,
                    "strata": {"role": role, "covered": is_covered},
                    "arms": {"excluded": {"features": asdict(features)}},
                    "vector": None,
                }
            )
    manifest = {
        "protocol": "synthetic",
        "labels": {"digest": "l" * 16, "evaluated": len(lines)},
        "planet": {"digest": "p" * 16},
        "gallery": {
            "bundle": "supposed",
            "bundle_digest": CONTRACT,
            "images": 40,
            "index_build": "b1",
        },
        "settings": {
            "ranker": "vote",
            "source_kinds": [],
            "exclude": ["self"],
            "search": SEARCH.model_dump(exclude={"verify_candidates"}),
            "verify": 8,
        },
    } | changes
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _scatter_around(city, spread_km, rng):
    away_m = 1_000.0 * spread_km * rng.rayleigh()
    return destination(city, rng.uniform(0, 360), away_m)
