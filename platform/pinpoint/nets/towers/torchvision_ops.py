"""Make torchvision importable with a build of torch that its compiled part does not match.

open_clip and timm import torchvision. Its default wheel is compiled for CUDA. With a CPU build of
torch the compiled part cannot be loaded and its operators are missing. `import torchvision` then
fails with "operator torchvision::nms does not exist" when it registers their shapes. Pinpoint
never calls these two operators (they prune detection boxes), so declaring them is enough.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import torch

_DECLARED = ("nms", "qnms")


@cache
def allow_torchvision() -> torch.library.Library | None:
    """Declare the missing operators, once, before anything imports torchvision.

    Returns:
        The declarations, which are valid while this object exists (the cache keeps it); None if
        torchvision's compiled part works or torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _compiled_part_loads(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _DECLARED:
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


def _compiled_part_loads(folder: Path) -> bool:
    """Whether torchvision's operators exist or its compiled part can be loaded."""
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    for file in sorted((*folder.glob("_C*.so"), *folder.glob("_C*.pyd"))):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError:
            # Compiled for another torch: the case that this module handles.
            continue
        return True
    return False
