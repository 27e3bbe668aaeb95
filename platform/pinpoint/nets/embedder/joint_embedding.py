"""Load and write the joint embedding space of a bundle: the heads and the location tower.

A trained bundle contains an unchanged copy of the tower's files, and a further file with the heads
(`image.*`) and the location tower (`location.*`). A published frozen tower therefore keeps its
digest, and features cached for one bundle are valid for another one with the same tower.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from pinpoint import __version__
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import (
    Bundle,
    atomic_folder,
    file_sha256,
    read_bundle,
    require_absent,
)
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    BundleContract,
    Channel,
    EmbeddingSpace,
    TrainingNote,
    contract_json,
    parse_contract,
)
from pinpoint.nets.bundle.specs import WeightsSpec, embedding_width, feature_width
from pinpoint.nets.bundle.tensors import read_tensors
from pinpoint.nets.embedder.coordinate_lists import load_coordinates, write_coordinates
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.nets.geoclip.files import (
    GEOCLIP_LICENSE,
    GEOCLIP_VERSION,
    gallery_coordinates,
    read_geoclip,
)
from pinpoint.nets.geoclip.network import GeoClipHeads, GeoClipLocation, build_geoclip
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, RAW_CHANNEL

HEADS_FILE: Final = "heads.safetensors"
_IMAGE_PREFIX: Final = "image."
_LOCATION_PREFIX: Final = "location."

GEOCLIP_TOWERS: Final = ("open_clip:ViT-L-14-quickgelu", "open_clip:ViT-L-14")
_GEOCLIP_NOTE: Final = (
    "GeoCLIP {version} (NeurIPS 2023) behind tower {tower}: trained on internet photos, with CLIP"
    " ViT-L/14 of OpenAI and no other tower; its similarities are not probabilities."
)

Network = TypeVar("Network", bound=nn.Module)

ImageHeads = KindHeads | GeoClipHeads
LocationEncoder = LocationTower | GeoClipLocation


def load_heads(bundle: Bundle) -> ImageHeads | None:
    """The heads of a bundle, for inference, or None if it has none.

    Raises:
        BadBundleError: Its weights do not fit the contract.
    """
    space = bundle.contract.heads
    if space is None:
        return None
    network = GeoClipHeads() if isinstance(space.image, str) else KindHeads(space.image)
    return _load_into(network, _IMAGE_PREFIX, bundle)


def load_location(bundle: Bundle) -> LocationEncoder | None:
    """The location tower of a bundle, for inference, or None if it has none.

    Raises:
        BadBundleError: Its weights do not fit the contract.
    """
    space = bundle.contract.heads
    if space is None or space.location is None:
        return None
    spec = space.location
    network = GeoClipLocation() if isinstance(spec, str) else LocationTower(spec)
    return _load_into(network, _LOCATION_PREFIX, bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointNetworks:
    """Networks trained on the features of a tower, and the contract's values about them."""

    heads: ImageHeads
    """From the tower's features to the joint space."""
    location: LocationEncoder | None
    """From positions to the joint space."""
    logit_scale: float | None = None
    """Factor of the cosines in training."""
    training: TrainingNote | None = None
    """Describes the training."""
    coordinates: NDArray[np.float64] | None = None
    """`[N, 2]` lat, lon in degrees to search without a gallery."""
    raw_channel: bool = False
    """Whether the tower's features are also stored and searched, as channel `raw`."""


def write_joint_embedding(
    folder: Path, *, name: str, tower: Bundle, networks: JointNetworks, license: str, note: str
) -> Path:
    """Write a bundle that combines a tower's bundle with networks trained on its features.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        name: Shown in answers.
        tower: Bundle with the tower, its weights and preprocessing, and without heads.
        networks: The networks.
        license: License of the trained weights.
        note: Capabilities and limits of the weights, shown in answers.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The parts do not fit together.
    """
    require_absent(folder)
    if name == DESCRIPTOR_NAME:
        raise BadBundleError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
    tower_weights = _require_fitting_tower(tower, networks.heads)
    location, coordinates = networks.location, networks.coordinates
    tensors = _prefixed_tensors(networks.heads, _IMAGE_PREFIX)
    if location:
        tensors |= _prefixed_tensors(location, _LOCATION_PREFIX)
    with atomic_folder(folder) as draft:
        save_file(tensors, draft / HEADS_FILE)
        for file in (tower_weights, *([tower.aggregation] if tower.aggregation else [])):
            shutil.copyfile(file, draft / file.name)
        sha256 = file_sha256(draft / HEADS_FILE)
        space = EmbeddingSpace(
            image=networks.heads.spec,
            location=location.spec if location else None,
            weights=WeightsSpec(file=HEADS_FILE, sha256=sha256, license=license),
            logit_scale=networks.logit_scale,
            training=networks.training,
            coordinates=None if coordinates is None else write_coordinates(draft, coordinates),
        )
        changed = replace(tower.contract, name=name, note=note, text=None)
        contract = _build_contract(changed, space, raw_channel=networks.raw_channel)
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        _smoke_test(read_bundle(draft))
    return folder


def _require_fitting_tower(tower: Bundle, heads: ImageHeads) -> Path:
    """The weights file of a tower, after checking that heads can read its features.

    Raises:
        BadBundleError: It is no bare tower, or its features have another width.
    """
    if tower.weights is None or tower.contract.heads is not None:
        raise BadBundleError(
            f"bundle {tower.contract.name} is not a tower with weights and without heads"
        )
    heads_width, tower_width = feature_width(heads.spec), tower.contract.dims["image"]
    if heads_width != tower_width:
        raise BadBundleError(
            f"the heads take features of {heads_width}, "
            f"tower {tower.contract.tower} gives {tower_width}"
        )
    return tower.weights


def write_geoclip(
    folder: Path,
    *,
    name: str,
    tower: Bundle,
    source: Path | None = None,
    towers: tuple[str, ...] = GEOCLIP_TOWERS,
) -> Path:
    """Write a bundle of the published GeoCLIP: its tower (OpenAI CLIP ViT-L/14) and coordinates.

    Args:
        folder: As for `write_joint_embedding`.
        name: Shown in answers.
        tower: The bundle of that tower. Its name is checked, and its tag, if it has one. The origin
            of the weights in a file cannot be checked, so the note states the required weights.
        source: As for `geoclip.files.read_geoclip`.
        towers: Allowed tower names.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The tower has other features, or a file differs from the published one.
        UnavailableError: GeoCLIP is not installed, or `source` does not exist.
    """
    spec = tower.contract.tower
    if str(spec) not in towers or spec.pretrained not in (None, "openai"):
        raise BadBundleError(
            f"GeoCLIP was trained behind {towers[0]} with the weights `openai`; bundle "
            f"{tower.contract.name} has {spec} with {spec.pretrained or 'weights from a file'}"
        )
    net = build_geoclip(read_geoclip(source))
    heads = GeoClipHeads()
    heads.load_state_dict(net.image.state_dict())
    return write_joint_embedding(
        folder,
        name=name,
        tower=tower,
        networks=JointNetworks(
            heads=heads,
            location=net.location,
            logit_scale=float(net.logit_scale.exp()),
            coordinates=gallery_coordinates(source),
        ),
        license=GEOCLIP_LICENSE,
        note=_GEOCLIP_NOTE.format(version=GEOCLIP_VERSION, tower=tower.contract.tower),
    )


def _build_contract(
    tower: BundleContract, space: EmbeddingSpace, *, raw_channel: bool
) -> BundleContract:
    """The contract of a tower with these networks; it keeps the name and note of the tower's."""
    widths: dict[Channel, int] = {IMAGE_CHANNEL: embedding_width(space.image)}
    if space.location is not None:
        widths[GPS_CHANNEL] = embedding_width(space.location)
    if raw_channel:
        widths[RAW_CHANNEL] = feature_width(space.image)
    changed = replace(tower, heads=space, dims=widths, code_version=__version__)
    # Parse it like a reader, so that an invalid contract is refused before it is written.
    return parse_contract(contract_json(changed), tower.name)


def _smoke_test(bundle: Bundle) -> None:
    """Load the networks and coordinates of a bundle; fails if a file has unknown tensors."""
    load_heads(bundle)
    load_location(bundle)
    load_coordinates(bundle)


def _prefixed_tensors(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}{key}": value.detach().to("cpu").contiguous()
        for key, value in network.state_dict().items()
    }


def _load_into(network: Network, prefix: str, bundle: Bundle) -> Network:
    if bundle.heads is None:
        raise BadBundleError(f"bundle {bundle.contract.name} was read without its heads")
    tensors = read_tensors(bundle.heads)
    unknown = [key for key in tensors if not key.startswith((_IMAGE_PREFIX, _LOCATION_PREFIX))]
    own_tensors = {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
    state = network.state_dict()
    mismatched = sorted(
        {
            key
            for key in own_tensors
            if key not in state or own_tensors[key].shape != state[key].shape
        }
        | (set(state) - set(own_tensors))
        | set(unknown)
    )
    if mismatched:
        more = f" and {len(mismatched) - 3} more" if len(mismatched) > 3 else ""
        raise BadBundleError(
            f"weights {bundle.heads} do not fit the contract of {bundle.contract.name}: "
            f"{prefix}{', '.join(mismatched[:3])}{more}"
        )
    network.load_state_dict(own_tensors)
    return network.requires_grad_(False).eval()
