"""The unmodified Panoramax web viewer against a running stack: map, sequence, picture, next.

The trial needs npm, Chromium (`chromium` on the path) and playwright, whose own browsers are not
used. `PINPOINT_TEST_SCREENSHOTS` names a folder that keeps the screenshots.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from shared_data import shared_data
from stack_fixtures import unique
from trials.panoramax.street_spheres import read_shots, stitch_sphere
from trials.panoramax.viewer_server import serve_viewer

VIEWER = "@panoramax/web-viewer@4.3.1"
# WebGL without a GPU; the sandbox of Chromium does not run as root.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
WAIT_MS = 120_000
GRAY = (90, 90, 90)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the viewer as published on npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("viewer")
    packed = subprocess.run(
        ["npm", "pack", "--silent", VIEWER],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if packed.returncode != 0:
        pytest.skip(f"npm cannot download {VIEWER}: {packed.stderr[-300:]}")
    with tarfile.open(folder / packed.stdout.strip().splitlines()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "build"


@pytest.fixture(scope="module")
def gallery(running_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Real street views: panoramas in one source, their faces as photos in another one."""
    views = shared_data() / "street" / "panoramax"
    shots = read_shots(views)
    folder = tmp_path_factory.mktemp("spheres")
    sources = {"spheres": unique("spheres"), "faces": unique("faces")}
    with (folder / "manifest.csv").open("w", encoding="utf-8") as manifest:
        manifest.write("file,sequence,captured_at,creator,license\n")
        for shot in shots:
            (folder / f"{shot.name}.jpg").write_bytes(stitch_sphere(views, shot))
            manifest.write(
                f"{shot.name}.jpg,{shot.sequence},{shot.captured_at},{shot.creator},Etalab-2.0\n"
            )
    with ApiClient.open(home=running_stack.home) as client:
        for name, source in sources.items():
            client.add_source(source, "street", attribution="Panoramax contributors")
            path = folder if name == "spheres" else views
            batch = client.ingest_folder(path, source=source, wait=True)
            assert batch["failed"] == batch["rejected"] == 0, batch
    return {"shots": shots, **sources}


@pytest.fixture(scope="module")
def key(running_stack: Any) -> Iterator[str]:
    """A key that may only read."""
    transactions = Transactions(owner_engine(running_stack.paths.owner_url()))
    keys = ApiKeyStore(transactions)
    created, secret = keys.create_key("default", "viewer", KeyGrant(scopes=("read",)))
    yield secret
    keys.revoke_key("default", created.id)
    transactions.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("PINPOINT_TEST_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


OTHER_SERVICES = {
    "presets.panoramax.fr": '{"bench": {"tags": {"osm|amenity": "bench"}, "name": "Bench"}}',
    "nominatim.openstreetmap.org": json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": None,
                    "properties": {"geocoding": {"type": "street", "name": "A street"}},
                }
            ],
        }
    ),
}
"""Services that the viewer asks for names of tags and for addresses, which no attribute turns off.
The trial answers for them, because it needs no network."""


class Browser:
    """A page with the viewer, and everything that went wrong on it."""

    def __init__(self, page: Any, origin: str, screenshots: Path) -> None:
        self.page, self.origin, self.screenshots = page, origin, screenshots
        self.problems: list[str] = []
        self.requested: list[str] = []
        for host, answer in OTHER_SERVICES.items():
            page.route(f"https://{host}/**", partial(_answer_json, answer))
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("requestfailed", self._note_failure)
        page.on("request", lambda request: self.requested.append(request.url))

    def _note_message(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} {message.location}")

    def _note_failure(self, request: Any) -> None:
        # Requests that the viewer cancels itself are no failures.
        if "ERR_ABORTED" not in str(request.failure):
            self.problems.append(f"request: {request.url} {request.failure}")

    def evaluate(self, script: str, argument: object = None) -> Any:
        viewer = "const viewer = document.getElementById('viewer');"
        return self.page.evaluate(f"async (argument) => {{ {viewer} {script} }}", argument)

    def wait_for(self, condition: str, argument: object = None) -> None:
        """Wait until an expression over `viewer` and `argument` is true."""
        viewer = "document.getElementById('viewer')"
        self.page.wait_for_function(
            f"(argument) => {{ const viewer = {viewer}; return {condition}; }}",
            arg=argument,
            timeout=WAIT_MS,
        )

    def save(self, name: str) -> Any:
        path = self.screenshots / f"panoramax-{name}.png"
        self.page.screenshot(path=path)
        return np.asarray(Image.open(path).convert("RGB"))


def _answer_json(body: str, route: Any) -> None:
    headers = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(status=200, content_type="application/json", headers=headers, body=body)


@pytest.fixture
def browser(
    build: Path, key: str, gallery: dict[str, Any], running_stack: Any, screenshots: Path
) -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install playwright)"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with (
        serve_viewer(build, running_stack.api_url, key) as origin,
        playwright.sync_playwright() as driver,
    ):
        launched = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        page = launched.new_page(viewport={"width": 1280, "height": 800}, locale="en-US")
        page.set_default_timeout(WAIT_MS)
        yield Browser(page, origin, screenshots)
        launched.close()


def open_viewer(browser: Browser, path: str = "/") -> None:
    browser.page.goto(f"{browser.origin}{path}")
    browser.wait_for("viewer && viewer.api && viewer.api.isReady() && viewer.map && viewer.psv")
    browser.wait_for("viewer.map.loaded() && viewer.psv.container && !viewer.loader.isVisible()")


def count_features(browser: Browser, layer: str) -> int:
    script = "return viewer.map.queryRenderedFeatures({layers: [argument]}).length;"
    return int(browser.evaluate(script, layer))


def show_map(browser: Browser, lon: float, lat: float, zoom: float) -> None:
    browser.evaluate("viewer.map.jumpTo(argument);", {"center": [lon, lat], "zoom": zoom})
    browser.wait_for("viewer.map.loaded() && viewer.map.areTilesLoaded()")
    browser.page.wait_for_timeout(1_000)


def wait_for_picture(browser: Browser, item_id: str) -> None:
    condition = (
        "viewer.psv.getPictureMetadata()?.id === argument && !viewer.psv.state.loadingPromise"
    )
    browser.wait_for(condition, item_id)
    browser.page.wait_for_timeout(1_500)


@pytest.mark.timeout(900)
def test_viewer_shows_map_sequence_picture_and_next(
    browser: Browser, gallery: dict[str, Any], key: str
) -> None:
    shots = gallery["shots"]
    sequences = {shot.sequence: [s for s in shots if s.sequence == shot.sequence] for shot in shots}
    drive = max(sequences.values(), key=len)
    assert len(drive) >= 3
    open_viewer(browser)
    # The gallery is seen from afar, as lines, and as single pictures.
    show_map(browser, drive[0].lon, drive[0].lat, 4.0)
    assert count_features(browser, "geovisio_grid") >= 1
    browser.save("grid")
    show_map(browser, drive[1].lon, drive[1].lat, 13.0)
    assert count_features(browser, "geovisio_sequences") >= 3
    browser.save("sequences")
    show_map(browser, drive[1].lon, drive[1].lat, 18.0)
    assert count_features(browser, "geovisio_pictures") >= 2
    browser.save("pictures")

    # A click on the map opens the picture there.
    items = list_items(browser, key, gallery["spheres"], drive)
    browser.evaluate("viewer.map.getCanvas().focus();")
    point = browser.evaluate(
        "const p = viewer.map.project(argument);"
        "const box = viewer.map.getCanvas().getBoundingClientRect();"
        "return [p.x + box.left, p.y + box.top];",
        items[1]["geometry"]["coordinates"],
    )
    browser.page.mouse.click(*point)
    browser.wait_for("viewer.psv.getPictureMetadata()?.id && viewer.picture")
    browser.page.wait_for_timeout(2_000)
    browser.save("clicked")

    # A picture of the drive, and the next one.
    first, second = items[0], items[1]
    browser.evaluate("viewer.select(argument[0], argument[1]);", [first["collection"], first["id"]])
    wait_for_picture(browser, first["id"])
    check_picture(browser, "picture", first)
    browser.page.locator("#pnx-player-next").click()
    wait_for_picture(browser, second["id"])
    check_picture(browser, "next", second)

    # A photo that is no panorama.
    faces = list_items(browser, key, gallery["faces"], drive)
    browser.evaluate(
        "viewer.select(argument[0], argument[1]);", [faces[0]["collection"], faces[0]["id"]]
    )
    wait_for_picture(browser, faces[0]["id"])
    browser.save("flat")
    assert not browser.problems, "\n".join(browser.problems)
    hosts = {urlsplit(url).netloc for url in browser.requested if url.startswith("http")}
    assert hosts == {urlsplit(browser.origin).netloc, *OTHER_SERVICES}


def list_items(browser: Browser, key: str, source: str, drive: list[Any]) -> list[dict[str, Any]]:
    """Items of a drive in one source, as the API orders them."""
    with httpx.Client(base_url=browser.origin, timeout=60, trust_env=False) as api:
        collections = api.get("/api/collections", params={"limit": 1000}).json()["collections"]
        (collection,) = (
            found
            for found in collections
            if found["title"] == drive[0].sequence and source in found["description"]
        )
        page = api.get(f"/api/collections/{collection['id']}/items", params={"limit": 1000})
        items: list[dict[str, Any]] = page.json()["features"]
    assert len(items) >= len(drive)
    return items


def check_picture(browser: Browser, name: str, item: dict[str, Any]) -> None:
    """The panorama is drawn: its colors fill the page, and its license is stated."""
    shown = browser.save(name)
    colors, counts = np.unique(shown.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colors) > 5_000
    assert counts.max() < 0.5 * counts.sum()
    metadata = browser.evaluate(
        "const node = viewer.psv.getPictureMetadata();"
        "return {sequence: node.sequence, fov: node.horizontalFov, caption: node.caption};"
    )
    assert metadata["fov"] == 360
    assert metadata["sequence"]["id"] == item["collection"]
    assert "etalab-2.0" in metadata["caption"]["license"]
