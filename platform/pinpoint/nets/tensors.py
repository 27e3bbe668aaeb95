"""Weights from files into networks: all of them, and no others."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pinpoint.errors import BadBundle
from pinpoint.nets.contract import TowerSpec


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file; such a file holds data only, no code.

    Raises:
        BadBundle: The file is missing or is no safetensors file.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadBundle(f"weights {file} cannot be read as safetensors: {error}") from error


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], spec: TowerSpec, file: Path) -> None:
    """Load tensors, all of the network's and no others but a text side or a classifier.

    Raises:
        BadBundle: Tensors are missing, unknown or of another shape.
    """
    wanted = network.state_dict()
    if spec.library == "open_clip" and any(name.startswith("visual.") for name in tensors):
        tensors = {
            name.removeprefix("visual."): tensor
            for name, tensor in tensors.items()
            if name.startswith("visual.")
        }
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    extra = [
        name
        for name in tensors
        if name not in wanted and not name.startswith(tuple(f"{head}." for head in heads))
    ]
    # A counter of training steps that inference never reads and many exports leave out.
    missing = [
        name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    wrong = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    for what, names in (("lack", missing), ("have unknown", extra), ("have wrong shapes:", wrong)):
        if names:
            raise BadBundle(
                f"weights {file} do not fit tower {spec}: they {what} {', '.join(names[:3])}"
                + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            )
    network.load_state_dict(
        {name: tensors[name] for name in wanted if name in tensors}, strict=False
    )
