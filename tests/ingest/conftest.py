"""One `Rig` for each test."""

from __future__ import annotations

import pytest

from stack_fixtures import Rig


@pytest.fixture
def rig(database_url, api_database_url, tmp_path):
    made = Rig(database_url, api_database_url, tmp_path / "rig")
    yield made
    made.close()
