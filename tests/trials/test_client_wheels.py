"""The built wheels in new virtual environments: the client alone, and both with a stack."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import dismiss, home_folder, watch_over
from document_blocks import ROOT
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.supervisor import lifecycle
from stack_fixtures import write_photos

CLIENT = ROOT / "clients" / "python"
MAX_CLIENT_MB = 40


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Both wheels by distribution, as a person builds them."""
    folder = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, CLIENT, ROOT)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home; its stack is removed at the end."""
    with home_folder() as home:
        watcher = watch_over(home)
        try:
            yield home
        finally:
            settings = Settings(services=ServiceSettings(home=home))
            lifecycle.stop_stack(settings)
            dismiss(watcher)
            lifecycle.erase_stack(settings)


def run(*command, timeout_s: float = 500, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    completed = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        env={**inherited, **variables},
        cwd="/",
        check=False,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout[-4000:]}"
    return completed.stdout


def make_environment(folder: Path) -> Path:
    """A new virtual environment; returns its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder / "bin" / "python"


def install(python: Path, *arguments) -> None:
    """Install with the pip of this environment."""
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "-q", *arguments)


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", code).strip())


@pytest.mark.timeout(600)
def test_client_wheel_is_small_typed_and_independent_of_the_server(wheels, tmp_path):
    assert "pinpoint_client/py.typed" in zipfile.ZipFile(wheels["pinpoint_client"]).namelist()
    python = make_environment(tmp_path / "venv")
    install(python, wheels["pinpoint_client"])
    packages = site_packages(python)
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6
    assert size <= MAX_CLIENT_MB, f"installed: {size:.1f} MB"
    assert not (packages / "pinpoint").exists()
    code = "import pinpoint_client, time; print(pinpoint_client.__file__)"
    assert str(packages) in run(python, "-c", code)
    # The example of a consumer, against the installed types.
    example = CLIENT / "examples" / "locate_folder.py"
    options = ("--strict", "--config-file", os.devnull, "--cache-dir", tmp_path / "cache")
    checked = run(sys.executable, "-m", "mypy", *options, "--python-executable", python, example)
    assert "Success" in checked


@pytest.mark.timeout(900)
def test_both_wheels_bring_up_a_stack_ingest_and_locate(wheels, tmp_path, home):
    python = make_environment(tmp_path / "venv")
    # Dependencies come from this environment: they are gigabytes. Its `pinpoint` does not, because
    # a path in a .pth file has none of the .pth files of its own.
    (site_packages(python) / "dependencies.pth").write_text(
        f"{Path(importlib.util.find_spec('torch').origin).parents[1]}\n"
    )
    # Without an index: the wheel of the client satisfies the requirement of the server.
    install(python, "--no-index", wheels["pinpoint_client"], wheels["pinpoint"])
    for package in ("pinpoint", "pinpoint_client", "pinpoint_workers"):
        code = f"import {package}; print({package}.__file__)"
        assert str(tmp_path) in run(python, "-c", code)
    photos = tmp_path / "photos"
    write_photos(photos, 4, first=52_000)
    pinpoint = (python.parent / "pinpoint", "--home", home)
    try:
        run(*pinpoint, "up")
        run(*pinpoint, "ingest", photos, "--source", "walk", "--source-kind", "photo", "--wait")
        located = run(*pinpoint, "locate", next(photos.iterdir()), "--json")
        code = "from pinpoint_client import connect; print(connect().locate({!r}).point.lat)"
        printed = run(
            python, "-c", code.format(str(next(photos.iterdir()))), PINPOINT_HOME=str(home)
        )
    finally:
        run(*pinpoint, "down")
    assert '"candidates"' in located
    assert -90 <= float(printed.splitlines()[-1]) <= 90
