"""Tensor names and shapes of published place-recognition files, written down from their sources."""

from __future__ import annotations

import torch

Layout = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int) -> Layout:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def convolution(name: str, inputs: int, outputs: int, side: int) -> Layout:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def layer_norm(name: str, width: int) -> Layout:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def batch_norm(name: str, width: int) -> Layout:
    statistics = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return {**layer_norm(name, width), **statistics, f"{name}.num_batches_tracked": ()}


def dinov2(prefix: str, width: int, depth: int, *, mask_token: bool) -> Layout:
    layout: Layout = {
        f"{prefix}cls_token": (1, 1, width),
        f"{prefix}pos_embed": (1, 1 + 37 * 37, width),
        **convolution(f"{prefix}patch_embed.proj", 3, width, 14),
        **layer_norm(f"{prefix}norm", width),
    }
    if mask_token:
        layout[f"{prefix}mask_token"] = (1, width)
    for index in range(depth):
        block = f"{prefix}blocks.{index}"
        layout |= {
            **layer_norm(f"{block}.norm1", width),
            **linear(f"{block}.attn.qkv", width, 3 * width),
            **linear(f"{block}.attn.proj", width, width),
            f"{block}.ls1.gamma": (width,),
            **layer_norm(f"{block}.norm2", width),
            **linear(f"{block}.mlp.fc1", width, 4 * width),
            **linear(f"{block}.mlp.fc2", 4 * width, width),
            f"{block}.ls2.gamma": (width,),
        }
    return layout


def megaloc(backbone: str = "backbone.", *, mask_token: bool = False) -> Layout:
    return {
        **dinov2(backbone, 768, 12, mask_token=mask_token),
        "aggregator.agg.dust_bin": (),
        **linear("aggregator.agg.token_features.0", 768, 512),
        **linear("aggregator.agg.token_features.2", 512, 256),
        **convolution("aggregator.agg.cluster_features.0", 768, 512, 1),
        **convolution("aggregator.agg.cluster_features.3", 512, 256, 1),
        **convolution("aggregator.agg.score.0", 768, 512, 1),
        **convolution("aggregator.agg.score.3", 512, 64, 1),
        **linear("aggregator.linear", 256 + 64 * 256, 8448),
    }


def attention(name: str, width: int) -> Layout:
    return {
        f"{name}.in_proj_weight": (3 * width, width),
        f"{name}.in_proj_bias": (3 * width,),
        **linear(f"{name}.out_proj", width, width),
    }


def query_aggregation(channels: int, width: int) -> Layout:
    layout = {
        **convolution("aggregator.proj_c", channels, width, 3),
        **layer_norm("aggregator.norm_input", width),
        **linear("aggregator.fc", 2 * 64, 32),
    }
    for index in range(2):
        block = f"aggregator.boqs.{index}"
        layout |= {
            **attention(f"{block}.encoder.self_attn", width),
            **linear(f"{block}.encoder.linear1", width, 4 * width),
            **linear(f"{block}.encoder.linear2", 4 * width, width),
            **layer_norm(f"{block}.encoder.norm1", width),
            **layer_norm(f"{block}.encoder.norm2", width),
            f"{block}.queries": (1, 64, width),
            **attention(f"{block}.self_attn", width),
            **layer_norm(f"{block}.norm_q", width),
            **attention(f"{block}.cross_attn", width),
            **layer_norm(f"{block}.norm_out", width),
        }
    return layout


def boq_dinov2() -> Layout:
    backbone = dinov2("backbone.dino.", 768, 12, mask_token=True)
    return {**backbone, **query_aggregation(768, 384)}


def boq_resnet50() -> Layout:
    layout: Layout = {"backbone.net.0.weight": (64, 3, 7, 7), **batch_norm("backbone.net.1", 64)}
    inputs = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256)), start=4):
        for index in range(blocks):
            block = f"backbone.net.{stage}.{index}"
            shapes = ((width, inputs, 1), (width, width, 3), (4 * width, width, 1))
            for number, (outputs, channels, side) in enumerate(shapes, start=1):
                layout[f"{block}.conv{number}.weight"] = (outputs, channels, side, side)
                layout |= batch_norm(f"{block}.bn{number}", outputs)
            if index == 0:
                layout[f"{block}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                layout |= batch_norm(f"{block}.downsample.1", 4 * width)
            inputs = 4 * width
    return {**layout, **query_aggregation(1024, 512)}


def adapter(name: str, width: int) -> Layout:
    inner, narrow, wide = width // 2, width // 32, width // 8
    convolutions = {
        "branch1": (inner, width // 4, 1),
        "branch2.0": (inner, narrow, 1),
        "branch2.1": (narrow, wide, 3),
        "branch3.0": (inner, narrow, 1),
        "branch3.1": (narrow, wide, 5),
    }
    layout = {**linear(f"{name}.D_fc1", width, inner), **linear(f"{name}.D_fc2", inner, width)}
    for branch, (inputs, outputs, side) in convolutions.items():
        layout |= convolution(f"{name}.{branch}.conv", inputs, outputs, side)
        layout |= batch_norm(f"{name}.{branch}.bn", outputs)
    return layout


def selavpr(size: str, *, binary: bool = False) -> Layout:
    """With the branch for 512 bits if `binary`."""
    width, depth, adapters, dim = (768, 12, 12, 2048) if size == "base" else (1024, 24, 16, 4096)
    layout: Layout = {
        **dinov2("backbone.", width, depth, mask_token=True),
        "aggregation.1.p": (1,),
        **linear("linear1", width, width),
        **linear("linear2", width, dim),
    }
    for index in range(adapters):
        layout |= adapter(f"backbone.adapters.{index}", width)
        if binary:
            layout |= adapter(f"backbone.adapters_hashing.{index}", width)
    if binary:
        layout["aggregation_hashing.1.p"] = (1,)
        layout |= {**linear("linear3", width, width), **linear("linear4", width, 512)}
    return layout


def meta_tensors(layout: Layout) -> dict[str, torch.Tensor]:
    """Tensors without storage."""
    return {name: torch.empty(shape, device="meta") for name, shape in layout.items()}


def random_tensors(layout: Layout, seed: int = 0) -> dict[str, torch.Tensor]:
    """Seeded random values under which activations stay in range."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in layout.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            tensors[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            inputs = max(1, torch.Size(shape[1:]).numel())
            tensors[name] = torch.randn(shape, generator=generator) / inputs**0.5
    return tensors
