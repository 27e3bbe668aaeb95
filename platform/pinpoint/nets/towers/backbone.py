"""Towers: any `open_clip` or `timm` network, with downloaded weights or those of a file.

Also the published networks of `pinpoint.nets.place_recognition`, with those of a file.

The libraries are imported when a tower is built, never before: the descriptor needs neither.
A tower maps `[B, 3, S, S]` to `[B, D]`, not normalized.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pinpoint.errors import BadBundleError, UnavailableError
from pinpoint.nets.bundle.contract import Argument, Preprocess, TowerSpec
from pinpoint.nets.bundle.tensors import load_state, read_tensors
from pinpoint.nets.place_recognition.networks import build_published
from pinpoint.nets.place_recognition.published import find_published
from pinpoint.nets.towers.descriptor import Descriptor
from pinpoint.nets.towers.torchvision_ops import allow_torchvision

_Values = range | tuple[Argument, ...]
_SIDE_PX = range(8, 4_097)
_FLAG = (True, False)
_ARGUMENTS: Mapping[str, Mapping[str, _Values | None]] = {
    "timm": {
        "act_layer": None,
        "dynamic_img_size": _FLAG,
        "global_pool": None,
        "img_size": _SIDE_PX,
        "output_stride": (8, 16, 32),
        "pad_type": ("", "same", "valid"),
    },
    "open_clip": {"image_size": _SIDE_PX, "quick_gelu": _FLAG},
    "place_recognition": {},
    "pinpoint": {},
}
"""An allow-list with the values of each argument; None leaves the values to the library.

timm also takes `checkpoint_path`, which unpickles, and so runs, what is in the file. Values that
timm does not know it often takes for the default without a word: `pad_type=smae` would change the
vectors of a tower and nobody would know."""


class Tower(nn.Module):
    """A library's image network; outputs other than the pooled vector are dropped."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, S, S]` to `[B, D]`.

        Raises:
            BadBundleError: The network does not give one vector per image.
        """
        output = self.network(pixels)
        # The tower of CoCa returns the pooled vector and its tokens.
        pooled = output[0] if isinstance(output, tuple) else output
        if not isinstance(pooled, torch.Tensor) or pooled.ndim != 2:
            raise BadBundleError(
                "the tower does not give one vector per image; choose a tower with pooling"
            )
        return pooled


def build_tower(spec: TowerSpec, weights: Path | None) -> Tower:
    """Build a tower for inference, on the CPU, in fp32.

    Args:
        spec: Library, name, arguments.
        weights: A safetensors file of the tower, or of a complete CLIP (`visual.*`) or classifier,
            whose other parts are ignored. None downloads the weights of `spec.pretrained`.

    Raises:
        BadBundleError: Unknown name, tag or argument, or weights that do not fit.
        UnavailableError: The download failed; the message names the file and how to import it.
    """
    if spec.library == "pinpoint":
        return Tower(Descriptor()).eval()
    if weights is None and spec.pretrained is None:
        raise BadBundleError(f"tower {spec} has neither a weights file nor a pretrained tag")
    tower = _build_network(spec, download=weights is None)
    if weights is not None:
        load_state(tower.network, read_tensors(weights), spec, weights)
    return tower


def init_tower(spec: TowerSpec, seed: int) -> Tower:
    """A tower with the random initial weights of its library, reproducible by seed.

    Raises:
        BadBundleError: Unknown name or argument, or a network without a library.
    """
    if spec.library in ("place_recognition", "pinpoint"):
        raise BadBundleError(f"{spec} cannot be trained; name a network of timm or open_clip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build_network(spec, download=False)


def _build_network(spec: TowerSpec, *, download: bool) -> Tower:
    _check_arguments(spec)
    builders = {
        "open_clip": _open_clip_network,
        "timm": _timm_network,
        "place_recognition": _published_network,
    }
    network = builders[spec.library](spec, download=download)
    return Tower(network).to(torch.float32).requires_grad_(False).eval()


def suggested_preprocess(spec: TowerSpec) -> Preprocess:
    """The preprocessing the library states for this tower and tag.

    Raises:
        BadBundleError: Unknown name, tag or argument, or a preprocessing this code does not have.
    """
    _check_arguments(spec)
    try:
        if spec.library == "open_clip":
            return _open_clip_preprocess(spec)
        if spec.library == "place_recognition":
            return find_published(spec.name).preprocess
        return _timm_preprocess(spec)
    except ValueError as error:
        raise BadBundleError(
            f"the preprocessing of tower {spec} must be given explicitly: {error}"
        ) from error


def _import_library(name: str) -> Any:
    allow_torchvision()
    return importlib.import_module(name)


def _check_arguments(spec: TowerSpec) -> None:
    allowed = _ARGUMENTS[spec.library]
    unknown = sorted(set(spec.arguments) - set(allowed))
    if unknown:
        raise BadBundleError(
            f"tower {spec} has arguments that are not allowed: {', '.join(unknown)}; "
            f"allowed are {', '.join(sorted(allowed)) or 'none'}"
        )
    for name, value in spec.arguments.items():
        values = allowed[name]
        # `1 in (True, False)` holds in Python, so the type is compared too.
        if values is not None and (
            value not in values or (values is _FLAG) != isinstance(value, bool)
        ):
            raise BadBundleError(
                f"tower {spec} does not take {name}={value}; it takes {_list_values(values)}"
            )


def _list_values(values: _Values) -> str:
    """The values of an argument, as a person types them."""
    if isinstance(values, range):
        return f"{values.start} to {values.stop - 1}"
    return " or ".join(str(value).lower() for value in values if value != "")


# --- open_clip ------------------------------------------------------------------------------


def _open_clip_config(spec: TowerSpec) -> dict[str, Any]:
    config: dict[str, Any] | None = _import_library("open_clip").get_model_config(spec.name)
    if config is None:
        raise BadBundleError(
            f"open_clip has no {spec.name!r}; open_clip.list_models() lists all models"
        )
    return config


def _open_clip_tag(spec: TowerSpec) -> dict[str, Any]:
    """Configuration of the tag in open_clip; empty without a tag."""
    if spec.pretrained is None:
        return {}
    tag: dict[str, Any] = _import_library("open_clip").get_pretrained_cfg(
        spec.name, spec.pretrained
    )
    if not tag:
        tags = _import_library("open_clip").list_pretrained_tags_by_model(spec.name)
        raise BadBundleError(
            f"open_clip has no weights {spec.pretrained!r} for {spec.name}; "
            f"it has {', '.join(tags) or 'none'}"
        )
    return tag


def _open_clip_network(spec: TowerSpec, *, download: bool) -> nn.Module:
    config, tag = _open_clip_config(spec), _open_clip_tag(spec)
    quick = bool(spec.arguments.get("quick_gelu", config.get("quick_gelu", False)))
    if tag and bool(tag.get("quick_gelu", False)) != quick:
        raise BadBundleError(
            f"weights {spec.pretrained!r} of {spec} were trained with quick_gelu={not quick}, the "
            f"tower has {quick}: give the argument quick_gelu, or choose the -quickgelu name"
        )
    if download:
        try:
            clip = _import_library("open_clip").create_model(
                spec.name,
                pretrained=spec.pretrained,
                force_quick_gelu=quick,
                force_image_size=spec.arguments.get("image_size"),
            )
        # Every transport raises its own exception classes; the remedy is always the same.
        except Exception as error:
            raise _not_downloaded(spec, str(tag.get("hf_hub") or tag.get("url")), error) from error
        network: nn.Module = clip.visual
        return network
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    vision["image_size"] = spec.arguments.get("image_size", vision.get("image_size", 224))
    # open_clip has no public function to build only the image encoder. The text encoder of the
    # largest towers costs gigabytes, and a download if it is a Hugging Face network. The version
    # of open_clip is pinned, and a test builds a tower this way.
    build = _import_library("open_clip.model")._build_vision_tower
    built: nn.Module = build(config["embed_dim"], vision, quick)
    return built


def _open_clip_preprocess(spec: TowerSpec) -> Preprocess:
    tag = _open_clip_tag(spec)
    size_px = _open_clip_config(spec)["vision_cfg"].get("image_size", 224)
    constants = _import_library("open_clip.constants")
    resize = tag.get("resize_mode", "shortest")
    if resize not in ("shortest", "squash"):
        raise ValueError(f"resize mode {resize!r}")
    return Preprocess(
        size_px=int(spec.arguments.get("image_size", size_px)),
        resize="squash" if resize == "squash" else "shorter",
        interpolation=tag.get("interpolation", "bicubic"),
        mean=tuple(tag.get("mean", constants.OPENAI_DATASET_MEAN)),
        std=tuple(tag.get("std", constants.OPENAI_DATASET_STD)),
    )


# --- timm -----------------------------------------------------------------------------------


def _timm_name(spec: TowerSpec) -> str:
    return spec.name if spec.pretrained is None else f"{spec.name}.{spec.pretrained}"


def _timm_tag(spec: TowerSpec) -> Any:
    """Configuration of the tag in timm, or of the default tag."""
    try:
        return _import_library("timm").get_pretrained_cfg(
            _timm_name(spec), allow_unregistered=False
        )
    except RuntimeError as error:
        raise BadBundleError(f"timm has no weights {spec.pretrained!r} for {spec.name}") from error


def _timm_network(spec: TowerSpec, *, download: bool) -> nn.Module:
    timm = _import_library("timm")
    if not timm.is_model(spec.name):
        raise BadBundleError(f"timm has no {spec.name!r}; timm.list_models() lists all models")
    arguments: dict[str, Argument] = {**spec.arguments}
    if not download:
        try:
            network: nn.Module = timm.create_model(spec.name, num_classes=0, **arguments)
        # A library's complaint about an argument has any of these classes.
        except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
            argument_text = ", ".join(f"{name}={value}" for name, value in arguments.items())
            raise BadBundleError(
                f"timm cannot build {spec} with {argument_text or 'no arguments'}: "
                "the network does not take one of them, or not with this value"
            ) from error
        return network
    tag = _timm_tag(spec)
    try:
        pretrained: nn.Module = timm.create_model(
            _timm_name(spec), pretrained=True, num_classes=0, **arguments
        )
    # As above: every transport raises its own exception classes.
    except Exception as error:
        raise _not_downloaded(spec, str(tag.hf_hub_id or tag.url), error) from error
    return pretrained


def _timm_preprocess(spec: TowerSpec) -> Preprocess:
    tag = _timm_tag(spec)
    _, height_px, width_px = tag.input_size
    if height_px != width_px or tag.crop_mode not in ("center", "squash"):
        raise ValueError(f"input {tag.input_size}, crop mode {tag.crop_mode!r}")
    return Preprocess(
        size_px=int(spec.arguments.get("img_size", height_px)),
        resize="squash" if tag.crop_mode == "squash" else "shorter",
        crop=tag.crop_pct,
        interpolation=tag.interpolation,
        mean=tag.mean,
        std=tag.std,
    )


# --- place recognition ----------------------------------------------------------------------


def _published_network(spec: TowerSpec, *, download: bool) -> nn.Module:
    if download:
        raise BadBundleError(
            f"the weights of {spec} are not downloaded: fetch "
            f"{find_published(spec.name).source}, then `pinpoint bundles import {spec.name} "
            "--weights FILE --name NAME`"
        )
    return build_published(spec.name)


# --- downloads ------------------------------------------------------------------------------


def _not_downloaded(spec: TowerSpec, source: str, error: Exception) -> UnavailableError:
    """The error for a failed download, with the remedy."""
    url = source if source.startswith("http") else f"https://huggingface.co/{source.strip('/')}"
    return UnavailableError(
        f"weights {spec.pretrained!r} of {spec} could not be downloaded ({error}). On a machine "
        f"with network access, download the .safetensors file from {url} and pass it to `pinpoint "
        "bundles import`, or download it there and copy the Hugging Face cache (HF_HOME) here.",
        reason="weights_unavailable",
    )
