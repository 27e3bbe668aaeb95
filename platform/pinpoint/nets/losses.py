"""What the embedder is trained by: pure functions of vectors, distances and who is who.

Letters: B and C rows of the two sides (pictures and places, or pictures and pictures), D the width
of their unit vectors, N pictures of a gallery, P cells. All in fp32, also where autocast is on.
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
LARGEST_SCALE: Final = 1_000.0
"""Beyond it cosines that differ in fp32's last digits would decide."""
INITIAL_BIAS: Final = -10.0
"""Where SigLIP starts (arXiv 2303.15343, section 3.2): nearly all pairs are negatives, and from
here the first steps need not unlearn the belief that half of them are not."""


class Temperature(nn.Module):
    """The learned scale and bias of one sigmoid loss; the scale as its logarithm, so it stays > 0.

    Both are to be left out of weight decay: it would pull the bias to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale, at most `LARGEST_SCALE`, and bias, as `sigmoid_contrastive` takes them."""
        return self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp(), self.bias


class CellProxies(nn.Module):
    """A direction for each of P cells, and how sharply pictures are told apart by them."""

    def __init__(self, cells: int, dim: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(0.1 * torch.randn(cells, dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self, vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """`cell_classification` of unit vectors `[B, D]` and the cells `[B]` they were taken in."""
        scale = self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp()
        return cell_classification(vectors, self.directions, scale, codes)


def sigmoid_contrastive(
    left: torch.Tensor,
    right: torch.Tensor,
    scale: torch.Tensor | float,
    bias: torch.Tensor | float,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    positives: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Sigmoid loss over all pairs: each is asked by itself whether it belongs together.

    `softplus(-z)` for a positive and `weight * softplus(z)` for a negative with the logit
    `z = scale * <left, right> + bias`, summed and divided by the number of positives. Source:
    SigLIP (Zhai et al., arXiv 2303.15343), which has one positive per row and divides by the rows.
    Swapping sides and transposing targets and weights gives the same.

    Args:
        left: Unit vectors `[B, D]`.
        right: Unit vectors `[C, D]`.
        scale: Above 0.
        bias: Added to every logit.
        targets: Which pairs belong together, `[B, C]` bool.
        weights: Of negatives, `[B, C]` in [0, 1], without gradient; 1 without them. A positive
            always has the weight 1.
        positives: What to divide by, where a process sees only part of the batch: for the gradients
            of DDP, which are means over processes, the positives of all of them over their number.

    Returns:
        A scalar of fp32; 0 with zero gradients where there is no positive: nothing in such a batch
        says how much its negatives should count.

    Raises:
        ValueError: Shapes do not fit, or targets are not boolean.
    """
    pairs = (len(left), len(right))
    if targets.dtype != torch.bool or tuple(targets.shape) != pairs:
        raise ValueError(
            f"targets must be {list(pairs)} bool, not {list(targets.shape)} {targets.dtype}"
        )
    if weights is not None and tuple(weights.shape) != pairs:
        raise ValueError(f"weights must be {list(pairs)}, not {list(weights.shape)}")
    with torch.autocast(device_type=left.device.type, enabled=False):
        logits = scale * (left.to(torch.float32) @ right.to(torch.float32).T) + bias
        repelled = -F.logsigmoid(-logits)
        if weights is not None:
            repelled = weights.detach().to(torch.float32) * repelled
        total = torch.where(targets, -F.logsigmoid(logits), repelled).sum()
        count = torch.as_tensor(
            targets.sum() if positives is None else positives,
            dtype=torch.float32,
            device=left.device,
        )
        # No branch on the count, which would make the processor wait for the GPU.
        share = torch.where(count > 0, 1.0 / count.clamp(min=torch.finfo(torch.float32).tiny), 0.0)
        return total * share


def cell_classification(
    vectors: torch.Tensor, proxies: torch.Tensor, scale: torch.Tensor | float, codes: torch.Tensor
) -> torch.Tensor:
    """Which cell a picture was taken in: cross-entropy over `scale` times cosines with its proxies.

    Every occupied cell has a direction of its own, thrown away after training. Cells as classes:
    PlaNet (Weyand et al., arXiv 1602.05314); proxies: Movshovitz-Attias et al., arXiv 1703.07464;
    cosines with a scale: NormFace (Wang et al., arXiv 1704.06369). A tower without trained weights
    learns from it many times faster than from pairs: each picture meets all cells at each step.

    Args:
        vectors: Unit vectors `[B, D]`.
        proxies: Of cells, of any length, `[P, D]`.
        scale: Above 0.
        codes: The cell of each picture, `[B]` integers in [0, P).

    Returns:
        A scalar of fp32.

    Raises:
        ValueError: Shapes do not fit.
    """
    if vectors.shape[1:] != proxies.shape[1:] or codes.shape != vectors.shape[:1]:
        raise ValueError(
            f"{list(vectors.shape)} pictures need proxies of their width and a cell each, not "
            f"{list(proxies.shape)} and {list(codes.shape)}"
        )
    with torch.autocast(device_type=vectors.device.type, enabled=False):
        cosines = vectors.to(torch.float32) @ F.normalize(proxies.to(torch.float32), dim=1).T
        return F.cross_entropy(scale * cosines, codes)


def negative_weights(away_m: torch.Tensor, radius_m: float) -> torch.Tensor:
    """How much a pair counts as a negative: what stands next door is hardly one.

    Smoothstep of the distance: `u² (3 - 2u)` with `u = away / radius`, flat at both ends, 0 at the
    same place, 1/2 at half the radius, 1 from the radius on.

    Args:
        away_m: Distances `[B, C]`, metres, 0 or more.
        radius_m: Above 0.

    Returns:
        `[B, C]` fp32 in [0, 1], never falling with the distance.

    Raises:
        ValueError: The radius is not above 0.
    """
    if not radius_m > 0:
        raise ValueError(f"the radius of soft negatives must be above 0 m, not {radius_m}")
    # float64, so that rounding cannot let a farther pair count less.
    near = (away_m.to(torch.float64) / radius_m).clamp(max=1.0)
    return (near.square() * (3.0 - 2.0 * near)).to(torch.float32)


def negative_radius_m(step: int, *, steps: int, first_m: float, last_m: float) -> float:
    """The radius of soft negatives at a step: shrinks in equal ratios, as do the scales it passes.

    Args:
        step: From 0; from `steps` on the radius stays as it is.
        steps: Over how many it shrinks, 1 or more.
        first_m: At step 0.
        last_m: At the end, above 0 and not above `first_m`.

    Raises:
        ValueError: A number is out of its range.
    """
    if not (step >= 0 and steps >= 1 and 0 < last_m <= first_m < math.inf):
        raise ValueError(
            f"a radius cannot shrink from {first_m} m to {last_m} m in {steps} steps (step {step}):"
            " it must start at or above where it ends, end above 0 and take a step or more"
        )
    done = min(1.0, step / steps)
    return float(first_m ** (1.0 - done) * last_m**done)


def cross_source_pairs(
    away_m: torch.Tensor,
    kinds: torch.Tensor,
    groups: torch.Tensor,
    within_m: float,
    *,
    same_kind: bool = False,
) -> torch.Tensor:
    """Which pictures show the same place and are still no copies of each other.

    Two pictures of different kinds within some metres; where asked for also two of one kind by
    different authors. Never a picture with itself.

    Args:
        away_m: Distances `[B, B]`, metres, symmetric.
        kinds: One number per source kind, `[B]` integers.
        groups: One number per author, `[B]` integers; below 0 where the author is not known: such a
            picture could be anybody's, so it pairs with none of its own kind.
        within_m: Largest distance, included.
        same_kind: Whether pairs of one kind count.

    Returns:
        `[B, B]` bool, symmetric.

    Raises:
        ValueError: Shapes do not fit.
    """
    size = len(kinds)
    if tuple(away_m.shape) != (size, size) or len(groups) != size:
        raise ValueError(
            f"{size} kinds need [{size}, {size}] distances and {size} groups, "
            f"not {list(away_m.shape)} and {len(groups)}"
        )
    pairs = kinds[:, None] != kinds
    if same_kind:
        known = groups >= 0
        pairs = pairs | ((groups[:, None] != groups) & known[:, None] & known)
    return pairs & (away_m <= within_m)


@dataclass(frozen=True, slots=True)
class OccupiedCells:
    """The pictures of a gallery by cell; made once, for sorting millions at each step would cost.

    Three arrays: `rows` `[N]`, those of one cell beside each other, and for every occupied cell
    where it `starts` and how many it `counts`.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, cells: NDArray[np.int64]) -> OccupiedCells:
        """From the cell (H3 id) of every picture, `[N]`."""
        rows = np.argsort(cells, kind="stable")
        _, starts, counts = np.unique(cells[rows], return_index=True, return_counts=True)
        return cls(rows.astype(np.int64), starts.astype(np.int64), counts.astype(np.int64))


def place_negatives(
    cells: OccupiedCells, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pictures whose places serve as extra negatives, uniformly over occupied cells.

    A cell first, each as likely; then one of its pictures; with replacement.

    The implied prior: trained on positives from p and negatives from q, a score tends to
    `log p(place | picture) - log q(place)` and a constant (Gutmann and Hyvärinen, AISTATS 2010).
    Among the batch's own places q is the density p of the training pictures: it cancels, scores are
    likelihoods and favour no place. With these negatives alone q is even over occupied cells, so
    scores keep the prior "as dense as the pictures that were trained on": a softmax over one place
    per cell is a posterior under it, and one over all rows of a gallery counts density twice.
    A mixture of both lies between, by the shares drawn. The contract of the weights has to record
    the resolution of the cells, both shares, and how positives were sampled: over cells evenly,
    p is even too, and nothing of this matters. Soft negatives blur it within their radius.

    Args:
        cells: The gallery by cell.
        count: How many, 0 or more.
        rng: Seeded by the caller.

    Returns:
        `[count]` rows of the gallery.

    Raises:
        ValueError: There is no cell to draw from.
    """
    if len(cells.counts) == 0:
        raise ValueError("no place can be drawn: the gallery has no pictures")
    drawn = rng.integers(len(cells.counts), size=count)
    within = rng.integers(cells.counts[drawn])
    rows: NDArray[np.int64] = cells.rows[cells.starts[drawn] + within]
    return rows
