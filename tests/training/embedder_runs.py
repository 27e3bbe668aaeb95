"""Configs of a small training run with a tiny frozen tower, as TOML files."""

from __future__ import annotations

from pathlib import Path

from pinpoint.synthetic.dataset import Planet

_CONFIG = """
name = "{name}"
license = "CC0-1.0"
note = "Trained on a synthetic planet."
tower = "tiny-timm"
sources = [
  {{ manifest = "{photos}", kind = "photo" }},
  {{ manifest = "{streets}", kind = "street" }},
]
[split]
val_fraction = 0.3
[networks]
dim = 24
hidden = 32
[schedule]
steps = {steps}
batch_size = 16
warmup_steps = 5
checkpoint_steps = 10
"""


def write_config(
    planet: Planet,
    folder: Path,
    name: str,
    *,
    steps: int,
    changes: tuple[tuple[str, str], ...] = (),
) -> Path:
    """The config of a run, with some of its text replaced."""
    manifests = planet.manifests()
    text = _CONFIG.format(
        name=name, steps=steps, photos=manifests["train-photo"], streets=manifests["train-street"]
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    config = folder / f"{name}.toml"
    config.write_text(text)
    return config


def write_catalog_config(
    folder: Path, name: str, *, steps: int, changes: tuple[tuple[str, str], ...] = ()
) -> Path:
    """The config of a run on the sources `trips` and `drives` of a catalog."""
    text = _CONFIG.format(name=name, steps=steps, photos="", streets="")
    for old, new in (
        ('manifest = "", kind = "photo"', 'source = "trips"'),
        ('manifest = "", kind = "street"', 'source = "drives"'),
        *changes,
    ):
        assert old in text
        text = text.replace(old, new)
    config = folder / f"{name}.toml"
    config.write_text(text)
    return config
