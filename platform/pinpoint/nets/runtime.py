"""From settings to an encoder: which bundle, which device, which arithmetic."""

from __future__ import annotations

from pathlib import Path

import torch

from pinpoint.errors import BadBundle, Misconfigured
from pinpoint.nets.checkpoint import Bundle, descriptor_bundle, load_tower, read_bundle
from pinpoint.nets.contract import CONTRACT_FILE, DESCRIPTOR_NAME, public_contract
from pinpoint.nets.embedder import Embedder
from pinpoint.settings import EncoderSettings

BUNDLES_FOLDER = "bundles"


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
    if rendition_px < contract.preprocess.size_px:
        raise Misconfigured(
            f"bundle {contract.name} looks at {contract.preprocess.size_px} px, renditions have "
            f"{rendition_px}: set PINPOINT_MEDIA_RENDITION_PX to {contract.preprocess.size_px} or "
            "more, and ingest again what was kept as rendition only"
        )
    device = choose_device(settings.device)
    if device.type == "cuda":
        _exact_arithmetic()
    return Embedder(
        load_tower(bundle).to(device),
        contract=public_contract(contract, rendition_px),
        preprocess=contract.preprocess,
        device=device,
        batch=settings.encode_batch,
    )


def find_bundle(name: str, home: Path) -> Bundle:
    """The bundle called `descriptor`, in a folder, or of a name below `home/bundles`.

    Raises:
        BadBundle: There is none, or it is not whole; the message lists those there are.
    """
    if name == DESCRIPTOR_NAME:
        return descriptor_bundle()
    bundles = home / BUNDLES_FOLDER
    as_path = Path(name).expanduser()
    for folder in (as_path, bundles / name):
        if (folder / CONTRACT_FILE).is_file():
            return read_bundle(folder)
    if as_path.is_dir():
        raise BadBundle(f"{as_path} is no bundle: it has no {CONTRACT_FILE}")
    known = sorted(path.parent.name for path in bundles.glob(f"*/{CONTRACT_FILE}"))
    raise BadBundle(
        f"no bundle {name!r}: it is no folder, and {bundles} holds {', '.join(known) or 'none'}; "
        f"{DESCRIPTOR_NAME!r} is always there"
    )


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
