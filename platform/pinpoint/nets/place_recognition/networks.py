"""Build published networks, and convert published files to the tensors of these networks."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pinpoint.errors import BadBundleError, describe_cause
from pinpoint.nets.bundle.tensors import read_tensors
from pinpoint.nets.place_recognition.boq import BOQ_NAMES, BoqDinoV2, BoqResNet50
from pinpoint.nets.place_recognition.dinov2 import DINO_LARGE
from pinpoint.nets.place_recognition.megaloc import MEGALOC_NAMES, MegaLoc
from pinpoint.nets.place_recognition.published import find_published
from pinpoint.nets.place_recognition.selavpr import SELAVPR_NAMES, SelaVpr
from pinpoint.nets.place_recognition.state_names import NameTable, rename_tensors
from pinpoint.nets.towers.torchvision_ops import allow_torchvision

_NETWORKS: Final[Mapping[str, tuple[Callable[[], nn.Module], NameTable]]] = {
    "megaloc": (MegaLoc, MEGALOC_NAMES),
    "boq-dinov2": (BoqDinoV2, BOQ_NAMES),
    "boq-resnet50": (BoqResNet50, BOQ_NAMES),
    "selavprplusplus-base": (SelaVpr, SELAVPR_NAMES),
    "selavprplusplus-large": (
        lambda: SelaVpr(DINO_LARGE, adapters=16, dim=4096),
        SELAVPR_NAMES,
    ),
}

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
"""First bytes of a file of `torch.save`: a zip archive, or a pickle in the old format."""
_STATE_KEY = "model_state_dict"
"""Key of the weights in a checkpoint of a training program."""
_PARALLEL_PREFIX = "module."
"""What `DataParallel` puts before every name."""
_DATA_TYPES: Final[list[Any]] = [
    np.ndarray,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
    # Names of numpy 1, which checkpoints were saved with, and of numpy 2.
    *(
        (getattr(importlib.import_module("numpy._core.multiarray"), name), f"{module}.{name}")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    ),
]
"""What a checkpoint may hold in addition to tensors: numbers of the training, never used."""


def build_published(name: str) -> nn.Module:
    """A published network whose parameters have no values yet, on the CPU.

    Raises:
        BadBundleError: There is no network of this name, or it is not offered.
    """
    find_published(name)
    allow_torchvision()
    # Imported before the device is set, so that nothing in the library is created without storage.
    importlib.import_module("timm")
    build, _ = _NETWORKS[name]
    # Random initial values would cost seconds and change the caller's random generator.
    with torch.device("meta"):
        network = build()
    network.to_empty(device="cpu")
    for buffer in network.buffers():
        buffer.zero_()
    return network


def convert_published(name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a published file under the names of our network.

    Raises:
        BadBundleError: There is no network of this name, or it is not offered.
    """
    find_published(name)
    _, table = _NETWORKS[name]
    return rename_tensors(tensors, table)


def read_published(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a published file: safetensors, or a file of `torch.save` with tensors only.

    A pickle is read by torch's restricted reader, which builds tensors and numbers and runs no
    code. A checkpoint of a training program and names of `DataParallel` are unwrapped.

    Raises:
        BadBundleError: The file is missing, has another format, or holds anything else.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
        if not start.startswith(_PICKLE_STARTS):
            return read_tensors(file)
        with torch.serialization.safe_globals(_DATA_TYPES):
            document = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadBundleError(f"weights {file} cannot be read: {error.strerror}") from error
    except (EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise BadBundleError(
            f"weights {file} cannot be read as a file of tensors: {describe_cause(error)}"
        ) from error
    state = document.get(_STATE_KEY, document) if isinstance(document, Mapping) else document
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise BadBundleError(f"weights {file} hold other things than named tensors")
    return {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in state.items()}
