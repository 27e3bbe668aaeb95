"""Patch features of a tower: the feature map or the patch tokens of one of its layers.

Letters: B images, S side of the input, T patch features per image, C channels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import Preprocess


class LocalMap(NamedTuple):
    """Output of a layer."""

    features: torch.Tensor
    """`[B, T, C]`: positions of a feature map row by row, or patch tokens."""
    prefix: torch.Tensor
    """`[B, P, C]`: class and register tokens, the class token first; P is 0 for a feature map."""


class LayerOutputReached(Exception):  # noqa: N818 - ends a forward pass, is no error
    """Carries the output of the layer out of the forward pass; later layers are not computed.

    An exception, because neither library can run every network up to any layer. It holds the
    tensor itself, so that concurrent passes of one network cannot exchange outputs.
    """

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


class FeatureMaps:
    """The first layers of a network, up to the one whose output is read.

    Args:
        network: A network of timm or open_clip. It is changed: its forward pass ends at the layer.
        layer: Module path; None for the last feature map or tokens before pooling.

    Raises:
        BadBundleError: The network has no such layer; the message names some that it has.
    """

    def __init__(self, network: nn.Module, layer: str | None) -> None:
        self._network = network
        self._layer = layer
        self._widths, self._stages = _list_widths(network)
        trunk = getattr(network, "trunk", None)
        # A timm network may be inside an image encoder of open_clip.
        self._inner: Any = trunk if isinstance(trunk, nn.Module) else network
        if layer is None and hasattr(self._inner, "forward_features"):
            return
        self._layer = layer or _last_layer(network)
        try:
            module = network.get_submodule(self._layer)
        except AttributeError as error:
            raise BadBundleError(
                f"the tower has no layer {self._layer!r}; it has {_list_layers(network)}"
            ) from error
        module.register_forward_hook(_end_pass)

    def to(self, device: torch.device) -> None:
        """Move the network to a device."""
        self._network.to(device)

    def extract(self, pixels: torch.Tensor) -> LocalMap:
        """`[B, 3, S, S]` to patch features.

        Raises:
            BadBundleError: The layer is not part of the forward pass, or gives no map or tokens.
        """
        if self._layer is None:
            return self._split_output(self._inner.forward_features(pixels), len(pixels))
        try:
            self._network(pixels)
        except LayerOutputReached as reached:
            return self._split_output(reached.output, len(pixels))
        raise BadBundleError(f"the forward pass of the tower does not call layer {self._layer!r}")

    def _split_output(self, output: object, batch: int) -> LocalMap:
        first = output[0] if isinstance(output, tuple) and output else output
        local = None
        # Attention within windows gives B * windows rows.
        if isinstance(first, torch.Tensor) and first.ndim in (3, 4) and len(first) == batch:
            local = self._split_map(first) if first.ndim == 4 else self._split_tokens(first)
        if local is not None:
            return local
        shape = list(first.shape) if isinstance(first, torch.Tensor) else type(first).__name__
        widths = ", ".join(str(width) for width in sorted(self._widths))
        raise BadBundleError(
            f"layer {self._layer or 'forward_features'!r} of the tower gives {shape}. These "
            "axes are not clearly those of a feature map [B, C, H, W] or of tokens [B, T, C]: C "
            f"must be a width of the tower ({widths}), H = W, and T the number of patches, with or "
            f"without prefix tokens. Name a block or a stage: {_list_layers(self._network)}"
        )

    def _split_map(self, output: torch.Tensor) -> LocalMap | None:
        """A feature map `[B, C, H, W]`, or None if its axes are not certain.

        Images are square, so their maps are: `[B, H, W, C]` and the heads `[B, heads, T, d]` of an
        attention have other equal axes than `[B, C, H, W]`.
        """
        # Swin keeps the channels last.
        if getattr(self._inner, "output_fmt", "NCHW") == "NHWC":
            output = output.permute(0, 3, 1, 2)
        _, channels, height, width = output.shape
        is_stage = self._layer is None or self._layer in self._stages
        if channels not in self._widths or height != width or (channels == height and not is_stage):
            return None
        features = output.flatten(2).transpose(1, 2)
        return LocalMap(features, features[:, :0])

    def _split_tokens(self, output: torch.Tensor) -> LocalMap | None:
        """Tokens `[B, T, C]`, or None if it is not certain which of them are patches."""
        _, tokens, channels = output.shape
        if channels not in self._widths:
            return None
        # The first layers, such as `patch_embed`, run before the class token is added.
        counts = {0, _count_prefix_tokens(self._inner)}
        if counts != {0}:
            counts = {count for count in counts if _is_square(tokens - count)}
        if len(counts) != 1:
            return None
        (count,) = counts
        return LocalMap(output[:, count:], output[:, :count])


def layer_channels(maps: FeatureMaps, preprocess: Preprocess) -> int:
    """C: channels of a layer, measured on one gray image.

    Raises:
        BadBundleError: The tower does not accept images of this size, or the layer is unusable.
    """
    side_px = preprocess.size_px
    try:
        with torch.inference_mode():
            return int(maps.extract(torch.zeros(1, 3, side_px, side_px)).features.shape[2])
    # The exception class for a wrong size depends on the layers of the network.
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BadBundleError(
            f"the tower does not take images of {side_px} × {side_px} px: {error}"
        ) from error


def _end_pass(module: nn.Module, inputs: object, output: object) -> None:
    raise LayerOutputReached(output)


def _last_layer(network: nn.Module) -> str:
    """The last layer before pooling of open_clip's networks."""
    names = [name for name, _ in network.named_children()]
    for name in ("transformer", "layer4"):
        if name in names:
            return name
    raise BadBundleError(
        "the last feature map of this tower is unknown; name a layer, such as one of "
        f"{_list_layers(network)}"
    )


def _list_layers(network: nn.Module) -> str:
    """Some layers of a network: its large parts, and the items of their lists."""
    paths: list[str] = []
    for name, child in network.named_children():
        steps = [key for key, _ in child.named_children() if key.isdigit()]
        paths += [f"{name}.0 to {name}.{len(steps) - 1}"] if len(steps) > 1 else [name]
    return ", ".join(paths[:12])


def _list_widths(network: nn.Module) -> tuple[frozenset[int], frozenset[str]]:
    """Numbers of channels in a network, and the paths of its stages, as far as timm lists them."""
    widths = {module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)}
    stages: set[str] = set()
    for prefix, module in (("", network), ("trunk.", getattr(network, "trunk", None))):
        # `FeatureInfo` of timm, or the list that it is made from.
        listed = getattr(module, "feature_info", ())
        for entry in listed if isinstance(listed, list | tuple) else listed.info:
            widths.add(int(entry["num_chs"]))
            stages.add(prefix + entry["module"])
        for name in ("num_features", "embed_dim", "width"):
            value = getattr(module, name, None)
            if isinstance(value, int):
                widths.add(value)
    return frozenset(widths), frozenset(stages)


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count


def _count_prefix_tokens(network: nn.Module) -> int:
    """P: number of class and register tokens before the patch tokens."""
    count = getattr(network, "num_prefix_tokens", None)
    if isinstance(count, int):
        return count
    return int(hasattr(network, "class_embedding"))
