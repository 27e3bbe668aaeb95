"""Published networks in `pinpoint bundles import`: the weights file is one that a person has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinpoint.cli.tower_options import TowerShape
from pinpoint.errors import BadRequestError

if TYPE_CHECKING:
    from pinpoint.nets.bundle.bundles import Bundle


def is_published(location: str) -> bool:
    """Whether it is the name of a published network; write `./NAME` for a folder of that name."""
    from pinpoint.nets.place_recognition.published import PUBLISHED_NETWORKS

    return location in PUBLISHED_NETWORKS


def describe_missing(location: str) -> str:
    """Why `import` does not take an argument that is no file."""
    from pinpoint.nets.place_recognition.published import REFUSED_NETWORKS

    reason = REFUSED_NETWORKS.get(location.lower())
    if reason is not None:
        return f"{location} is not offered: {reason}"
    return f"{location} does not exist: give the folder of a bundle or a safetensors file"


def import_published(
    network: str, folder: Path, weights: Path | None, *, shape: TowerShape, note: str | None
) -> Bundle:
    """Convert a weights file to a bundle, named like its folder.

    Args:
        network: Name of a published network.
        folder: Target folder; it must not exist.
        weights: The published file; None if the person gave none.
        shape: Changes of the input; the network has an aggregation of its own.
        note: Shown with every answer; None: a general one.

    Raises:
        BadRequestError: There is no weights file (the message says where to get it), or the shape
            names an aggregation.
        BadBundleError: The file is not that of the network, or the size does not fit.
        ConflictError: The folder exists.
    """
    from pinpoint.nets.bundle.bundles import read_bundle
    from pinpoint.nets.bundle.contract import TowerSpec
    from pinpoint.nets.place_recognition.importer import write_published
    from pinpoint.nets.place_recognition.published import find_published

    if weights is None or not weights.is_file():
        problem = "needs its weights file" if weights is None else f"{weights} does not exist"
        raise BadRequestError(
            f"{network}: {problem}. Download {find_published(network).source}, then `pinpoint "
            f"bundles import {network} --weights FILE --name {folder.name}`"
        )
    if shape.aggregation or shape.layer or shape.gem_power:
        raise BadRequestError(f"{network} has an aggregation of its own; leave --aggregation out")
    spec = TowerSpec(library="place_recognition", name=network)
    write_published(
        folder,
        name=folder.name,
        network=network,
        weights=weights,
        preprocess=shape.change_preprocess(spec),
        note=note,
    )
    return read_bundle(folder)
