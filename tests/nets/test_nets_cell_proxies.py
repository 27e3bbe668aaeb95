"""Cell classification loss: agreement with a loop, and a falling loss in training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pinpoint.nets.embedder.losses import CellProxies, cell_classification


def test_cell_classification_agrees_with_loop():
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((7, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    proxies, codes, scale = 3.0 * rng.standard_normal((4, 5)), [0, 3, 3, 1, 2, 0, 3], 6.5
    total = 0.0
    for vector, code in zip(vectors, codes, strict=True):
        logits = [
            scale * float(vector @ proxy) / math.sqrt(float(proxy @ proxy)) for proxy in proxies
        ]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[code]
    inputs = torch.tensor(vectors, dtype=torch.float32), torch.tensor(proxies, dtype=torch.float32)
    assert float(cell_classification(*inputs, scale, torch.tensor(codes))) == pytest.approx(
        total / 7, rel=1e-5
    )
    with pytest.raises(ValueError, match="a cell each"):
        cell_classification(*inputs, scale, torch.tensor(codes[:3]))


def test_cell_proxies_loss_falls_in_training():
    torch.manual_seed(0)
    vectors = F.normalize(torch.randn(24, 8), dim=1)
    codes, cells = torch.arange(24) % 6, CellProxies(6, 8)
    optimizer = torch.optim.Adam(cells.parameters(), lr=0.1)
    first = float(cells(vectors, codes).detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss = cells(vectors, codes)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.6 * first
