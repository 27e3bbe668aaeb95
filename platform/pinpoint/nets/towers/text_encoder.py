"""Text encoders of `open_clip` towers: a text to a unit vector in the space of the images.

Only towers whose tokenizer is part of `open_clip` are supported; others would download one.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.bundle.tensors import read_tensors
from pinpoint.nets.towers.torchvision_ops import allow_torchvision
from pinpoint.records import Vector

_TEXT_PREFIX: Final = "text."
_MARK: Final = "token_embedding.weight"
"""A tensor that all supported text encoders have."""


class TextEncoder:
    """Text encoder of a bundle; its weights are loaded at the first use. Thread-safe.

    Args:
        spec: The tower.
        weights: File of `select_text_tensors`.
        device: Device of the forward pass.
    """

    def __init__(self, spec: TowerSpec, weights: Path, device: torch.device) -> None:
        self._spec, self._weights, self._device = spec, weights, device
        self._network: nn.Module | None = None
        self._lock = threading.Lock()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Vector:
        """Texts to fp32 unit vectors `[B, D]`, one by one: a vector depends on its text only.

        A text longer than the context of the network is cut, as in its training.

        Raises:
            BadBundleError: The weights do not fit the network, or give no finite vector.
        """
        with self._lock:
            if self._network is None:
                self._network = _build_text_network(self._spec, self._weights).to(self._device)
            tokenizer = _import_open_clip().get_tokenizer(self._spec.name)
            rows = [
                self._network(tokenizer([text]).to(self._device))[0].float().cpu().numpy()
                for text in texts
            ]
        vectors = np.stack(rows)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise BadBundleError(
                f"the text encoder of {self._spec} gives no finite, non-zero vector",
                reason="vector_not_finite",
            )
        return np.asarray(vectors / lengths, dtype=np.float32)


def select_text_tensors(spec: TowerSpec, weights: Path | None) -> dict[str, torch.Tensor] | None:
    """The tensors of the text encoder; None if there is none that works without a download.

    Args:
        spec: The tower.
        weights: File of a complete CLIP; None reads the downloaded weights of `spec.pretrained`.
    """
    if spec.library != "open_clip" or not _has_own_tokenizer(spec):
        return None
    if weights is not None:
        tensors = read_tensors(weights)
    else:
        # The download is that of the image encoder, so it is in the cache.
        clip = _import_open_clip().create_model(spec.name, pretrained=spec.pretrained)
        tensors = clip.state_dict()
    if any(name.startswith(_TEXT_PREFIX) for name in tensors):
        tensors = {
            name.removeprefix(_TEXT_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(_TEXT_PREFIX)
        }
    if _MARK not in tensors:
        return None
    names = _make_text_network(spec).state_dict().keys()
    return {name: tensors[name].contiguous() for name in names if name in tensors}


def _has_own_tokenizer(spec: TowerSpec) -> bool:
    text: dict[str, Any] = (_import_open_clip().get_model_config(spec.name) or {}).get(
        "text_cfg", {}
    )
    if text.get("hf_model_name") or text.get("hf_tokenizer_name"):
        return False
    vocabulary: int = _import_open_clip().get_tokenizer(spec.name).vocab_size
    return int(text.get("vocab_size", 49_408)) >= vocabulary


def _build_text_network(spec: TowerSpec, weights: Path) -> nn.Module:
    network, tensors = _make_text_network(spec), read_tensors(weights)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadBundleError(f"the text weights {weights} do not fit {spec}: {error}") from error
    return network.to(torch.float32).requires_grad_(False).eval()


def _make_text_network(spec: TowerSpec) -> nn.Module:
    config = _import_open_clip().get_model_config(spec.name)
    quick = bool(spec.arguments.get("quick_gelu", config.get("quick_gelu", False)))
    # As for the image encoder: no public function builds only the text encoder.
    build = importlib.import_module("open_clip.model")._build_text_tower
    network: nn.Module = build(config["embed_dim"], config["text_cfg"], quick)
    return network


def _import_open_clip() -> Any:
    allow_torchvision()
    return importlib.import_module("open_clip")
