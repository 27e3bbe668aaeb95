"""Learn the vocabulary of the built-in bundle, and write it and the contract into the package.

`pinpoint bench ship-vocabulary --photos FOLDER`; the folder has one folder per repository.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from pinpoint.nets.bundle.aggregated_bundles import AGGREGATION_FILE, write_aggregated_bundle
from pinpoint.nets.bundle.bundles import BUILT_IN_FOLDER, Bundle, read_bundle
from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import CONTRACT_FILE, Preprocess, TowerSpec
from pinpoint.nets.bundle.published_weights import read_published_weights
from pinpoint.settings import BUILT_IN_BUNDLE
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.learn_vocabulary import learn_from_pixels
from trials.vocabulary.photos import LAYER, list_sources, read_photos

TOWER = TowerSpec.parse("timm:tf_efficientnet_lite0")
WEIGHTS_LICENSE = "Apache-2.0"
HALF = (0.5, 0.5, 0.5)
PREPROCESS = Preprocess(size_px=320, resize="squash", interpolation="bicubic", mean=HALF, std=HALF)
CONFIG = VocabularyConfig(layer=LAYER, num_centers=9, has_pca=False)
"""The best mean of the two columns of `pinpoint bench vocabulary`."""
NOTE = (
    "EfficientNet-Lite0 of ImageNet and a vocabulary of unrelated photos, not trained for places: "
    "finds images that show the same buildings, trees and signs. Its similarities are not "
    "probabilities; `pinpoint train vocabulary` adapts it to a gallery."
)


def write_bare_tower(folder: Path) -> Bundle:
    """The tower without aggregation, in a new folder below `folder`."""
    weights = folder / "published.safetensors"
    save_file(read_published_weights(TOWER), weights)
    bare = write_bundle(
        folder / "bare",
        name="efficientnet-lite0",
        tower=TOWER,
        license=WEIGHTS_LICENSE,
        weights=weights,
        preprocess=PREPROCESS,
    )
    return read_bundle(bare)


def ship(photos: Path, shipped: Path) -> None:
    """Replace contract and vocabulary of the shipped folder."""
    read = read_photos(photos)
    with TemporaryDirectory() as name:
        tower = write_bare_tower(Path(name))
        learned = learn_from_pixels(
            lambda: (photo.pixels for photo in read),
            tower,
            CONFIG,
            sources=list_sources(read),
            device="cpu",
        )
        made = write_aggregated_bundle(
            Path(name) / BUILT_IN_BUNDLE,
            name=BUILT_IN_BUNDLE,
            tower=tower,
            spec=learned.spec,
            tensors=learned.tensors,
            note=NOTE,
        )
        shipped.mkdir(exist_ok=True)
        for file in (CONTRACT_FILE, AGGREGATION_FILE):
            shutil.copyfile(made / file, shipped / file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="pinpoint bench ship-vocabulary", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the repositories")
    parser.add_argument("--out", type=Path, default=BUILT_IN_FOLDER, help="default: the package")
    given = parser.parse_args()
    ship(given.photos, given.out)
