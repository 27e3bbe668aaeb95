"""The shipped embedder: its recall on the synthetic planet, and reproduction by its recipe.

The second test trains for minutes, and kills the training once.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinpoint.nets.bundle.bundles import find_bundle, read_bundle
from pinpoint.settings import ServiceSettings
from pinpoint.synthetic.dataset import make_planet
from pinpoint.synthetic.presets import PRESETS
from pinpoint.training.core import loop
from trials.embedder.tables import SEED, channels, markdown, measured
from trials.planet.planet_images import plan_shots, render_planet

RECIPE = Path(__file__).parents[2] / "docs" / "configs" / "world-tiny.toml"
NAME = "world-tiny"
AT_MOST_S = 25 * 60
LOWEST = {"photo": 0.15, "street": 0.40}


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@pytest.mark.timeout(2_400)
def test_shipped_embedder_recall_is_above_bounds():
    planet = render_planet(
        SEED, PRESETS["bench"], plan_shots(SEED, PRESETS["bench"], ("train", "test"))
    )
    figures = measured(planet, channels(planet, find_bundle(NAME, ServiceSettings().home), say))
    say("\nsynthetic planet, not the Earth\n" + markdown(figures, planet))
    for kind, lowest in LOWEST.items():
        trained = figures["open", kind, (kind,), "image", 1]
        assert trained.value >= lowest
        # Not by chance better than what needs no training.
        assert trained.low > figures["open", kind, (kind,), "descriptor", 1].high


@pytest.mark.timeout(3_000)
def test_train_recipe_after_kill_reproduces_shipped_metrics(tmp_path):
    """A run that is killed at a random step and resumed has the metrics of the shipped bundle."""
    make_planet(tmp_path / "planet", preset="bench", seed=SEED)
    recipe = Path(shutil.copy(RECIPE, tmp_path / "planet"))
    steps, out = 0, tmp_path / "run"
    began, process = time.monotonic(), _command(recipe, out, tmp_path)
    until = random.Random().randint(300, 1_500)
    while steps < until:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(1)
        steps = _steps(out / loop.LOG)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    say(f"\nkilled after step {steps}")
    process = _command(recipe, out, tmp_path)
    said, error = process.communicate()
    assert process.returncode == 0, error
    took_s = time.monotonic() - began
    report, shipped = json.loads(said), find_bundle(NAME, ServiceSettings().home).contract.heads
    again = read_bundle(Path(report["bundle"])).contract.heads
    say(f"trained in {took_s / 60:.1f} min, its features included")
    before, after = shipped.training.metrics, again.training.metrics
    for name, share in before.items():
        say(f"{name:28} shipped {100 * share:5.1f} %  again {100 * after[name]:5.1f} %")
    for kind in LOWEST:
        name = f"{kind}@12,25km"
        assert after[name] >= 0.9 * before[name]
        assert abs(after[name] - before[name]) <= 0.005
    assert took_s <= AT_MOST_S


def _command(recipe, out, home):
    environment = {**os.environ, "PINPOINT_HOME": str(home)}
    words = ["train", "embedder", "--config", str(recipe), "--out", str(out), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "pinpoint.cli", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _steps(log):
    lines = log.read_text().splitlines() if log.exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 else 0
