"""Registers a folder without the prompts of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinpoint.ingest.register import register_files
from pinpoint.records import Batch


def register_folder(path: Path, **options: Any) -> Batch:
    """The batch of `register_files`; a manifest in the folder is used."""
    return register_files(path, **options).batch
