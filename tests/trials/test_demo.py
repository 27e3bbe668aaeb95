"""`pinpoint demo` as a new user runs it: first run, fast second run, and removal."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import dismiss, home_folder, watch_over
from pinpoint.homes import demo_home
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes


def _pinpoint(home: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *words],
        cwd=cwd,
        env={**os.environ, "PINPOINT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _check_map(path: Path) -> None:
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGB"))
        assert (image.format, path.name) == ("PNG", "map.png")
    assert min(shown.shape[:2]) > 500
    colors, counts = np.unique(shown.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colors) > 50
    assert counts.max() < 0.95 * counts.sum()


def _check_lines(lines: list[str], photos: list[dict[str, Any]]) -> None:
    """Every photo has a line with all its results."""
    own = [" ".join(line.split()) for line in lines if line.lstrip()[:1].isdigit()]
    assert len(own) == len(photos)
    for number, (line, photo) in enumerate(zip(own, photos, strict=True), start=1):
        answer, inside = photo["answer"], photo["error_km"] <= photo["radius_km"]["90%"]
        chances = photo["probability_within_km"]
        for wanted in (
            f"{number} {photo['query_kind']} {photo['ground_truth']['nearest_city']} ",
            f" {answer['lat']:.4f}, {answer['lon']:.4f} {answer['nearest_city']}",
            f"{chances['25']:.0%}" if chances else "uncalibrated",
            "inside" if inside else "outside",
            f" {len(photo['citations'])} ",
            *(one["image_id"][:8] for one in photo["citations"]),
        ):
            assert wanted in line
        radius_km = photo["radius_km"]["90%"]
        assert any(_is(word, radius_km) for word in line.split())


def _is(word: str, radius_km: float) -> bool:
    return word.replace(".", "", 1).isdigit() and float(word) == pytest.approx(radius_km, rel=0.02)


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_demo_runs_twice_and_is_removed(tmp_path):
    with home_folder() as home:
        own = demo_home(home)
        watcher = watch_over(own)
        try:
            first = _pinpoint(home, "demo", "--json", cwd=tmp_path)
            assert first.returncode == 0, first.stderr
            said = json.loads(first.stdout)
            assert said["photos"]
            assert said["server"].startswith("http://127.0.0.1:")
            _check_map(tmp_path / said["map"])
            began = time.monotonic()
            again = _pinpoint(home, "demo", cwd=tmp_path)
            assert again.returncode == 0, again.stderr
            assert time.monotonic() - began < 90
            assert "map: demo-out/map.png" in again.stdout.splitlines()
            _check_lines(again.stdout.splitlines(), said["photos"])
            assert not home.exists(), "the demo touched the home of real photos"
            assert _pinpoint(own, "status").returncode == 0
            assert _pinpoint(own, "down").returncode == 0
            assert processes.find_stack_processes(StackPaths(own)) == []
            assert _pinpoint(own, "status").returncode != 0
            assert f"  {said['remove']}" in again.stdout.splitlines()
            removed = _pinpoint(home, *shlex.split(said["remove"])[1:], "--yes")
            assert removed.returncode == 0, removed.stderr
            assert not any(path.exists() for path in (own, StackPaths(own).cluster_dir))
        finally:
            settings = Settings(services=ServiceSettings(home=own))
            lifecycle.stop_stack(settings)
            dismiss(watcher)
            lifecycle.erase_stack(settings)
