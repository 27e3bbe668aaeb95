"""The config with the paper's tower, read as a run reads it, and built without 4.7 GB of weights.

The tower is on torch's meta device, which has shapes but no values.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.backbone import Tower, _open_clip_network, suggested_preprocess
from pinpoint.settings import MediaSettings
from pinpoint.training.core.configs import ManifestSourceConfig, read_config
from pinpoint.training.core.samples import ManifestSource, read_samples
from pinpoint.training.embedder.objective import Networks

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIG = DOCS / "configs" / "paper.toml"
SPEC = TowerSpec.parse("open_clip:ViT-gopt-16-SigLIP2-384", pretrained="webli")
WIDTH, INSIDE, DEPTH, PATCH_PX, SIDE_PX = 1536, 6144, 40, 16, 384


def transformer_parameters():
    """Parameter count of a vision transformer of these sizes with attention pooling."""
    linear = lambda entering, leaving: entering * leaving + leaving  # noqa: E731
    norm, mlp = 2 * WIDTH, linear(WIDTH, INSIDE) + linear(INSIDE, WIDTH)
    attention = linear(WIDTH, 3 * WIDTH) + linear(WIDTH, WIDTH)
    block = norm + attention + norm + mlp
    patches = (SIDE_PX // PATCH_PX) ** 2
    entry = linear(3 * PATCH_PX**2, WIDTH) + patches * WIDTH
    pool = WIDTH + attention + norm + mlp  # its query is learned and projected as keys are
    return entry + DEPTH * block + norm + pool


@pytest.fixture(scope="module")
def tower():
    with torch.device("meta"):
        return Tower(_open_clip_network(SPEC, download=False)).eval()


def test_paper_tower_has_expected_parameter_count(tower):
    assert {parameter.device.type for parameter in tower.parameters()} == {"meta"}
    num_parameters = sum(parameter.numel() for parameter in tower.parameters())
    assert num_parameters == transformer_parameters() == 1_163_659_776


def test_paper_config_networks_fit_tower(tower):
    config = read_config(CONFIG)
    side_px = suggested_preprocess(SPEC).size_px
    assert side_px == SIDE_PX
    features = tower(torch.empty(2, 3, side_px, side_px, device="meta"))
    assert features.shape == (2, WIDTH)
    sources = [one for one in config.sources if isinstance(one, ManifestSourceConfig)]
    kinds = tuple(sorted(one.kind for one in sources))
    heads = Networks(config, kinds, features.shape[1]).heads
    assert heads(torch.zeros(features.shape), kinds).shape == (2, config.networks.dim)


@pytest.fixture(scope="module")
def page():
    return (DOCS / "how-to" / "train-on-public-data.md").read_text(encoding="utf-8")


def test_public_data_page_pulls_tower_of_config(page):
    command = f"pinpoint bundles pull {SPEC} --tag {SPEC.pretrained} --name"
    assert f"{command} {read_config(CONFIG).tower} --license Apache-2.0\n" in page


def test_public_data_page_program_writes_manifests_of_config(page, tmp_path):
    photos, views = tmp_path / "mp16" / "images", tmp_path / "osv5m" / "images"
    files = [photos / "3e_1a_77.jpg", photos / "05_ff_78.png"]
    files += [views / "train" / "00" / "501.jpg", views / "test" / "00" / "503.jpg"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"not looked at")
    (tmp_path / "mp16" / "metadata").mkdir()
    # One name as MP-16 has it, one as MP16-Pro does, one whose photo was gone.
    (tmp_path / "mp16" / "metadata" / "MP16_Pro_filtered.csv").write_text(
        "IMG_ID,LAT,LON,city\n3e/1a/77.jpg,48.5,2.25,\n05_ff_78.png,-3.5,-60.25,x\n9_9_9.jpg,1,1,\n"
    )
    (tmp_path / "osv5m" / "train.csv").write_text(
        "id,latitude,longitude,country,sequence,creator_username\n"
        "501,60.5,179.75,RU,drive,maria\n502,10.0,10.0,NE,other,ali\n"
    )
    shutil.copy(CONFIG, tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    config = read_config(tmp_path / CONFIG.name)
    sources = [
        ManifestSource(manifest=source.manifest, kind=source.kind)
        for source in config.sources
        if isinstance(source, ManifestSourceConfig)
    ]
    gathered = read_samples(sources, MediaSettings())
    assert (gathered.rows, gathered.rejected) == (3, {})
    columns = ("files", "kinds", "lat", "lon", "creators", "sequences")
    found = set(zip(*(getattr(gathered.samples, name).tolist() for name in columns), strict=True))
    assert found == {
        (str(files[0]), "photo", 48.5, 2.25, "", ""),
        (str(files[1]), "photo", -3.5, -60.25, "", ""),
        (str(files[2]), "street", 60.5, 179.75, "maria", "drive"),
    }
