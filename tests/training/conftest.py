"""One small planet for this room: its training part as a table."""

from __future__ import annotations

import pytest

from pinpoint.settings import MediaSettings
from pinpoint.training.samples import Source, read_samples
from pinpoint.world.planets import make_planet


@pytest.fixture(scope="package")
def planet(tmp_path_factory):
    # Seed 5 has panoramas among its training street views.
    return make_planet(tmp_path_factory.mktemp("planet") / "tiny", preset="tiny", seed=5)


@pytest.fixture(scope="package")
def sources(planet):
    made = planet.manifests()
    return [
        Source(manifest=made[f"{role}-{kind}"], kind=kind)
        for role in ("train", "test")
        for kind in ("photo", "street")
    ]


@pytest.fixture(scope="package")
def samples(sources):
    return read_samples(sources, MediaSettings()).samples
