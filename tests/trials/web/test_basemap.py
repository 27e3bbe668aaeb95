"""The operator's PMTiles archive as background map, drawn by Chromium."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

from trials.web.conftest import WAIT_MS, Guard

pmtiles = pytest.importorskip(
    "pmtiles.tile", reason="pmtiles is not installed: pip install pmtiles"
)
GREEN = (20, 160, 60)


def write_archive(path: Path) -> None:
    """A raster archive of zoom levels 0 to 2, all of one color."""
    from pmtiles.tile import Compression, TileType, zxy_to_tileid
    from pmtiles.writer import Writer

    encoded = BytesIO()
    Image.new("RGB", (256, 256), GREEN).save(encoded, "PNG")
    with path.open("wb") as file:
        writer = Writer(file)
        for zoom in range(3):
            for x in range(2**zoom):
                for y in range(2**zoom):
                    writer.write_tile(zxy_to_tileid(zoom, x, y), encoded.getvalue())
        writer.finalize(
            {
                "tile_type": TileType.PNG,
                "tile_compression": Compression.NONE,
                "min_zoom": 0,
                "max_zoom": 2,
                "min_lon_e7": -1_800_000_000,
                "min_lat_e7": -850_000_000,
                "max_lon_e7": 1_800_000_000,
                "max_lat_e7": 850_000_000,
                "center_zoom": 0,
                "center_lon_e7": 0,
                "center_lat_e7": 0,
            },
            {"name": "green", "attribution": "trial"},
        )


def is_green(color: Any) -> bool:
    return all(abs(value - expected) <= 6 for value, expected in zip(color, GREEN, strict=True))


@contextlib.contextmanager
def run_api(stack: SimpleNamespace, **settings: str) -> Iterator[str]:
    """A second API of the stack, with settings of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PINPOINT_HOME": str(stack.home),
        "PINPOINT_API_PORT": str(port),
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "pinpoint.api"], env=environment, cwd="/")
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"{url}/health/live").raise_for_status()
                break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.timeout(300)
def test_archive_of_the_operator_is_the_background_map(
    stack: SimpleNamespace, browser: Any, tmp_path: Path, take_screenshot: Any
) -> None:
    archive = tmp_path / "green.pmtiles"
    write_archive(archive)
    with run_api(stack, PINPOINT_API_BASEMAP_TILES=str(archive)) as url:
        guard = Guard(url)
        page = browser.new_page(viewport={"width": 900, "height": 700})
        guard.watch(page)
        page.goto(f"{url}/#view=gallery&projection=flat&map=1/20/10", wait_until="load")
        page.wait_for_selector("canvas.maplibregl-canvas", timeout=WAIT_MS)
        until = time.monotonic() + WAIT_MS / 1_000
        while True:
            picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
            colors = picture.getcolors(900 * 700) or []
            share = sum(count for count, color in colors if is_green(color)) / (900 * 700)
            if share > 0.2:
                break
            assert time.monotonic() < until, (f"{share:.0%} of the page", guard.problems)
            time.sleep(0.5)
            take_screenshot(page, "operator-basemap")
        page.close()
        assert guard.problems == []
