"""Real street views: heads trained on half of the sequences, evaluated on the other half.

Each half is used once for training and once for evaluation. So all 104 faces with another panorama
within 25 m are queries once, each in the gallery of its own half.

A hundred faces teach little that generalizes to other streets, and are enough to damage the
features of the tower. So these heads start as the tower and train with a small learning rate.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nets.mobilenet import mobilenet_bundle
from pinpoint.geo.distance import pairwise_m
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.embedder.joint_embedding import load_heads
from pinpoint.nets.runtime import tower_features
from pinpoint.settings import EncoderSettings, MediaSettings, ServiceSettings, Settings
from pinpoint.training.core.configs import EmbedderConfig
from pinpoint.training.embedder.train_embedder import train_embedder
from shared_data import shared_data

NEAR_M = 25.0
COLUMNS = ("file", "latitude", "longitude", "sequence", "panorama")
"""Without the creator: there are two, so a split by creator is not possible."""
NETWORKS = {
    "init": "tower",
    "hidden": 1024,
    "dim": 1024,
    "adapter_blocks": 0,
    "trunk_blocks": 0,
    "location_blocks": 0,
}
# All views are within 20 km of each other. No two creators saw the same place, so no image pairs.
LOSSES = {
    "image_image": 0,
    "negative_radius_start_m": 2_000,
    "negative_radius_end_m": 500,
    "num_sampled_negatives": 16,
}
SPLIT = {"val_fraction": 0.1, "buffer_m": 100, "h3_resolution": 7}
GENTLE = {
    "steps": 60,
    "batch_size": 6,
    "learning_rate": 1e-5,
    "warmup_steps": 4,
    "ema_decay": 0.9,
}


class Views:
    """Faces in the order of the manifest, their features by the bare tower, and their halves."""

    def __init__(self, folder: Path) -> None:
        self.folder = shared_data() / "street" / "panoramax"
        with (self.folder / "manifest.csv").open(newline="") as stream:
            self.rows = list(csv.DictReader(stream))
        self.tower = mobilenet_bundle(folder / "tower")
        images = [np.asarray(Image.open(self.folder / row["file"])) for row in self.rows]
        encode = tower_features(read_bundle(self.tower), torch.device("cpu"), 16)
        self.features = encode(images)
        drives = sorted({row["sequence"] for row in self.rows})
        half = np.array([drives.index(row["sequence"]) % 2 for row in self.rows])
        self.halves = [np.flatnonzero(half == side) for side in (0, 1)]
        positions = [(float(row["latitude"]), float(row["longitude"])) for row in self.rows]
        self.away_m = pairwise_m(np.array(positions))
        panoramas = np.array([row["panorama"] for row in self.rows])
        self.foreign = panoramas[:, None] != panoramas

    def found(self, vectors, rows):
        """For faces with another panorama nearby: whether the best hit of another one is near."""
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cells = np.ix_(rows, rows)
        away_m, foreign = self.away_m[cells], self.foreign[cells]
        is_query = ((away_m <= NEAR_M) & foreign).any(axis=1)
        best = np.where(foreign, vectors @ vectors.T, -np.inf).argmax(axis=1)
        return (away_m[np.arange(len(rows)), best] <= NEAR_M)[is_query]

    def trained_on(self, rows, folder, seed, schedule):
        """The bundle of a training run on these faces."""
        source = folder / "views"
        source.mkdir(parents=True)
        with (source / "manifest.csv").open("w", newline="") as stream:
            out = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
            out.writeheader()
            for row in (self.rows[number] for number in rows):
                shutil.copy(self.folder / row["file"], source)
                out.writerow(row)
        config = EmbedderConfig(
            name="half",
            license="none",
            note="Half of some street views.",
            tower=str(self.tower),
            sources=[{"manifest": source / "manifest.csv", "kind": "street"}],
            split=SPLIT,
            networks=NETWORKS,
            losses=LOSSES,
            schedule={**schedule, "seed": seed},
        )
        settings = Settings(
            services=ServiceSettings(home=folder / "home"), encoder=EncoderSettings(device="cpu")
        )
        decoder = ChildDecoder(MediaSettings(), children=2)
        try:
            result = train_embedder(
                config, folder / "run", settings=settings, decoder=decoder, into=folder / "bundle"
            )
        finally:
            decoder.close()
        return read_bundle(result.bundle)

    def both_ways(self, folder, seed, schedule=GENTLE):
        """Hits of the bare tower and of the trained heads on the other half, 104 each."""
        bare, trained = [], []
        for side in (0, 1):
            bundle = self.trained_on(self.halves[side], folder / str(side), seed, schedule)
            other = self.halves[1 - side]
            with torch.inference_mode():
                given = torch.from_numpy(self.features[other])
                vectors = load_heads(bundle)(given, ["street"] * len(other)).numpy()
            bare.append(self.found(self.features[other], other))
            trained.append(self.found(vectors, other))
        return np.concatenate(bare), np.concatenate(trained)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return Views(tmp_path_factory.mktemp("views"))


def test_street_view_halves_are_far_apart(views):
    assert min(map(len, views.halves)) > 90
    assert views.away_m[np.ix_(*views.halves)].min() > 4 * NEAR_M


@pytest.mark.ci
def test_train_embedder_on_street_views_is_no_worse_than_tower(views, tmp_path, record_property):
    bare, trained = views.both_ways(tmp_path, seed=0)
    seen = f"bare tower {bare.sum()}, trained heads {trained.sum()} of {len(bare)} queries"
    record_property("recall@1 within 25 m on the other half", seen)
    assert len(bare) == 104
    assert trained.sum() >= bare.sum(), seen
