"""The real `geoclip` package, as the reference: its own code and weights, without its dependencies.

Its `__init__` imports transformers (for the CLIP tower) and pandas (to read one CSV). Nothing that
is compared with ours needs either, so that two small modules stand in for them while it is
imported: a tower that hands on what it is given, so that "pixels" are tower features, and a reader
of CSV. All between tower and answer is the package's: projection, features, head, ranking.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from pinpoint.nets.geoclip.files import GEOCLIP_VERSION

_NAME = "geoclip_reference"


class _Tower(torch.nn.Module):
    """In place of CLIP: features in, the same features out."""

    def __init__(self, config):
        super().__init__()

    def get_image_features(self, pixel_values):
        return pixel_values


class _Table:
    """In place of a data frame: `table[names].values`."""

    def __init__(self, file):
        with open(file, newline="") as stream:
            self._rows = list(csv.DictReader(stream))

    def __getitem__(self, names):
        values = [[float(row[name]) for name in names] for row in self._rows]
        return SimpleNamespace(values=np.array(values))


def package_folder() -> Path:
    """Where `geoclip` is installed; without it a test skips, but not in CI."""
    spec = importlib.util.find_spec("geoclip")
    if spec is None:
        missing = (
            f"geoclip is not installed: .venv/bin/pip install --no-deps geoclip=={GEOCLIP_VERSION}"
        )
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(spec.submodule_search_locations[0])


def reference() -> torch.nn.Module:
    """The package's `GeoCLIP` with its weights; pass it features `[B, 768]` in place of images."""
    package = ModuleType(_NAME)
    # A package of our name over its folder: its modules find each other, its __init__ is not run.
    package.__path__ = [str(package_folder() / "model")]
    transformers, pandas = ModuleType("transformers"), ModuleType("pandas")
    transformers.CLIPModel = _Tower
    transformers.CLIPConfig = transformers.CLIPImageProcessor = lambda **_: None
    transformers.AutoProcessor = None
    pandas.read_csv = _Table
    standing_in = {_NAME: package, "transformers": transformers, "pandas": pandas}
    before = {name: sys.modules.get(name) for name in standing_in}
    sys.modules.update(standing_in)
    try:
        with warnings.catch_warnings():
            # Its encoding is compiled by torch.jit.script, which torch warns of.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(f"{_NAME}.GeoCLIP")
        return module.GeoCLIP(clip_pretrained=False).eval().requires_grad_(False)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
