"""Real photos and weights from outside this project; tests skip when the folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data() -> Path:
    """Folder of real test files: `PINPOINT_TEST_DATA`, or `../shared/data` beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PINPOINT_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real test files at {folder}; set PINPOINT_TEST_DATA to where they are")
    return folder
