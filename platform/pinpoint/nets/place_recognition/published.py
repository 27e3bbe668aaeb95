"""Published networks for place recognition: names, sources, licenses, input and output.

Without torch, so that commands can list them. The weights are not part of this package: a person
downloads them and `pinpoint bundles import` converts them once. Networks whose license does not
allow the use, or is unknown, are listed with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import Preprocess

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNetwork:
    """One published network."""

    title: str
    """As its paper writes it."""
    source: str
    """Address of the weights file."""
    license: str
    """License of the weights and of the backbone that they were trained from."""
    dim: int
    """D: width of its vectors."""
    preprocess: Preprocess
    """Input of the published results; the side may be changed."""
    published_recall: str | None
    """Recall@1 that its repository states, per cent, for comparison after the import; None: it
    states none."""


def _squash_preprocess(size_px: int, *, bicubic: bool = False) -> Preprocess:
    """Both sides scaled to `size_px`, ImageNet's mean and standard deviation."""
    return Preprocess(
        size_px=size_px,
        resize="squash",
        interpolation="bicubic" if bicubic else "bilinear",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    )


_SELAVPR_SOURCE = "https://huggingface.co/fenglu96/SelaVPRplusplus/resolve/main/"
_SELAVPR_LICENSE = "MIT, Copyright (c) 2026 Feng Lu and Tong Jin; DINOv2: Apache-2.0, Meta"
_BOQ_SOURCE = "https://github.com/amaralibey/Bag-of-Queries/releases/download/v1.0/"
_BOQ_LICENSE = "MIT, Copyright (c) 2024 Amar Ali-bey"

PUBLISHED_NETWORKS: Final[Mapping[str, PublishedNetwork]] = {
    "megaloc": PublishedNetwork(
        title="MegaLoc",
        source="https://huggingface.co/gberton/MegaLoc/resolve/main/model.safetensors",
        license="MIT, Gabriele Berton and Carlo Masone; DINOv2: Apache-2.0, Meta",
        dim=8448,
        preprocess=_squash_preprocess(322),
        published_recall=None,
    ),
    "boq-dinov2": PublishedNetwork(
        title="BoQ with DINOv2 ViT-B/14",
        source=f"{_BOQ_SOURCE}dinov2_12288.pth",
        license=f"{_BOQ_LICENSE}; DINOv2: Apache-2.0, Meta",
        dim=12_288,
        preprocess=_squash_preprocess(322, bicubic=True),
        published_recall="Pitts30k 93.7, MSLS-val 93.8",
    ),
    "boq-resnet50": PublishedNetwork(
        title="BoQ with ResNet50",
        source=f"{_BOQ_SOURCE}resnet50_16384.pth",
        license=f"{_BOQ_LICENSE}; ResNet50: BSD-3-Clause, torchvision",
        dim=16_384,
        preprocess=_squash_preprocess(384, bicubic=True),
        published_recall="Pitts30k 92.4, MSLS-val 91.2",
    ),
    "selavprplusplus-base": PublishedNetwork(
        title="SelaVPR++ with DINOv2 ViT-B/14",
        source=f"{_SELAVPR_SOURCE}SelaVPRplusplus_base.pth",
        license=_SELAVPR_LICENSE,
        dim=2048,
        preprocess=_squash_preprocess(322),
        published_recall="Pitts30k 93.3, MSLS-val 94.3, Nordland 94.7",
    ),
    "selavprplusplus-large": PublishedNetwork(
        title="SelaVPR++ with DINOv2 ViT-L/14",
        source=f"{_SELAVPR_SOURCE}SelaVPRplusplus_large.pth",
        license=_SELAVPR_LICENSE,
        dim=4096,
        preprocess=_squash_preprocess(322),
        published_recall="Pitts30k 94.4, MSLS-val 94.3, Nordland 97.0",
    ),
}

_NON_COMMERCIAL = "its license forbids commercial use"

REFUSED_NETWORKS: Final[Mapping[str, str]] = {
    "dinov3": "its weights have a license of their own that must be accepted first; DINOv2 is free",
    "mast3r": f"{_NON_COMMERCIAL} (CC BY-NC-SA)",
    "r2d2": f"{_NON_COMMERCIAL} (CC BY-NC-SA)",
    "salad": "no license of its weights was found",
    "superglue": f"{_NON_COMMERCIAL} (Magic Leap)",
    "superpoint": f"{_NON_COMMERCIAL} (Magic Leap)",
}
"""Networks that are not offered, in lower case, with the reason."""


def find_published(name: str) -> PublishedNetwork:
    """The published network of a name.

    Raises:
        BadBundleError: There is none, or it is not offered because of its license.
    """
    if name.lower() in REFUSED_NETWORKS:
        raise BadBundleError(f"{name} is not offered: {REFUSED_NETWORKS[name.lower()]}")
    if name not in PUBLISHED_NETWORKS:
        raise BadBundleError(
            f"no published network {name!r}; there are {', '.join(PUBLISHED_NETWORKS)}"
        )
    return PUBLISHED_NETWORKS[name]
