"""Makes torchvision importable beside a build of torch that its compiled part was not made for.

open_clip and timm import torchvision. Its default wheel is compiled for CUDA; beside a CPU build
of torch the compiled part cannot be loaded, its operators are missing, and `import torchvision`
fails with "operator torchvision::nms does not exist" while it registers shapes for them. Nothing
here calls these two operators (they prune detection boxes): declaring them is enough.
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
        The declarations, which live as long as this object does (the cache holds it); None where
        torchvision's compiled part works, or torchvision is not installed.
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
    """Whether torchvision's operators are there, or come with its compiled part."""
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    for file in sorted((*folder.glob("_C*.so"), *folder.glob("_C*.pyd"))):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError:
            # Made for another torch: the very case this module is for.
            continue
        return True
    return False
