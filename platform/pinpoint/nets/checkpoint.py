"""Making bundles, and towers from them.

A bundle is a folder with `contract.json` and one safetensors file: data only, no code. It always
holds its weights, also where they were downloaded by tag: a tag may one day mean other weights, a
digest never does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from pinpoint.errors import BadBundle
from pinpoint.nets.backbone import Tower, build_tower, suggested_preprocess
from pinpoint.nets.bundles import Bundle, check_new, file_sha256, whole_folder
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    Preprocess,
    TowerSpec,
    WeightsSpec,
    contract_json,
    new_contract,
)
from pinpoint.nets.specs import features_of

_WEIGHTS_FILE = "tower.safetensors"


def load_tower(bundle: Bundle) -> Tower:
    """Build the tower of a bundle and try it on one picture.

    Raises:
        BadBundle: Weights do not fit the tower, or it gives another width than the contract says.
    """
    contract = bundle.contract
    tower = build_tower(contract.tower, bundle.weights)
    width = tower_width(tower, contract.preprocess, str(contract.tower))
    said = features_of(contract.heads.image) if contract.heads else contract.dims["image"]
    if width != said:
        raise BadBundle(
            f"bundle {contract.name}: the contract says that the tower gives {said} dimensions, "
            f"tower {contract.tower} gives {width}"
        )
    return tower


def write_bundle(
    folder: Path,
    *,
    name: str,
    tower: TowerSpec,
    licence: str,
    weights: Path | None = None,
    preprocess: Preprocess | None = None,
    note: str | None = None,
) -> Path:
    """Make a bundle of a published tower.

    Args:
        folder: Where; it must not exist yet. It appears whole or not at all.
        name: Shown in answers.
        tower: Library, name, tag, arguments.
        licence: Licence of the weights.
        weights: A local safetensors file; without one the weights of `tower.pretrained` are
            downloaded.
        preprocess: Without one, what the library states for the tower and tag.
        note: What these weights can and cannot do, said in every answer.

    Returns:
        `folder`.

    Raises:
        Conflict: The folder exists.
        BadBundle: Names, weights and preprocessing do not fit together.
        Unavailable: Weights could not be downloaded.
    """
    check_new(folder)
    if name == DESCRIPTOR_NAME or tower.library == "pinpoint":
        raise BadBundle(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name and tower")
    preprocess = preprocess or suggested_preprocess(tower)
    # Before the weights are fetched: a bad name should not cost a download.
    contract = new_contract(
        name=name,
        tower=tower,
        weights=_weights_spec("0" * 64, licence),
        preprocess=preprocess,
        note=note or _default_note(tower),
    )
    return _written(folder, build_tower(tower, weights), contract, licence)


def write_trained(
    folder: Path, *, name: str, tower: Tower, spec: TowerSpec, preprocess: Preprocess, licence: str
) -> Path:
    """Make a bundle of a tower that was trained here; in evaluation mode, on the CPU.

    Raises:
        Conflict: The folder exists.
        BadBundle: Names and preprocessing do not fit together.
    """
    check_new(folder)
    contract = new_contract(
        name=name,
        tower=spec,
        weights=_weights_spec("0" * 64, licence),
        preprocess=preprocess,
        note=_default_note(spec),
    )
    return _written(folder, tower, contract, licence)


def _written(folder: Path, tower: Tower, contract: BundleContract, licence: str) -> Path:
    width = tower_width(tower, contract.preprocess, str(contract.tower))
    tensors = {key: value.contiguous() for key, value in tower.network.state_dict().items()}
    with whole_folder(folder) as draft:
        save_file(tensors, draft / _WEIGHTS_FILE)
        held = _weights_spec(file_sha256(draft / _WEIGHTS_FILE), licence)
        contract = replace(contract, weights=held, dims={"image": width})
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
    return folder


def tower_width(tower: Tower, preprocess: Preprocess, name: str) -> int:
    """Width of the vector that a tower gives for one grey picture.

    Raises:
        BadBundle: The tower does not take pictures of this size.
    """
    side_px = preprocess.size_px
    try:
        with torch.inference_mode():
            width: int = tower(torch.zeros(1, 3, side_px, side_px)).shape[1]
    # What a network raises on a wrong size depends on its layers.
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BadBundle(
            f"tower {name} does not take pictures of {side_px} × {side_px} px: {error}"
        ) from error
    return width


def _weights_spec(sha256: str, licence: str) -> WeightsSpec:
    if not 1 <= len(licence) <= 200:
        raise BadBundle("say in 1 to 200 characters under which licence the weights are")
    return WeightsSpec(file=_WEIGHTS_FILE, sha256=sha256, licence=licence)


def _default_note(tower: TowerSpec) -> str:
    return (
        f"Bare tower {tower}, not trained for places: finds pictures that look alike;"
        " its similarities are no probabilities."
    )
