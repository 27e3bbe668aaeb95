"""Fixtures that several tests of the store share."""

from __future__ import annotations

import pytest

from store.tile_gallery import open_tile_gallery


@pytest.fixture(scope="session")
def tile_gallery(postgres, server_paths):
    """5,000 images in a database of their own, read only."""
    with open_tile_gallery(postgres, server_paths) as gallery:
        yield gallery
