"""Open an encoder from settings: bundle, device and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from pinpoint.errors import ConfigurationError
from pinpoint.nets.bundle.bundles import Bundle, find_bundle
from pinpoint.nets.bundle.checkpoint import load_tower
from pinpoint.nets.bundle.contract import BundleContract
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.nets.embedder.coordinate_lists import load_coordinates
from pinpoint.nets.embedder.embedder import Embedder
from pinpoint.nets.embedder.joint_embedding import load_heads, load_location
from pinpoint.nets.towers.preprocess import preprocess_images
from pinpoint.nets.towers.text_encoder import TextEncoder
from pinpoint.records import Pixels, Vector
from pinpoint.settings import EncoderSettings


def open_encoder(settings: EncoderSettings, home: Path, rendition_px: int) -> Embedder:
    """Load the bundle named by the settings; takes seconds, and memory for its weights.

    Args:
        settings: Bundle, device, batch.
        home: Home folder of the stack; bundles are looked up by name in `home/bundles`.
        rendition_px: Shorter side of the renditions to encode (a media setting).

    Raises:
        BadBundleError: The bundle does not exist or is invalid.
        ConfigurationError: The device is unknown or absent, or renditions are smaller than the
            input of the tower.
    """
    bundle = find_bundle(settings.bundle, home)
    contract = bundle.contract
    check_renditions(contract, rendition_px)
    device = choose_device(settings.device)
    if device.type == "cuda":
        _set_deterministic()
    heads, location = load_heads(bundle), load_location(bundle)
    return Embedder(
        load_tower(bundle).to(device),
        heads=None if heads is None else heads.to(device),
        location=None if location is None else location.to(device),
        coordinates=load_coordinates(bundle),
        text=_open_text(bundle, device),
        contract=public_contract(contract, rendition_px, bundle.calibrations),
        preprocess=contract.preprocess,
        device=device,
        batch=settings.encode_batch,
    )


def _open_text(bundle: Bundle, device: torch.device) -> TextEncoder | None:
    """The text encoder of a bundle, if its vectors are in the space of the images."""
    contract = bundle.contract
    if bundle.text is None or contract.heads is not None or contract.aggregation is not None:
        return None
    return TextEncoder(contract.tower, bundle.text, device)


def check_renditions(contract: BundleContract, rendition_px: int) -> None:
    """Check that renditions are large enough for the tower of a bundle.

    Raises:
        ConfigurationError: They are too small.
    """
    check_tower_size(contract.name, contract.preprocess.size_px, rendition_px)


def check_tower_size(name: str, tower_px: int, rendition_px: int) -> None:
    """Like `check_renditions`, for a tower without a bundle."""
    if rendition_px < tower_px:
        raise ConfigurationError(
            f"{name} needs {tower_px} px, renditions have {rendition_px}: set "
            f"PINPOINT_MEDIA_RENDITION_PX to {tower_px} or more, and ingest images again whose "
            "originals were not kept"
        )


def tower_features(
    bundle: Bundle, device: torch.device, batch: int
) -> Callable[[Sequence[Pixels]], Vector]:
    """The tower of a bundle as a function from images to features `[B, F]` fp32.

    Heads are trained on these features: the tower's output, not normalized, with the preprocessing
    and arithmetic of serving.
    """
    tower, preprocess = load_tower(bundle).to(device), bundle.contract.preprocess
    if device.type == "cuda":
        _set_deterministic()

    @torch.inference_mode()
    def encode(images: Sequence[Pixels]) -> Vector:
        parts = [
            tower(preprocess_images(images[start : start + batch], preprocess, device))
            .float()
            .cpu()
            .numpy()
            for start in range(0, len(images), batch)
        ]
        return np.concatenate(parts)

    return encode


def choose_device(name: str) -> torch.device:
    """Parse `auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigurationError: Another name, or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"device {name!r} is none of auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"device {name!r} is none of auto, cpu, cuda, cuda:N")
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= present:
        raise ConfigurationError(
            f"device {name!r} does not exist: this build of torch sees {present} CUDA devices; "
            "set PINPOINT_DEVICE to auto or cpu"
        )
    return device


def _set_deterministic() -> None:
    """Enable full fp32 and deterministic algorithms on CUDA, for the whole process.

    Not set and restored around each pass, because concurrent threads would restore wrong values.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
