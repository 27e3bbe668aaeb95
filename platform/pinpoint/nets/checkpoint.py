"""Bundles on disk: a folder with `contract.json` and one safetensors file. Data only, no code.

A bundle always holds its weights, also where they were downloaded by tag: a tag may one day mean
other weights, a digest never does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from pinpoint.errors import BadBundle, Conflict
from pinpoint.nets.backbone import Tower, build_tower, suggested_preprocess
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    TowerSpec,
    WeightsSpec,
    contract_json,
    descriptor_contract,
    new_contract,
    parse_contract,
)
from pinpoint.nets.preprocess import Preprocess

_WEIGHTS_FILE = "tower.safetensors"
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was read and found whole; its tower is not built yet."""

    contract: BundleContract
    weights: Path | None
    """None for the descriptor only."""


def descriptor_bundle() -> Bundle:
    """The bundle that needs no folder."""
    return Bundle(contract=descriptor_contract(), weights=None)


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle: its contract, and that the weights are those it names.

    Raises:
        BadBundle: A file is missing, the contract is not as it must be, or the weights' digest
            differs.
    """
    path = folder / CONTRACT_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadBundle(
            f"{folder} is no bundle: {CONTRACT_FILE} cannot be read ({error.strerror})"
        ) from error
    contract = parse_contract(text, str(path))
    if contract.weights is None:
        raise BadBundle(f"{path} names no weights")
    weights = folder / contract.weights.file
    try:
        found = _sha256(weights)
    except OSError as error:
        raise BadBundle(
            f"bundle {folder} lacks its weights: {contract.weights.file} cannot be read "
            f"({error.strerror})"
        ) from error
    if found != contract.weights.sha256:
        raise BadBundle(
            f"the weights {weights} are not those of the contract: SHA-256 is {found}, the contract"
            f" says {contract.weights.sha256}. Copy the bundle again, whole."
        )
    return Bundle(contract=contract, weights=weights)


def load_tower(bundle: Bundle) -> Tower:
    """Build the tower of a bundle and try it on one picture.

    Raises:
        BadBundle: Weights do not fit the tower, or it gives another width than the contract says.
    """
    contract = bundle.contract
    tower = build_tower(contract.tower, bundle.weights)
    width = _width(tower, contract.preprocess, str(contract.tower))
    if width != contract.dims["image"]:
        raise BadBundle(
            f"bundle {contract.name}: the contract says image vectors of {contract.dims['image']} "
            f"dimensions, tower {contract.tower} gives {width}"
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
    if folder.exists():
        raise Conflict(f"{folder} exists already; a bundle is written once")
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
    built = build_tower(tower, weights)
    width = _width(built, preprocess, str(tower))
    tensors = {key: value.contiguous() for key, value in built.network.state_dict().items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(tensors, draft / _WEIGHTS_FILE)
        held = _weights_spec(_sha256(draft / _WEIGHTS_FILE), licence)
        contract = replace(contract, weights=held, dims={"image": width})
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        draft.chmod(0o755)
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft)
        raise
    return folder


def _width(tower: Tower, preprocess: Preprocess, name: str) -> int:
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


def _sha256(file: Path) -> str:
    seen = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            seen.update(block)
    return seen.hexdigest()
