"""Trained spaces: the networks behind a tower, into a bundle and out of one.

A trained bundle holds the tower's own file as it was, byte for byte, and a second one with heads
(`image.*`) and location tower (`location.*`): a published frozen tower stays recognisable by its
digest, and features cached for one bundle serve another with the same tower.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors.torch import save_file
from torch import nn

from pinpoint import __version__
from pinpoint.errors import BadBundle, Conflict
from pinpoint.nets.backbone import read_tensors
from pinpoint.nets.bundles import Bundle, file_sha256, read_bundle
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    BundleContract,
    Space,
    TrainingNote,
    WeightsSpec,
    contract_json,
    parse_contract,
)
from pinpoint.nets.heads import KindHeads
from pinpoint.nets.location import LocationTower

_FILE: Final = "heads.safetensors"
_IMAGE: Final = "image."
_LOCATION: Final = "location."

Network = TypeVar("Network", bound=nn.Module)


def load_heads(bundle: Bundle) -> KindHeads | None:
    """The adapters and trunk of a bundle, for inference, or None where it has none.

    Raises:
        BadBundle: Its weights do not fit.
    """
    space = bundle.contract.heads
    return None if space is None else _filled(KindHeads(space.image), _IMAGE, bundle)


def load_location(bundle: Bundle) -> LocationTower | None:
    """The location tower of a bundle, for inference, or None where it has none.

    Raises:
        BadBundle: Its weights do not fit.
    """
    space = bundle.contract.heads
    if space is None or space.location is None:
        return None
    return _filled(LocationTower(space.location), _LOCATION, bundle)


def write_space(
    folder: Path,
    *,
    name: str,
    tower: Bundle,
    heads: KindHeads,
    location: LocationTower | None,
    licence: str,
    note: str,
    training: TrainingNote | None = None,
) -> Path:
    """Make a bundle of a tower's bundle and what was trained behind that tower.

    Args:
        folder: Where; it must not exist yet. It appears whole or not at all.
        name: Shown in answers.
        tower: Gives tower, its weights and preprocessing; it has no heads of its own.
        heads: From the tower's features to the space.
        location: From positions to the space.
        licence: Of the trained weights.
        note: What they can and cannot do.
        training: What they were trained on.

    Returns:
        `folder`.

    Raises:
        Conflict: The folder exists.
        BadBundle: The parts do not fit together.
    """
    if folder.exists():
        raise Conflict(f"{folder} exists already; a bundle is written once")
    if tower.weights is None or tower.contract.heads is not None:
        raise BadBundle(f"bundle {tower.contract.name} is no bare tower with weights of its own")
    if heads.spec.features != tower.contract.dims["image"]:
        raise BadBundle(
            f"the heads take features of {heads.spec.features}, tower {tower.contract.tower} gives "
            f"{tower.contract.dims['image']}"
        )
    tensors = _tensors(heads, _IMAGE) | (_tensors(location, _LOCATION) if location else {})
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(tensors, draft / _FILE)
        shutil.copyfile(tower.weights, draft / tower.weights.name)
        held = WeightsSpec(file=_FILE, sha256=file_sha256(draft / _FILE), licence=licence)
        space = Space(
            image=heads.spec,
            location=location.spec if location else None,
            weights=held,
            training=training,
        )
        contract = _contract(tower.contract, name, note, space)
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        _try(read_bundle(draft))
        draft.chmod(0o755)
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft)
        raise
    return folder


def _contract(tower: BundleContract, name: str, note: str, space: Space) -> BundleContract:
    made = replace(
        tower,
        name=name,
        note=note,
        heads=space,
        dims={"image": space.image.dim},
        code_version=__version__,
    )
    # Read back as any reader will: what it would refuse is refused before it is written.
    return parse_contract(contract_json(made), name)


def _try(bundle: Bundle) -> None:
    """Both networks load, and their files hold nothing else."""
    load_heads(bundle)
    load_location(bundle)


def _tensors(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}{key}": value.detach().to("cpu").contiguous()
        for key, value in network.state_dict().items()
    }


def _filled(network: Network, prefix: str, bundle: Bundle) -> Network:
    if bundle.heads is None:
        raise BadBundle(f"bundle {bundle.contract.name} was read without its heads")
    found = read_tensors(bundle.heads)
    strange = [key for key in found if not key.startswith((_IMAGE, _LOCATION))]
    own = {
        key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)
    }
    wanted = network.state_dict()
    wrong = sorted(
        {key for key in own if key not in wanted or own[key].shape != wanted[key].shape}
        | (set(wanted) - set(own))
        | set(strange)
    )
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadBundle(
            f"weights {bundle.heads} do not fit the contract of {bundle.contract.name}: "
            f"{prefix}{', '.join(wrong[:3])}{more}"
        )
    network.load_state_dict(own)
    return network.requires_grad_(False).eval()
