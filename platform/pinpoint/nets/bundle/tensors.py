"""Load weights from files into networks; missing and unknown tensors are errors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pinpoint.errors import BadBundleError, describe_cause
from pinpoint.nets.bundle.contract import TowerSpec


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file; the format contains data only, no code.

    Raises:
        BadBundleError: The file is missing or is not a safetensors file.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadBundleError(
            f"weights {file} cannot be read as safetensors: {describe_cause(error)}"
        ) from error


def load_state(
    network: nn.Module, tensors: dict[str, torch.Tensor], spec: TowerSpec, file: Path
) -> None:
    """Load all tensors of a network; only a text encoder or a classifier may be left over.

    Raises:
        BadBundleError: Tensors are missing, unknown or of another shape.
    """
    state = network.state_dict()
    if spec.library == "open_clip" and any(name.startswith("visual.") for name in tensors):
        tensors = {
            name.removeprefix("visual."): tensor
            for name, tensor in tensors.items()
            if name.startswith("visual.")
        }
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    unknown = [
        name
        for name in tensors
        if name not in state and not name.startswith(tuple(f"{head}." for head in heads))
    ]
    # A counter of training steps: inference never reads it and many exports omit it.
    missing = [
        name for name in state if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    wrong_shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in state.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    for complaint, names in (
        ("lack", missing),
        ("have unknown", unknown),
        ("have wrong shapes:", wrong_shapes),
    ):
        if names:
            raise BadBundleError(
                f"weights {file} do not fit tower {spec}: they {complaint} {', '.join(names[:3])}"
                + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            )
    network.load_state_dict(
        {name: tensors[name] for name in state if name in tensors}, strict=False
    )
