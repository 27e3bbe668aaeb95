"""GeoCLIP's ranking of all 100,000 coordinates agrees with the published package."""

from __future__ import annotations

import pytest

from nets.test_nets_geoclip import assert_ranking_agrees, ours, tensors, theirs

__all__ = ["ours", "tensors", "theirs"]


@pytest.mark.timeout(600)  # both encode 100,000 positions: 4 · 10¹² operations
def test_geoclip_ranking_of_all_coordinates_agrees_with_package(ours, theirs):
    assert_ranking_agrees(ours, theirs, stride=1)
