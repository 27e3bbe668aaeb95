"""Trained spaces: the networks behind a tower, into a bundle and out of one.

A trained bundle holds the tower's own file as it was, byte for byte, and a second one with heads
(`image.*`) and location tower (`location.*`): a published frozen tower stays recognisable by its
digest, and features cached for one bundle serve another with the same tower.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from pinpoint import __version__
from pinpoint.errors import BadBundle
from pinpoint.nets.bundles import Bundle, check_new, file_sha256, read_bundle, whole_folder
from pinpoint.nets.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    Channel,
    Space,
    TrainingNote,
    WeightsSpec,
    contract_json,
    parse_contract,
)
from pinpoint.nets.geoclip import GeoClipHeads, GeoClipLocation, build_geoclip
from pinpoint.nets.geoclip_files import LICENCE, VERSION, gallery_places, read_geoclip
from pinpoint.nets.heads import KindHeads
from pinpoint.nets.location import LocationTower
from pinpoint.nets.place_lists import load_places, write_places
from pinpoint.nets.specs import dim_of, features_of
from pinpoint.nets.tensors import read_tensors
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL

HEADS_FILE: Final = "heads.safetensors"
_IMAGE: Final = "image."
_LOCATION: Final = "location."

GEOCLIP_TOWERS: Final = ("open_clip:ViT-L-14-quickgelu", "open_clip:ViT-L-14")
_GEOCLIP_NOTE: Final = (
    "GeoCLIP {version} (NeurIPS 2023) behind tower {tower}: trained on internet photos, with CLIP"
    " ViT-L/14 of OpenAI and no other tower; its similarities are no probabilities."
)

Network = TypeVar("Network", bound=nn.Module)


Heads = KindHeads | GeoClipHeads
Places = LocationTower | GeoClipLocation


def load_heads(bundle: Bundle) -> Heads | None:
    """The networks behind the tower of a bundle, for inference, or None where it has none.

    Raises:
        BadBundle: Its weights do not fit.
    """
    space = bundle.contract.heads
    if space is None:
        return None
    network = GeoClipHeads() if isinstance(space.image, str) else KindHeads(space.image)
    return _filled(network, _IMAGE, bundle)


def load_location(bundle: Bundle) -> Places | None:
    """The location tower of a bundle, for inference, or None where it has none.

    Raises:
        BadBundle: Its weights do not fit.
    """
    space = bundle.contract.heads
    if space is None or space.location is None:
        return None
    where = space.location
    network = GeoClipLocation() if isinstance(where, str) else LocationTower(where)
    return _filled(network, _LOCATION, bundle)


def write_space(
    folder: Path,
    *,
    name: str,
    tower: Bundle,
    heads: Heads,
    location: Places | None,
    licence: str,
    note: str,
    temperature: float | None = None,
    training: TrainingNote | None = None,
    places: NDArray[np.float64] | None = None,
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
        temperature: What cosines were multiplied by in training.
        training: What they were trained on.
        places: `[N, 2]` lat, lon in degrees to answer with where there is no gallery.

    Returns:
        `folder`.

    Raises:
        Conflict: The folder exists.
        BadBundle: The parts do not fit together.
    """
    check_new(folder)
    if name == DESCRIPTOR_NAME:
        raise BadBundle(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
    if tower.weights is None or tower.contract.heads is not None:
        raise BadBundle(f"bundle {tower.contract.name} is no bare tower with weights of its own")
    wanted, given = features_of(heads.spec), tower.contract.dims["image"]
    if wanted != given:
        raise BadBundle(
            f"the heads take features of {wanted}, tower {tower.contract.tower} gives {given}"
        )
    tensors = _tensors(heads, _IMAGE) | (_tensors(location, _LOCATION) if location else {})
    with whole_folder(folder) as draft:
        save_file(tensors, draft / HEADS_FILE)
        shutil.copyfile(tower.weights, draft / tower.weights.name)
        held = WeightsSpec(file=HEADS_FILE, sha256=file_sha256(draft / HEADS_FILE), licence=licence)
        space = Space(
            image=heads.spec,
            location=location.spec if location else None,
            weights=held,
            temperature=temperature,
            training=training,
            places=None if places is None else write_places(draft, places),
        )
        contract = _contract(tower.contract, name, note, space)
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        _try(read_bundle(draft))
    return folder


def write_geoclip(
    folder: Path,
    *,
    name: str,
    tower: Bundle,
    source: Path | None = None,
    towers: tuple[str, ...] = GEOCLIP_TOWERS,
) -> Path:
    """Make a bundle of the published GeoCLIP, its places, and its tower, CLIP ViT-L/14 of OpenAI.

    Args:
        folder: As of `write_space`.
        name: Shown in answers.
        tower: The bundle of that tower. Its name is checked, and its tag where it has one; whose
            weights a file holds cannot be seen, so the note says which they have to be.
        source: As of `geoclip_files.read_geoclip`.
        towers: Names it may have.

    Raises:
        Conflict: The folder exists.
        BadBundle: The tower gives other features, or a file is not the published one.
        Unavailable: GeoCLIP is not installed, or nothing is at `source`.
    """
    spec = tower.contract.tower
    if str(spec) not in towers or spec.pretrained not in (None, "openai"):
        raise BadBundle(
            f"GeoCLIP was trained behind {towers[0]} with the weights `openai`; bundle "
            f"{tower.contract.name} has {spec} with {spec.pretrained or 'weights of a file'}"
        )
    net = build_geoclip(read_geoclip(source))
    heads = GeoClipHeads()
    heads.load_state_dict(net.image.state_dict())
    return write_space(
        folder,
        name=name,
        tower=tower,
        heads=heads,
        location=net.location,
        licence=LICENCE,
        note=_GEOCLIP_NOTE.format(version=VERSION, tower=tower.contract.tower),
        temperature=float(net.logit_scale.exp()),
        places=gallery_places(source),
    )


def _contract(tower: BundleContract, name: str, note: str, space: Space) -> BundleContract:
    widths: dict[Channel, int] = {IMAGE_CHANNEL: dim_of(space.image)}
    if space.location is not None:
        widths[GPS_CHANNEL] = dim_of(space.location)
    made = replace(
        tower,
        name=name,
        note=note,
        heads=space,
        dims=widths,
        code_version=__version__,
    )
    # Read back as any reader will: what it would refuse is refused before it is written.
    return parse_contract(contract_json(made), name)


def _try(bundle: Bundle) -> None:
    """Both networks load, and their files hold nothing else; the places can be read."""
    load_heads(bundle)
    load_location(bundle)
    load_places(bundle)


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
