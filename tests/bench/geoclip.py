"""GeoCLIP's own `predict` against ours over its 100,000 places, both without the CLIP tower.

Theirs encodes all places at every call. Ours has their unit vectors ready (the cost of that, paid
once, is reported) and compares them exactly, by the code that serves. Both take the same tower
feature and return the best places with the softmax over all of them.
"""

from __future__ import annotations

import io
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.stack import Say
from nets.geoclip_package import reference
from pinpoint.nets.geoclip.files import gallery_coordinates, read_geoclip
from pinpoint.nets.geoclip.network import GeoClip, build_geoclip, encode_positions
from pinpoint.records import CoordinateGallery, SearchFilter
from pinpoint.search.coordinate_search import compare_coordinates

TARGET = 100
_TOP, _THEIR_CALLS, _OUR_CALLS = 5, 3, 200


def measure(say: Say) -> dict[str, object]:
    """Medians of both, in one process and with the same threads.

    Returns:
        Milliseconds of a call (`package_ms`, `ours_ms`), their `ratio`, seconds to encode the
        places once (`encode_once_s`), `places`, `threads`, `calls` of each, and `same_answers`:
        whether both named the same places, to 1e-4 in the probability, at every call of theirs.
    """
    theirs: Any = reference()
    net, places = build_geoclip(read_geoclip()), gallery_coordinates()
    say("geoclip: encoding the places once")
    began = perf_counter()
    gallery = CoordinateGallery(
        positions=places,
        vectors=encode_positions(net.location, places),
        temperature=float(net.logit_scale.exp()),
        digest="",
    )
    encode_once_s = perf_counter() - began
    features = torch.randn(_OUR_CALLS, 768, generator=torch.Generator().manual_seed(1)) * 0.5
    # `predict` opens a file first; an image of one pixel costs almost nothing.
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    took: dict[str, list[float]] = {"package": [], "ours": []}
    same = True
    for number, feature in enumerate(features):
        began = perf_counter()
        at, shares = _predict(net, gallery, feature)
        took["ours"].append(perf_counter() - began)
        if number >= _THEIR_CALLS:
            continue
        say(f"geoclip: call {number + 1} of {_THEIR_CALLS} of the package")
        # The package's tower passes its input through: the "pixels" are the feature.
        theirs.image_encoder.image_processor = _Features(feature)
        began = perf_counter()
        their_at, their_shares = theirs.predict(pixel, _TOP)
        took["package"].append(perf_counter() - began)
        same &= np.allclose(shares, their_shares.numpy(), rtol=1e-4)
        same &= np.array_equal(at.astype(np.float32), their_at.numpy())
    package_s, ours_s = median(took["package"]), median(took["ours"])
    return {
        "places": len(places),
        "threads": torch.get_num_threads(),
        "calls": {"package": _THEIR_CALLS, "ours": _OUR_CALLS},
        "package_ms": package_s * 1e3,
        "ours_ms": ours_s * 1e3,
        "ratio": package_s / ours_s,
        "encode_once_s": encode_once_s,
        "same_answers": same,
    }


class _Features:
    """Replaces the image processor: the same feature for any image."""

    def __init__(self, feature: torch.Tensor) -> None:
        self._feature = feature

    def __call__(self, images: object, return_tensors: str) -> dict[str, torch.Tensor]:
        return {"pixel_values": self._feature[None]}


@torch.inference_mode()
def _predict(
    net: GeoClip, gallery: CoordinateGallery, feature: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The best places `[_TOP, 2]` and their shares `[_TOP]` of the softmax over all."""
    compared = compare_coordinates(
        net.image.unit(feature[None])[0].numpy(), gallery, SearchFilter()
    )
    return compared.positions[:_TOP], compared.weight[:_TOP]
