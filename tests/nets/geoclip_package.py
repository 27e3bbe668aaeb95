"""The real `geoclip` package as a reference: its own code and weights, without its dependencies.

Its `__init__` imports transformers (for the CLIP tower) and pandas (to read one CSV file). The
compared code needs neither, so two small modules replace them during the import: a tower that
returns its input, so that "pixels" are tower features, and a CSV reader. Everything between the
tower and the answer is the package's code: projection, features, head, ranking.
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
    """Replaces CLIP: returns the given features."""

    def __init__(self, config):
        super().__init__()

    def get_image_features(self, pixel_values):
        return pixel_values


class _Table:
    """Replaces a data frame: `table[names].values`."""

    def __init__(self, file):
        with open(file, newline="") as stream:
            self._rows = list(csv.DictReader(stream))

    def __getitem__(self, names):
        values = [[float(row[name]) for name in names] for row in self._rows]
        return SimpleNamespace(values=np.array(values))


def package_folder() -> Path:
    """Folder of the installed `geoclip`; without it the test is skipped, or fails in CI."""
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
    """The package's `GeoCLIP` with its weights; it takes features `[B, 768]` as images."""
    package = ModuleType(_NAME)
    # A package of our name for its folder: imports between its modules work, __init__ is not run.
    package.__path__ = [str(package_folder() / "model")]
    transformers, pandas = ModuleType("transformers"), ModuleType("pandas")
    vars(transformers).update(
        CLIPModel=_Tower,
        CLIPConfig=lambda **_: None,
        CLIPImageProcessor=lambda **_: None,
        AutoProcessor=None,
    )
    vars(pandas).update(read_csv=_Table)
    replacements = {_NAME: package, "transformers": transformers, "pandas": pandas}
    before = {name: sys.modules.get(name) for name in replacements}
    sys.modules.update(replacements)
    try:
        with warnings.catch_warnings():
            # The encoding is compiled by torch.jit.script, which emits a deprecation warning.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(f"{_NAME}.GeoCLIP")
        return module.GeoCLIP(clip_pretrained=False).eval().requires_grad_(False)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
