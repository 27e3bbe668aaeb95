"""The tutorials and the README run as they are written, against a real stack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import dismiss, home_folder, watch_over
from document_blocks import ROOT, make_script, read_blocks
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.synthetic.dataset import make_planet

TUTORIALS = ROOT / "docs" / "tutorials"
HOMES = (".pinpoint", ".pinpoint-demo", ".pinpoint-photos-demo")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder to work in; stacks below it are removed at the end."""
    with home_folder() as home:
        folder = home.parent
        watchers = [watch_over(folder / name) for name in HOMES]
        try:
            yield folder
        finally:
            for name, watcher in zip(HOMES, watchers, strict=True):
                settings = Settings(services=ServiceSettings(home=folder / name))
                lifecycle.stop_stack(settings)
                dismiss(watcher)
                lifecycle.erase_stack(settings)


def run_script(script: str, folder: Path, timeout_s: float, **variables: str) -> str:
    """Run a bash script in a folder, with the commands of this environment on the path."""
    path = folder / "blocks.sh"
    path.write_text(script, encoding="utf-8")
    commands = Path(sys.executable).parent
    # Readers use the default bundle; the other tests name the descriptor.
    inherited = {name: value for name, value in os.environ.items() if name != "PINPOINT_BUNDLE"}
    completed = subprocess.run(
        ["bash", path],
        cwd=folder,
        env={**inherited, "PATH": f"{commands}:{os.environ['PATH']}", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout[-4000:]
    return completed.stdout


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_tutorial_first_hour_runs_as_written(folder):
    output = run_script(make_script(read_blocks(TUTORIALS / "first-hour.md")), folder, 570)
    assert "map: demo-out/map.png" in output
    assert (folder / "cited.jpg").read_bytes().startswith(b"\xff\xd8")
    assert not (folder / ".pinpoint-demo").exists()
    assert not (folder / ".pinpoint").exists(), "the demo touched the home of real photos"


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_tutorial_your_own_photos_runs_as_written(folder):
    output = run_script(make_script(read_blocks(TUTORIALS / "your-own-photos.md")), folder, 570)
    assert "walks" in output
    assert not (folder / ".pinpoint").exists()
    assert processes.find_stack_processes(StackPaths(folder / ".pinpoint")) == []


@pytest.mark.timeout(600)
def test_tutorial_http_api_runs_as_written(folder):
    output = run_script(make_script(read_blocks(TUTORIALS / "http-api.md")), folder, 570)
    assert "<title>Pinpoint API</title>" in output
    assert "6 images" in output
    assert "unchanged: 304" in output
    assert "first: 200 late: 412 precondition_failed" in output
    assert "did you mean 'source'?" in output
    assert not (folder / ".pinpoint").exists()


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_tutorial_python_client_runs_as_written(folder):
    output = run_script(make_script(read_blocks(TUTORIALS / "python-client.md")), folder, 570)
    assert "rows in walks.csv" in output
    assert "source_exists" in output or "conflict" in output
    assert not (folder / ".pinpoint").exists()


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_readme_examples_run_as_written(folder):
    planet = make_planet(folder / "planet", preset="tiny", seed=7)
    photos = folder / "photos"
    shutil.copytree(folder / "planet" / "galleries" / "test-photo", photos / "trips")
    shutil.copy(planet.queries[0].path, photos / "where-was-this.jpg")
    blocks = read_blocks(ROOT / "README.md")
    assert [block.language for block in blocks] == ["bash", "bash", "python"]
    # `curl` prints no line end.
    output = run_script(make_script(blocks) + "echo\n", folder, 570, HOME=str(folder))
    assert '"credible_discs"' in output
    assert "CC BY 4.0" in output


@pytest.mark.timeout(3000)
def test_tutorial_train_and_calibrate_runs_as_written(folder):
    output = run_script(
        make_script(read_blocks(TUTORIALS / "train-and-calibrate.md")), folder, 2900
    )
    assert "calibrated: True" in output
    assert not (folder / ".pinpoint").exists()
