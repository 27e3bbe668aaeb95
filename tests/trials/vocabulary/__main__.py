"""Compare vocabularies of at most 1,024 dimensions on real images that they were not learned from.

Two columns: two views of the same photo find each other, and with `--street` a street view finds
another panorama within 25 m. The built-in bundle has the best mean of both
(`ship_vocabulary.CONFIG`): one small set alone would choose by chance.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from pinpoint.geo.distance import pairwise_m
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.runtime import open_encoder
from pinpoint.records import DecodedImage, Pixels
from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings, MediaSettings
from pinpoint.synthetic.dataset import make_planet
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.patch_features import PatchFeatureSource
from trials.vocabulary.photos import LAYER, read_photos
from trials.vocabulary.ship_vocabulary import write_bare_tower
from trials.vocabulary.two_views import (
    SEEDS,
    TwoViews,
    change_query,
    embed,
    extract_views,
    judge,
    learn,
)

WIDTHS = (
    *((16, 64), (24, 42), (32, 32), (40, 25), (48, 21), (56, 18), (64, 16), (80, 12), (None, 9)),
    *((16, 32), (32, 16), (64, 8), (None, 4)),
)
"""Channels after the local PCA (None: all 112), and centers; the last four have 512 or fewer
dimensions."""
NEAR_M = 25.0
BUNDLES = ("descriptor", BUILT_IN_BUNDLE)
DEPTHS = (1, 5, 20)


@dataclass(frozen=True)
class Street:
    """Street views."""

    images: list[Pixels]
    maps: torch.Tensor
    """Patch features, `[N, T, C]`."""
    near: np.ndarray
    """Pairs of images of different panoramas within 25 m, `[N, N]`."""
    foreign: np.ndarray
    """Pairs of images of different panoramas, `[N, N]`."""


def _extract(images: list[Pixels], tower: Bundle) -> torch.Tensor:
    source = PatchFeatureSource.open(tower, LAYER, "cpu")
    maps = [torch.nn.functional.normalize(source._extract(i).features[0], dim=1) for i in images]
    return torch.stack(maps).half()


def _read_images(paths: list[Path]) -> list[Pixels]:
    decoder = ChildDecoder(MediaSettings(timeout_s=60.0))
    decoded = [decoder.read(path.name, path.read_bytes(), query=True) for path in paths]
    decoder.close()
    return [image.faces[0].pixels for image in decoded if isinstance(image, DecodedImage)]


def _read_street(folder: Path, tower: Bundle) -> Street:
    with (folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    positions = np.array([(float(row["latitude"]), float(row["longitude"])) for row in rows])
    panoramas = np.array([row["panorama"] for row in rows])
    images = _read_images([folder / row["file"] for row in rows])
    foreign = panoramas[:, None] != panoramas[None, :]
    near = (pairwise_m(positions) <= NEAR_M) & foreign
    return Street(images, _extract(images, tower), near, foreign)


def _street_recall(
    vectors: np.ndarray, street: Street, depth: int = 1, changed: np.ndarray | None = None
) -> float:
    """Per cent of queries with a right image among the first `depth`.

    Args:
        vectors: `[N, D]`.
        street: The images.
        depth: Number of images.
        changed: Vectors of the queries `[Q, D]` instead of those of the gallery.
    """
    queries = np.flatnonzero(street.near.any(axis=1))
    asked = vectors[queries] if changed is None else changed
    similarities = np.where(street.foreign[queries], asked @ vectors.T, -np.inf)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :depth]
    hits = np.take_along_axis(street.near[queries], nearest, axis=1)
    return 100.0 * float(hits.any(axis=1).mean())


def _print_bundles(street: Street, home: Path) -> None:
    """Recall of whole bundles, on the images as a worker encodes them."""
    for name in BUNDLES:
        encoder = open_encoder(EncoderSettings(bundle=name, device="cpu"), home, 512)
        vectors = encoder.encode(street.images, "street")
        rng = np.random.default_rng(0)
        queries = np.flatnonzero(street.near.any(axis=1))
        changed = encoder.encode([change_query(street.images[row], rng) for row in queries])
        cells = [
            " / ".join(f"{_street_recall(vectors, street, k, asked):.1f}" for k in DEPTHS)
            for asked in (None, changed)
        ]
        sys.stdout.write(f"| {name} | {vectors.shape[1]} | {' | '.join(cells)} |\n")


def _print_row(
    name: str,
    config: VocabularyConfig | None,
    views: TwoViews,
    street: Street | None,
    more: torch.Tensor | None = None,
) -> None:
    cells = [name, f"{100 * judge(views, config, more):.1f}"]
    if street is not None and config is None:
        cells.append(f"{_street_recall(embed(None, street.maps), street):.1f}")
    elif street is not None and config is not None:
        maps = [views.photos, *([] if more is None else [more])]
        shares = []
        for seed in SEEDS:
            seeded = VocabularyConfig(
                layer=LAYER,
                num_centers=config.num_centers,
                local_dim=config.local_dim,
                has_pca=False,
                seed=seed,
            )
            shares.append(_street_recall(embed(learn(maps, seeded), street.maps), street))
        cells.append(f"{np.mean(shares):.1f} ({min(shares):.1f} to {max(shares):.1f})")
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="pinpoint bench vocabulary", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the repositories")
    parser.add_argument("--street", type=Path, help="folder of street views with a manifest.csv")
    given = parser.parse_args()
    with TemporaryDirectory() as folder, torch.inference_mode():
        tower = write_bare_tower(Path(folder))
        views = extract_views([photo.pixels for photo in read_photos(given.photos)], tower)
        street = None if given.street is None else _read_street(given.street, tower)
        if street is not None:
            _print_bundles(street, Path(folder) / "home")
        planet = make_planet(Path(folder) / "planet", preset="tiny", seed=7)
        drawn = sorted(planet.folder.glob("galleries/*/*/*.jpg"))
        planet_maps = _extract(_read_images(drawn[:: max(1, len(drawn) // 128)]), tower)
        sys.stdout.write(f"{len(views.photos)} photos, {len(planet_maps)} images of a planet\n")
        _print_row("mean of the map", None, views, street)
        for local_dim, centers in WIDTHS:
            config = VocabularyConfig(
                layer=LAYER, num_centers=centers, local_dim=local_dim, has_pca=False
            )
            channels = local_dim or views.photos.shape[2]
            name = f"{channels} channels, {centers} centers, {channels * centers} dimensions"
            _print_row(name, config, views, street)
            if (local_dim, centers) in ((32, 32), (48, 21), (None, 9)):
                _print_row(f"{name}, learned with the planet", config, views, street, planet_maps)
