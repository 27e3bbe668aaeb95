"""Towers: any `open_clip` or `timm` name, with downloaded weights or those of a safetensors file.

The libraries are imported when a tower is asked for, never before: the descriptor needs neither.
A tower maps `[B, 3, S, S]` to `[B, D]`, not yet of unit length.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pinpoint.errors import BadBundle, Unavailable
from pinpoint.nets.contract import Argument, Preprocess, TowerSpec
from pinpoint.nets.descriptor import Descriptor
from pinpoint.nets.tensors import fill, read_tensors
from pinpoint.nets.torchvision_ops import allow_torchvision

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
    "pinpoint": {},
}
"""An allow-list with the values of each argument; None leaves the values to the library.

timm also takes `checkpoint_path`, which unpickles, and so runs, what is in the file. Values that
timm does not know it often takes for the default without a word: `pad_type=smae` would change the
vectors of a tower and nobody would know."""


class Tower(nn.Module):
    """A library's image network, whatever it returns beside the pooled vector."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, S, S]` to `[B, D]`.

        Raises:
            BadBundle: The network gives no single vector per picture.
        """
        output = self.network(pixels)
        # CoCa's tower gives the pooled vector and its tokens.
        pooled = output[0] if isinstance(output, tuple) else output
        if not isinstance(pooled, torch.Tensor) or pooled.ndim != 2:
            raise BadBundle("the tower gives no single vector per picture; choose a pooled one")
        return pooled


def build_tower(spec: TowerSpec, weights: Path | None) -> Tower:
    """Build a tower for inference, on the CPU, in fp32.

    Args:
        spec: Library, name, arguments.
        weights: A safetensors file: of the tower alone, or of a whole CLIP (`visual.*`) or
            classifier, whose other parts are left out. None downloads those of `spec.pretrained`.

    Raises:
        BadBundle: Unknown name, tag or argument, or weights that do not fit.
        Unavailable: The download failed; the message says what to fetch and where to put it.
    """
    if spec.library == "pinpoint":
        return Tower(Descriptor()).eval()
    if weights is None and spec.pretrained is None:
        raise BadBundle(f"tower {spec} has neither a weights file nor a pretrained tag")
    tower = _network(spec, download=weights is None)
    if weights is not None:
        fill(tower.network, read_tensors(weights), spec, weights)
    return tower


def fresh_tower(spec: TowerSpec, seed: int) -> Tower:
    """A tower with the random weights its library begins with, the same for the same seed.

    Raises:
        BadBundle: Unknown name or argument, or a network that comes without a library.
    """
    if spec.library == "pinpoint":
        raise BadBundle(f"{spec} cannot be trained; name a network of timm or open_clip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _network(spec, download=False)


def _network(spec: TowerSpec, *, download: bool) -> Tower:
    _check_arguments(spec)
    make = _open_clip_network if spec.library == "open_clip" else _timm_network
    network = make(spec, download=download)
    return Tower(network).to(torch.float32).requires_grad_(False).eval()


def suggested_preprocess(spec: TowerSpec) -> Preprocess:
    """The preprocessing the library states for this tower and tag.

    Raises:
        BadBundle: Unknown name, tag or argument, or a preprocessing this code does not have.
    """
    _check_arguments(spec)
    try:
        if spec.library == "open_clip":
            return _open_clip_preprocess(spec)
        return _timm_preprocess(spec)
    except ValueError as error:
        raise BadBundle(
            f"tower {spec} is preprocessed in a way that has to be given by hand: {error}"
        ) from error


def _library(name: str) -> Any:
    allow_torchvision()
    return importlib.import_module(name)


def _check_arguments(spec: TowerSpec) -> None:
    allowed = _ARGUMENTS[spec.library]
    unknown = sorted(set(spec.arguments) - set(allowed))
    if unknown:
        raise BadBundle(
            f"tower {spec} has arguments that are not allowed: {', '.join(unknown)}; "
            f"allowed are {', '.join(sorted(allowed)) or 'none'}"
        )
    for name, value in spec.arguments.items():
        values = allowed[name]
        # `1 in (True, False)` holds in Python, so the type is compared too.
        if values is not None and (
            value not in values or (values is _FLAG) != isinstance(value, bool)
        ):
            raise BadBundle(
                f"tower {spec} does not take {name}={value}; it takes {_list_values(values)}"
            )


def _list_values(values: _Values) -> str:
    """The values of an argument, as a person types them."""
    if isinstance(values, range):
        return f"{values.start} to {values.stop - 1}"
    return " or ".join(str(value).lower() for value in values if value != "")


# --- open_clip ------------------------------------------------------------------------------


def _open_clip_config(spec: TowerSpec) -> dict[str, Any]:
    config: dict[str, Any] | None = _library("open_clip").get_model_config(spec.name)
    if config is None:
        raise BadBundle(f"open_clip knows no {spec.name!r}; open_clip.list_models() names them all")
    return config


def _open_clip_tag(spec: TowerSpec) -> dict[str, Any]:
    """What open_clip knows of the tag; empty without one."""
    if spec.pretrained is None:
        return {}
    found: dict[str, Any] = _library("open_clip").get_pretrained_cfg(spec.name, spec.pretrained)
    if not found:
        tags = _library("open_clip").list_pretrained_tags_by_model(spec.name)
        raise BadBundle(
            f"open_clip has no weights {spec.pretrained!r} for {spec.name}; "
            f"it has {', '.join(tags) or 'none'}"
        )
    return found


def _open_clip_network(spec: TowerSpec, *, download: bool) -> nn.Module:
    config, tag = _open_clip_config(spec), _open_clip_tag(spec)
    quick = bool(spec.arguments.get("quick_gelu", config.get("quick_gelu", False)))
    if tag and bool(tag.get("quick_gelu", False)) != quick:
        raise BadBundle(
            f"weights {spec.pretrained!r} of {spec} were trained with quick_gelu={not quick}, the "
            f"tower has {quick}: give the argument quick_gelu, or choose the -quickgelu name"
        )
    if download:
        try:
            whole = _library("open_clip").create_model(
                spec.name,
                pretrained=spec.pretrained,
                force_quick_gelu=quick,
                force_image_size=spec.arguments.get("image_size"),
            )
        # Every transport below raises its own kind; whatever it was, the remedy is the same.
        except Exception as error:
            raise _not_downloaded(spec, str(tag.get("hf_hub") or tag.get("url")), error) from error
        network: nn.Module = whole.visual
        return network
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    vision["image_size"] = spec.arguments.get("image_size", vision.get("image_size", 224))
    # open_clip has no public way to build the image side alone; the text side of the largest
    # towers costs gigabytes and, where it is a Hugging Face network, a download. The version of
    # open_clip is pinned, and a test builds a tower this way.
    build = _library("open_clip.model")._build_vision_tower
    built: nn.Module = build(config["embed_dim"], vision, quick)
    return built


def _open_clip_preprocess(spec: TowerSpec) -> Preprocess:
    tag = _open_clip_tag(spec)
    size_px = _open_clip_config(spec)["vision_cfg"].get("image_size", 224)
    constants = _library("open_clip.constants")
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
    """What timm knows of the tag, or of its default one."""
    try:
        return _library("timm").get_pretrained_cfg(_timm_name(spec), allow_unregistered=False)
    except RuntimeError as error:
        raise BadBundle(f"timm has no weights {spec.pretrained!r} for {spec.name}") from error


def _timm_network(spec: TowerSpec, *, download: bool) -> nn.Module:
    timm = _library("timm")
    if not timm.is_model(spec.name):
        raise BadBundle(f"timm knows no {spec.name!r}; timm.list_models() names them all")
    arguments: dict[str, Argument] = {**spec.arguments}
    if not download:
        try:
            network: nn.Module = timm.create_model(spec.name, num_classes=0, **arguments)
        # A library's complaint about an argument has any of these classes.
        except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
            given = ", ".join(f"{name}={value}" for name, value in arguments.items())
            raise BadBundle(
                f"timm cannot build {spec} with {given or 'no arguments'}: "
                "the network does not take one of them, or not with this value"
            ) from error
        return network
    known = _timm_tag(spec)
    try:
        made: nn.Module = timm.create_model(
            _timm_name(spec), pretrained=True, num_classes=0, **arguments
        )
    # As above: every transport raises its own kind.
    except Exception as error:
        raise _not_downloaded(spec, str(known.hf_hub_id or known.url), error) from error
    return made


def _timm_preprocess(spec: TowerSpec) -> Preprocess:
    known = _timm_tag(spec)
    _, height_px, width_px = known.input_size
    if height_px != width_px or known.crop_mode not in ("center", "squash"):
        raise ValueError(f"input {known.input_size}, crop mode {known.crop_mode!r}")
    return Preprocess(
        size_px=int(spec.arguments.get("img_size", height_px)),
        resize="squash" if known.crop_mode == "squash" else "shorter",
        crop=known.crop_pct,
        interpolation=known.interpolation,
        mean=known.mean,
        std=known.std,
    )


# --- downloads ------------------------------------------------------------------------------


def _not_downloaded(spec: TowerSpec, source: str, error: Exception) -> Unavailable:
    """The same remedy for every way a download can fail."""
    place = source if source.startswith("http") else f"https://huggingface.co/{source.strip('/')}"
    return Unavailable(
        f"weights {spec.pretrained!r} of {spec} could not be fetched ({error}). On a machine with "
        f"a network fetch the .safetensors file from {place} and give it to `pinpoint bundles "
        "import`, or fetch them there and copy the Hugging Face cache (HF_HOME) to this machine.",
        reason="weights_unavailable",
    )
