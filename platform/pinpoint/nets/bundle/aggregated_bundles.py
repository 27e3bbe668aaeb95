"""Write bundles whose contract names the aggregation of a layer, around an unchanged tower.

The tower's file is copied, so that a published tower keeps its digest. Vocabulary and PCA are in a
second file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from pinpoint import __version__
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import (
    Bundle,
    atomic_folder,
    file_sha256,
    read_bundle,
    require_absent,
)
from pinpoint.nets.bundle.checkpoint import load_tower
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    contract_json,
    parse_contract,
)
from pinpoint.nets.bundle.specs import AggregationSpec, WeightsSpec
from pinpoint.nets.towers.backbone import build_tower
from pinpoint.nets.towers.feature_maps import FeatureMaps, layer_channels
from pinpoint.records import IMAGE_CHANNEL

AGGREGATION_FILE: Final = "aggregation.safetensors"
DEFAULT_GEM_POWER: Final = 3.0
"""The exponent that Radenović et al. start from; theirs are learned, between 2 and 4."""


def unwritten_weights(license: str) -> WeightsSpec:
    """Weights of an `AggregationSpec` whose file `write_aggregated_bundle` will write."""
    return WeightsSpec(file=AGGREGATION_FILE, sha256="0" * 64, license=license)


def require_tower(bundle: Bundle) -> Path:
    """The weights of a bundle's tower, which can get another aggregation.

    Raises:
        BadBundleError: It has no network, or heads.
    """
    if bundle.weights is None:
        raise BadBundleError(
            f"bundle {bundle.contract.name} has no network; name a bundle with a tower"
        )
    if bundle.contract.heads is not None:
        raise BadBundleError(
            f"bundle {bundle.contract.name} has heads, which read the vectors they were trained "
            "on; name a bundle with a tower and without heads"
        )
    return bundle.weights


def open_feature_maps(tower: Bundle, layer: str | None) -> FeatureMaps:
    """The layers of a bundle's tower up to one of them, whatever the bundle does with its output.

    Raises:
        BadBundleError: The weights do not fit the tower, or it has no such layer.
    """
    return FeatureMaps(build_tower(tower.contract.tower, tower.weights).network, layer)


def pooled_aggregation(
    tower: Bundle,
    kind: Literal["avg", "gem", "cls"],
    *,
    layer: str | None = None,
    gem_power: float | None = None,
) -> AggregationSpec:
    """An aggregation without vocabulary and PCA; the layer's channels are measured.

    Args:
        tower: A bundle with the tower.
        kind: Kind of pooling.
        layer: Module path; None for the last feature map or tokens.
        gem_power: Exponent of `gem`, 1 to 100; default `DEFAULT_GEM_POWER`.

    Raises:
        BadBundleError: The tower has no such layer, or a value is out of range.
    """
    if kind == "gem":
        gem_power = DEFAULT_GEM_POWER if gem_power is None else gem_power
    maps = open_feature_maps(tower, layer)
    channels = layer_channels(maps, tower.contract.preprocess)
    try:
        return AggregationSpec(
            kind=kind, layer=layer, feature_dim=channels, gem_power=gem_power, dim=channels
        )
    except ValidationError as error:
        raise BadBundleError(f"the aggregation is invalid: {error.errors()[0]['msg']}") from error


def write_aggregated_bundle(
    folder: Path,
    *,
    name: str,
    tower: Bundle,
    spec: AggregationSpec,
    tensors: Mapping[str, torch.Tensor],
    note: str,
) -> Path:
    """Write a bundle that combines a tower with an aggregation.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        name: Shown in answers.
        tower: Bundle with the tower, its weights and preprocessing, and without heads. Its own
            aggregation and reranker are left out, because they belong to other vectors.
        spec: The aggregation; the digest of its weights is filled in.
        tensors: As `specs.aggregation_shapes` lists them.
        note: Capabilities and limits of the vectors, shown in answers.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The parts do not fit together.
    """
    require_absent(folder)
    if name == DESCRIPTOR_NAME:
        raise BadBundleError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
    weights = require_tower(tower)
    with atomic_folder(folder) as draft:
        shutil.copyfile(weights, draft / weights.name)
        if spec.weights is not None:
            file = draft / spec.weights.file
            save_file({key: value.contiguous() for key, value in tensors.items()}, file)
            spec = replace(spec, weights=replace(spec.weights, sha256=file_sha256(file)))
        contract = replace(
            tower.contract,
            name=name,
            note=note,
            aggregation=spec,
            reranker=None,
            text=None,
            dims={IMAGE_CHANNEL: spec.dim},
            code_version=__version__,
        )
        # Parse it like a reader, so that an invalid contract is refused before it is written.
        parse_contract(contract_json(contract), name)
        (draft / CONTRACT_FILE).write_bytes(contract_json(contract))
        load_tower(read_bundle(draft))
    return folder
