"""Write the bundle of a published network from the file that a person downloaded."""

from __future__ import annotations

from pathlib import Path

import torch

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import file_sha256, require_absent
from pinpoint.nets.bundle.checkpoint import tower_weights, write_tower
from pinpoint.nets.bundle.contract import Preprocess, TowerSpec, new_contract
from pinpoint.nets.bundle.specs import PublishedFile
from pinpoint.nets.bundle.tensors import load_state
from pinpoint.nets.place_recognition.networks import (
    build_published,
    convert_published,
    read_published,
)
from pinpoint.nets.place_recognition.published import (
    PublishedNetwork,
    find_published,
)
from pinpoint.nets.towers.backbone import Tower


def write_published(
    folder: Path,
    *,
    name: str,
    network: str,
    weights: Path,
    preprocess: Preprocess | None = None,
    note: str | None = None,
) -> Path:
    """Convert a published file and write it as a bundle.

    The published file is read here only; the bundle holds safetensors. Its contract records the
    source, the SHA-256 and the license of the published file.

    Args:
        folder: Target folder; it must not exist. It is created atomically.
        name: Shown in answers.
        network: One of `PUBLISHED_NETWORKS`.
        weights: The published file.
        preprocess: Default: that of the published results.
        note: Capabilities and limits of the weights, shown in every answer.

    Returns:
        `folder`.

    Raises:
        ConflictError: The folder exists.
        BadBundleError: The network is unknown or not offered, the file is not that of the
            network, or the network does not take images of this size.
    """
    published = find_published(network)
    require_absent(folder)
    spec = TowerSpec(library="place_recognition", name=network)
    origin = PublishedFile(file=weights.name, sha256=file_sha256(weights), source=published.source)
    contract = new_contract(
        name=name,
        tower=spec,
        weights=tower_weights(published.license, origin),
        preprocess=preprocess or published.preprocess,
        note=note or _default_note(published),
    )
    tensors = convert_published(network, read_published(weights))
    _require_finite(tensors, weights)
    module = build_published(network)
    load_state(module, tensors, spec, weights)
    return write_tower(folder, Tower(module).requires_grad_(False).eval(), contract)


def _default_note(published: PublishedNetwork) -> str:
    recall = published.published_recall
    reported = f" Published recall@1 in per cent: {recall}." if recall else ""
    return (
        f"{published.title}, trained to find views of the same location; its similarities are not"
        f" probabilities.{reported} Whether this import gives the published vectors was not checked"
        " by Pinpoint."
    )


def _require_finite(tensors: dict[str, torch.Tensor], file: Path) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BadBundleError(
                f"weights {file} cannot be used: {name} has values that are not finite"
            )
