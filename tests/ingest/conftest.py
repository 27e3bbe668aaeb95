"""The harness, one for each test."""

from __future__ import annotations

import pytest

from stack_fixtures import ServiceHarness


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()
