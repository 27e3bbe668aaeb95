"""Write bundles of towers, and load towers from bundles.

A bundle is a folder with `contract.json` and one safetensors file: data only, no code. It always
contains its weights, even if they were downloaded by tag, because the weights of a tag can change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import Bundle, atomic_folder, file_sha256, require_absent
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    Preprocess,
    TowerSpec,
    contract_json,
    new_contract,
)
from pinpoint.nets.bundle.specs import PublishedFile, WeightsSpec, feature_width
from pinpoint.nets.bundle.tensors import read_tensors
from pinpoint.nets.towers.aggregation import AggregatedTower, Aggregation
from pinpoint.nets.towers.backbone import Tower, build_tower, suggested_preprocess
from pinpoint.nets.towers.text_encoder import select_text_tensors

_WEIGHTS_FILE = "tower.safetensors"
_TEXT_FILE = "text.safetensors"


def load_tower(bundle: Bundle) -> Tower:
    """Build the tower of a bundle, with its aggregation, and test it on one image.

    Raises:
        BadBundleError: Weights do not fit the tower, or its width differs from the contract.
    """
    contract = bundle.contract
    tower = build_tower(contract.tower, bundle.weights)
    if contract.aggregation is not None:
        file = bundle.aggregation
        tensors = {} if file is None else read_tensors(file)
        where = str(file or contract.name)
        tower = AggregatedTower(tower, Aggregation(contract.aggregation, tensors, where)).eval()
    width = tower_width(tower, contract.preprocess, str(contract.tower))
    expected = feature_width(contract.heads.image) if contract.heads else contract.dims["image"]
    if width != expected:
        raise BadBundleError(
            f"bundle {contract.name}: the contract states a tower width of {expected}, "
            f"tower {contract.tower} has {width}"
        )
    return tower


def write_bundle(
    folder: Path,
    *,
    name: str,
    tower: TowerSpec,
    license: str,
    weights: Path | None = None,
    preprocess: Preprocess | None = None,
    note: str | None = None,
) -> Path:
    """Write a bundle of a published tower.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        name: Shown in answers.
        tower: Library, name, tag, arguments.
        license: License of the weights.
        weights: A local safetensors file; default: the weights of `tower.pretrained` are
            downloaded.
        preprocess: Default: the preprocessing that the library states for the tower and tag.
        note: Capabilities and limits of the weights, shown in every answer.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: Names, weights and preprocessing do not fit together.
        UnavailableError: Weights could not be downloaded.
    """
    require_absent(folder)
    if name == DESCRIPTOR_NAME or tower.library == "pinpoint":
        raise BadBundleError(
            f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name and tower"
        )
    preprocess = preprocess or suggested_preprocess(tower)
    # Before the download, so that an invalid name fails early.
    contract = new_contract(
        name=name,
        tower=tower,
        weights=tower_weights(license),
        preprocess=preprocess,
        note=note or _default_note(tower),
    )
    built = build_tower(tower, weights)
    return write_tower(folder, built, contract, text=select_text_tensors(tower, weights))


def write_trained_tower(
    folder: Path, *, name: str, tower: Tower, spec: TowerSpec, preprocess: Preprocess, license: str
) -> Path:
    """Write a bundle of a tower trained by Pinpoint; the tower is in evaluation mode on the CPU.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: Names and preprocessing do not fit together.
    """
    require_absent(folder)
    contract = new_contract(
        name=name,
        tower=spec,
        weights=tower_weights(license),
        preprocess=preprocess,
        note=_default_note(spec),
    )
    return write_tower(folder, tower, contract)


def write_tower(
    folder: Path,
    tower: Tower,
    contract: BundleContract,
    *,
    text: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Write a tower and its contract, to which width and digest of the weights are added.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        tower: In evaluation mode, on the CPU.
        contract: With the weights of `tower_weights`.
        text: Tensors of the text encoder, if there is one.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The tower does not take images of this size.
    """
    if contract.weights is None:
        raise ValueError("the contract of a tower names its weights")
    width = tower_width(tower, contract.preprocess, str(contract.tower))
    tensors = {key: value.contiguous() for key, value in tower.network.state_dict().items()}
    with atomic_folder(folder) as draft:
        save_file(tensors, draft / _WEIGHTS_FILE)
        weights = replace(contract.weights, sha256=file_sha256(draft / _WEIGHTS_FILE))
        contract = replace(contract, weights=weights, dims={"image": width})
        if text is not None:
            save_file(text, draft / _TEXT_FILE)
            text_sha256 = file_sha256(draft / _TEXT_FILE)
            contract = replace(contract, text=replace(weights, file=_TEXT_FILE, sha256=text_sha256))
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
    return folder


def tower_width(tower: Tower, preprocess: Preprocess, name: str) -> int:
    """Vector width of a tower, measured on one gray image.

    Raises:
        BadBundleError: The tower does not accept images of this size.
    """
    side_px = preprocess.size_px
    try:
        with torch.inference_mode():
            width: int = tower(torch.zeros(1, 3, side_px, side_px)).shape[1]
    # The exception class for a wrong size depends on the layers of the network.
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BadBundleError(
            f"tower {name} does not take images of {side_px} × {side_px} px: {error}"
        ) from error
    return width


def tower_weights(license: str, converted_from: PublishedFile | None = None) -> WeightsSpec:
    """The weights file of a tower before it is written; `write_tower` adds the digest.

    Raises:
        BadBundleError: The license is missing or too long.
    """
    if not 1 <= len(license) <= 200:
        raise BadBundleError("state the license of the weights in 1 to 200 characters")
    return WeightsSpec(
        file=_WEIGHTS_FILE, sha256="0" * 64, license=license, converted_from=converted_from
    )


def _default_note(tower: TowerSpec) -> str:
    return (
        f"Tower {tower} without heads, not trained for geolocation: finds images that look alike;"
        " its similarities are not probabilities."
    )
