"""From settings to an encoder: which bundle, which device, which arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from pinpoint.errors import Misconfigured
from pinpoint.nets.bundles import Bundle, find_bundle
from pinpoint.nets.checkpoint import load_tower
from pinpoint.nets.contract import BundleContract
from pinpoint.nets.digests import public_contract
from pinpoint.nets.embedder import Embedder
from pinpoint.nets.place_lists import load_places
from pinpoint.nets.preprocess import prepare
from pinpoint.nets.spaces import load_heads, load_location
from pinpoint.records import Pixels, Vector
from pinpoint.settings import EncoderSettings


def open_encoder(settings: EncoderSettings, home: Path, rendition_px: int) -> Embedder:
    """Load the bundle that the settings name; seconds, and memory for its weights.

    Args:
        settings: Bundle, device, batch.
        home: Folder of the stack; bundles are looked up by name below `home/bundles`.
        rendition_px: Shorter side of the renditions it will be given (the media setting).

    Raises:
        BadBundle: There is no such bundle, or it is not whole.
        Misconfigured: The device is unknown or absent, or renditions are smaller than the tower's
            input.
    """
    bundle = find_bundle(settings.bundle, home)
    contract = bundle.contract
    check_renditions(contract, rendition_px)
    device = choose_device(settings.device)
    if device.type == "cuda":
        _exact_arithmetic()
    heads, location = load_heads(bundle), load_location(bundle)
    return Embedder(
        load_tower(bundle).to(device),
        heads=None if heads is None else heads.to(device),
        location=None if location is None else location.to(device),
        listed=load_places(bundle),
        contract=public_contract(contract, rendition_px, bundle.calibrations),
        preprocess=contract.preprocess,
        device=device,
        batch=settings.encode_batch,
    )


def check_renditions(contract: BundleContract, rendition_px: int) -> None:
    """Whether renditions are large enough for a bundle's tower.

    Raises:
        Misconfigured: They are not.
    """
    check_size(contract.name, contract.preprocess.size_px, rendition_px)


def check_size(name: str, wanted_px: int, rendition_px: int) -> None:
    """As `check_renditions`, for a tower that has no bundle yet."""
    if rendition_px < wanted_px:
        raise Misconfigured(
            f"{name} looks at {wanted_px} px, renditions have {rendition_px}: set "
            f"PINPOINT_MEDIA_RENDITION_PX to {wanted_px} or more, and ingest again what was kept "
            "as rendition only"
        )


def tower_features(
    bundle: Bundle, device: torch.device, batch: int
) -> Callable[[Sequence[Pixels]], Vector]:
    """The bare tower of a bundle as a function from pictures to features `[B, F]` fp32.

    What heads are trained on: the tower's output as it is, of no particular length, and by the same
    preprocessing and arithmetic as in serving.
    """
    tower, preprocess = load_tower(bundle).to(device), bundle.contract.preprocess
    if device.type == "cuda":
        _exact_arithmetic()

    @torch.inference_mode()
    def encode(images: Sequence[Pixels]) -> Vector:
        parts = [
            tower(prepare(images[start : start + batch], preprocess, device)).float().cpu().numpy()
            for start in range(0, len(images), batch)
        ]
        return np.concatenate(parts)

    return encode


def choose_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        Misconfigured: Another word, or a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise Misconfigured(f"device {name!r} is none of auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise Misconfigured(f"device {name!r} is none of auto, cpu, cuda, cuda:N")
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= present:
        raise Misconfigured(
            f"device {name!r} is not there: this build of torch sees {present} CUDA devices; "
            "set PINPOINT_DEVICE to auto or cpu"
        )
    return device


def _exact_arithmetic() -> None:
    """Full fp32 and fixed algorithms on CUDA, for the process.

    Not set and restored around each pass: two threads would restore each other's.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
