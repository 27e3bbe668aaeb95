"""Losses of the embedder: pure functions of embeddings, distances and identity masks.

Letters: B and C rows of the two sides (images and positions, or images and images), D width of
their unit vectors, N images of a gallery, P cells. All in fp32, also under autocast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

INITIAL_SCALE: Final = 10.0
MAX_SCALE: Final = 1_000.0
"""Above this scale, rounding errors of fp32 cosines would dominate."""
INITIAL_BIAS: Final = -10.0
"""Initial bias of SigLIP (arXiv 2303.15343, section 3.2): nearly all pairs are negatives, so the
initial logits must not assume that half of the pairs are positives."""


class Temperature(nn.Module):
    """Learned scale (as its logarithm, so it stays > 0) and bias of one sigmoid loss.

    Exclude both from weight decay, which would pull the bias to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale, at most `MAX_SCALE`, and bias, for `sigmoid_contrastive`."""
        return self.log_scale.clamp(max=math.log(MAX_SCALE)).exp(), self.bias


class CellProxies(nn.Module):
    """A learned direction for each of P cells, and a learned scale of the cosines."""

    def __init__(self, cells: int, dim: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(0.1 * torch.randn(cells, dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self, vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """`cell_classification` of unit vectors `[B, D]` with ground-truth cells `[B]`."""
        scale = self.log_scale.clamp(max=math.log(MAX_SCALE)).exp()
        return cell_classification(vectors, self.directions, scale, codes)


def sigmoid_contrastive(
    left_vectors: torch.Tensor,
    right_vectors: torch.Tensor,
    scale: torch.Tensor | float,
    bias: torch.Tensor | float,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    positives: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Sigmoid loss over all pairs: an independent binary classification of each pair.

    `softplus(-z)` for a positive and `weight * softplus(z)` for a negative with the logit
    `z = scale * <left_b, right_c> + bias`, summed and divided by the number of positives. Source:
    SigLIP (Zhai et al., arXiv 2303.15343), which has one positive per row and divides by the number
    of rows. The loss is symmetric: swap the sides and transpose targets and weights.

    Args:
        left_vectors: Unit vectors `[B, D]`.
        right_vectors: Unit vectors `[C, D]`.
        scale: Above 0.
        bias: Added to every logit.
        targets: Positive pairs, `[B, C]` bool.
        weights: Weights of negatives, `[B, C]` in [0, 1], without gradient; default 1. Positives
            always have weight 1.
        positives: Divisor, if a process sees only part of the batch. DDP averages gradients over
            processes, so pass the positives of all processes divided by their number.

    Returns:
        An fp32 scalar; 0 with zero gradients if there is no positive, because such a batch does
        not define the relative weight of its negatives.

    Raises:
        ValueError: Shapes do not fit, or targets are not boolean.
    """
    pairs = (len(left_vectors), len(right_vectors))
    if targets.dtype != torch.bool or tuple(targets.shape) != pairs:
        raise ValueError(
            f"targets must be {list(pairs)} bool, not {list(targets.shape)} {targets.dtype}"
        )
    if weights is not None and tuple(weights.shape) != pairs:
        raise ValueError(f"weights must be {list(pairs)}, not {list(weights.shape)}")
    with torch.autocast(device_type=left_vectors.device.type, enabled=False):
        logits = scale * (left_vectors.to(torch.float32) @ right_vectors.to(torch.float32).T) + bias
        negative_loss = -F.logsigmoid(-logits)
        if weights is not None:
            negative_loss = weights.detach().to(torch.float32) * negative_loss
        total = torch.where(targets, -F.logsigmoid(logits), negative_loss).sum()
        count = torch.as_tensor(
            targets.sum() if positives is None else positives,
            dtype=torch.float32,
            device=left_vectors.device,
        )
        # No branch on the count: it would synchronize the CPU with the GPU.
        inverse_count = torch.where(
            count > 0, 1.0 / count.clamp(min=torch.finfo(torch.float32).tiny), 0.0
        )
        return total * inverse_count


def cell_classification(
    vectors: torch.Tensor, proxies: torch.Tensor, scale: torch.Tensor | float, codes: torch.Tensor
) -> torch.Tensor:
    """Classification of an image's cell: cross-entropy over `scale` times cosines with the proxies.

    Every occupied cell has its own direction, which is discarded after training. Cells as classes:
    PlaNet (Weyand et al., arXiv 1602.05314); proxies: Movshovitz-Attias et al., arXiv 1703.07464;
    cosines with a scale: NormFace (Wang et al., arXiv 1704.06369). A tower without trained weights
    learns much faster from this loss than from pairs, because each step compares each image with
    all cells.

    Args:
        vectors: Unit vectors `[B, D]`.
        proxies: One vector per cell, of any length, `[P, D]`.
        scale: Above 0.
        codes: The cell of each image, `[B]` integers in [0, P).

    Returns:
        An fp32 scalar.

    Raises:
        ValueError: Shapes do not fit.
    """
    if vectors.shape[1:] != proxies.shape[1:] or codes.shape != vectors.shape[:1]:
        raise ValueError(
            f"{list(vectors.shape)} images need proxies of their width and a cell each, not "
            f"{list(proxies.shape)} and {list(codes.shape)}"
        )
    with torch.autocast(device_type=vectors.device.type, enabled=False):
        cosines = vectors.to(torch.float32) @ F.normalize(proxies.to(torch.float32), dim=1).T
        return F.cross_entropy(scale * cosines, codes)


def negative_weights(distance_m: torch.Tensor, radius_m: float) -> torch.Tensor:
    """Weight of each pair as a negative: nearby pairs are hardly negatives.

    Smoothstep of the distance: `u² (3 - 2u)` with `u = away / radius`, flat at both ends, 0 at the
    same position, 1/2 at half the radius, 1 beyond the radius.

    Args:
        distance_m: Distances `[B, C]`, meters, 0 or more.
        radius_m: Above 0.

    Returns:
        `[B, C]` fp32 in [0, 1], non-decreasing in the distance.

    Raises:
        ValueError: The radius is not above 0.
    """
    if not radius_m > 0:
        raise ValueError(f"the radius of soft negatives must be above 0 m, not {radius_m}")
    # float64, so that rounding cannot give a farther pair a smaller weight.
    fraction = (distance_m.to(torch.float64) / radius_m).clamp(max=1.0)
    return (fraction.square() * (3.0 - 2.0 * fraction)).to(torch.float32)


def negative_radius_m(step: int, *, steps: int, start_m: float, end_m: float) -> float:
    """Radius of soft negatives at a step; it shrinks geometrically, by an equal ratio per step.

    Args:
        step: From 0; the radius is constant from `steps` on.
        steps: Number of steps over which it shrinks, 1 or more.
        start_m: Radius at step 0, meters.
        end_m: Radius at the end, meters, above 0 and not above `start_m`.

    Raises:
        ValueError: A number is out of its range.
    """
    if not (step >= 0 and steps >= 1 and 0 < end_m <= start_m < math.inf):
        raise ValueError(
            f"a radius cannot shrink from {start_m} m to {end_m} m in {steps} steps (step {step}):"
            " it must start at or above its end, end above 0 and take one step or more"
        )
    progress = min(1.0, step / steps)
    return float(start_m ** (1.0 - progress) * end_m**progress)


def cross_source_pairs(
    distance_m: torch.Tensor,
    kinds: torch.Tensor,
    creators: torch.Tensor,
    within_m: float,
    *,
    same_kind: bool = False,
) -> torch.Tensor:
    """Pairs of images that show the same location and are not near-duplicates.

    Two images of different kinds within `within_m`; optionally also two images of one kind by
    different creators. An image is never paired with itself.

    Args:
        distance_m: Distances `[B, B]`, meters, symmetric.
        kinds: One number per source kind, `[B]` integers.
        creators: One number per creator, `[B]` integers; below 0 if the creator is unknown. Such an
            image pairs with no image of its kind, because the creators could be equal.
        within_m: Maximum distance, inclusive.
        same_kind: Whether pairs of one kind count.

    Returns:
        `[B, B]` bool, symmetric.

    Raises:
        ValueError: Shapes do not fit.
    """
    size = len(kinds)
    if tuple(distance_m.shape) != (size, size) or len(creators) != size:
        raise ValueError(
            f"{size} kinds need [{size}, {size}] distances and {size} groups, "
            f"not {list(distance_m.shape)} and {len(creators)}"
        )
    pairs = kinds[:, None] != kinds
    if same_kind:
        creator_known = creators >= 0
        pairs = pairs | ((creators[:, None] != creators) & creator_known[:, None] & creator_known)
    return pairs & (distance_m <= within_m)


@dataclass(frozen=True, slots=True)
class OccupiedCells:
    """Images of a gallery grouped by cell; built once, because sorting millions per step is slow.

    Three arrays: `rows` `[N]`, sorted by cell; and for every occupied cell its first index
    (`starts`) and its number of rows (`counts`).
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, cells: NDArray[np.int64]) -> OccupiedCells:
        """Build from the cell (H3 id) of every image, `[N]`."""
        rows = np.argsort(cells, kind="stable")
        _, starts, counts = np.unique(cells[rows], return_index=True, return_counts=True)
        return cls(rows.astype(np.int64), starts.astype(np.int64), counts.astype(np.int64))


def sample_negatives(
    cells: OccupiedCells, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw images whose positions are extra negatives, uniformly over occupied cells.

    Draws a cell uniformly, then one of its images uniformly; with replacement.

    The implied prior: with positives from p and negatives from q, a score tends to
    `log p(position | image) - log q(position)` plus a constant (Gutmann and Hyvärinen, AISTATS
    2010). For in-batch negatives, q equals the density p of the training images. It cancels, so
    scores are likelihoods and favor no position. With only these drawn negatives, q is uniform over
    occupied cells, so scores keep the density of the training images as their prior. A softmax over
    one position per cell is then a posterior under this prior; a softmax over all gallery rows
    counts density twice. A mixture of both is in between, according to the shares. The contract of
    the weights must record the cell resolution, both shares, and the sampling of positives. If
    positives are sampled uniformly over cells, p is uniform too and the prior is irrelevant. Soft
    negatives blur the prior within their radius.

    Args:
        cells: The gallery by cell.
        count: Number of draws, 0 or more.
        rng: Random generator, seeded by the caller.

    Returns:
        `[count]` rows of the gallery.

    Raises:
        ValueError: There is no cell to draw from.
    """
    if len(cells.counts) == 0:
        raise ValueError("no negative can be drawn: the gallery has no images")
    drawn_cells = rng.integers(len(cells.counts), size=count)
    rank_in_cell = rng.integers(cells.counts[drawn_cells])
    rows: NDArray[np.int64] = cells.rows[cells.starts[drawn_cells] + rank_in_cell]
    return rows
