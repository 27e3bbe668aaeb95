"""The gallery view in a browser: cells, lists, filters, image panel, corrections with undo."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import shapely

from api.panoramax_pages import upload
from stack_fixtures import plain_jpeg, unique

# A place without other images.
LAT, LON = -35.0, -120.0
STEP_DEG = 0.002
START = datetime(2022, 3, 1, 12, tzinfo=UTC)
HOSTILE = '<img src=x onerror="window.hacked=1"><b>bold'
NUM_IMAGES = 12
MAX_RESPONSE_BYTES = 500_000


@pytest.fixture(scope="module")
def api(stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, headers=stack.as_operator, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def gallery(api) -> Iterator[SimpleNamespace]:
    """Twelve images on a line to the east, one per 30 days; names and credits contain markup."""
    source = unique(HOSTILE)
    body = {"name": source, "kind": "photo", "license": HOSTILE, "attribution": HOSTILE}
    api.post("/v1/sources", json=body).raise_for_status()
    files = {
        f"{HOSTILE}-{number:02d}.jpg": (
            plain_jpeg(9_000 + number),
            {
                "lat": LAT,
                "lon": LON + STEP_DEG * number,
                "captured_at": (START + timedelta(days=30 * number)).isoformat(),
                "creator": HOSTILE,
                **({"heading_deg": 90.0} if number == 3 else {}),
            },
        )
        for number in range(NUM_IMAGES)
    }
    ids = upload(api, source, files)
    yield SimpleNamespace(source=source, ids=[ids[name][0] for name in sorted(files)])
    api.delete(f"/v1/sources/{quote(source)}").raise_for_status()


def open_view(page: Any, zoom: float, lon: float = LON, **values: str) -> None:
    """Show a part of the map in the gallery view and wait until the map is drawn."""
    extra = "".join(f"&{name}={value}" for name, value in values.items())
    page.evaluate(
        "hash => { location.hash = hash; }",
        f"#view=gallery&projection=flat&map={zoom:.2f}/{LAT:.5f}/{lon:.5f}{extra}",
    )
    page.wait_for_selector(".gallery")


def wait_for_count(page: Any, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('.view-count')?.textContent === text", arg=text
    )


def map_center(page: Any) -> tuple[float, float]:
    box = page.locator("#map").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def listed_names(page: Any) -> list[str]:
    page.wait_for_selector(".image-list .image-entry")
    return page.locator(".image-list .entry-name").all_inner_texts()


def drag(page: Any, start: tuple[float, float], *points: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for point in points:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def read_filters(page: Any) -> dict[str, str]:
    query = parse_qs(urlsplit(page.url).fragment)
    return {name: values[0] for name, values in query.items()}


def test_lasso_filters_list_and_map(page, api, gallery):
    open_view(page, 12, LON + STEP_DEG * 5.5)
    wait_for_count(page, f"{NUM_IMAGES} images in view")
    page.get_by_role("button", name="List images in view").click()
    assert len(listed_names(page)) == NUM_IMAGES
    page.get_by_role("button", name="Draw lasso").click()
    page.get_by_role("button", name="Stop drawing").wait_for()
    page.wait_for_timeout(1_000)
    x, y = map_center(page)
    drag(page, (x - 300, y - 50), (x, y - 60), (x, y + 60), (x - 300, y + 50), (x - 300, y - 48))
    page.get_by_text("Filters (1 active)").wait_for()
    ring = [
        tuple(map(float, reversed(position.split(","))))
        for position in read_filters(page)["area"].split(";")
    ]
    inside = [
        number
        for number in range(NUM_IMAGES)
        if shapely.Polygon(ring).contains(shapely.Point(LON + STEP_DEG * number, LAT))
    ]
    assert 0 < len(inside) < NUM_IMAGES
    wait_for_count(page, f"{len(inside)} images in view")
    page.wait_for_function(
        "count => document.querySelectorAll('.image-list .image-entry').length === count",
        arg=len(inside),
    )
    assert {name[-6:-4] for name in listed_names(page)} == {f"{number:02d}" for number in inside}
    area = json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]})
    answer = api.get("/v1/images", params={"polygon": area, "source": gallery.source}).json()
    assert len(answer["images"]) == len(inside)


def test_cell_opens_its_images_and_the_image_panel_shows_markup_as_text(page, gallery):
    open_view(page, 9, LON + STEP_DEG * 5.5)
    page.get_by_text(re.compile("About .* images in view")).wait_for()
    page.mouse.click(*map_center(page))
    page.get_by_role("heading", name="Images of the cell").wait_for()
    assert 0 < len(listed_names(page)) <= NUM_IMAGES
    page.locator(".image-list .image-entry").first.click()
    details = page.locator(".details dl")
    details.wait_for()
    text = details.inner_text()
    assert text.count(HOSTILE) >= 4
    assert re.search("[0-9a-f]{64}", text)
    assert page.locator("#panel b").count() == 0
    assert page.locator("#panel img[src='x']").count() == 0
    assert page.evaluate("window.hacked") is None
    page.locator(".picture img").wait_for()
    page.locator(".image-strip .image-entry").first.wait_for()
    assert read_filters(page)["image"] in gallery.ids


def test_time_slider_filters_list_and_map_by_keyboard(page, gallery):
    open_view(page, 12, LON + STEP_DEG * 5.5)
    wait_for_count(page, f"{NUM_IMAGES} images in view")
    page.get_by_role("button", name="List images in view").click()
    listed_names(page)
    page.get_by_label("First day").last.fill("2022-06-15")
    page.get_by_label("First day").last.press("Tab")
    number = sum(
        START + timedelta(days=30 * n) >= datetime(2022, 6, 15, tzinfo=UTC) for n in range(12)
    )
    wait_for_count(page, f"{number} images in view")
    handle = page.get_by_role("slider", name="Last day")
    handle.focus()
    for _ in range(3):
        handle.press("PageDown")
    page.wait_for_function("() => new URLSearchParams(location.hash.slice(1)).get('to') !== null")
    last_day = read_filters(page)["to"]
    number = sum(
        "2022-06-15" <= f"{START + timedelta(days=30 * n):%Y-%m-%d}" <= last_day for n in range(12)
    )
    expected = (
        f"{number} image{'' if number == 1 else 's'} in view" if number else "No image in view"
    )
    wait_for_count(page, expected)
    page.get_by_role("button", name="Reset filters").click()
    wait_for_count(page, f"{NUM_IMAGES} images in view")


def test_position_is_corrected_by_dragging_and_undone(page, api, gallery):
    image_id = gallery.ids[3]
    before = api.get(f"/v1/images/{image_id}").json()
    open_view(page, 17, before["lon"], image=image_id)
    page.get_by_role("button", name="Correct position").click()
    page.locator(".position-marker").wait_for()
    box = page.locator(".position-marker").bounding_box()
    center = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    drag(page, center, (center[0] + 60, center[1] - 40))
    box = page.locator(".heading-handle").bounding_box()
    handle = box["x"] + 8, box["y"] + 8
    drag(page, handle, (center[0] + 60, center[1] - 140))
    page.get_by_role("button", name="Save").click()
    page.locator(".edit-message", has_text="Saved; the image moved by").wait_for()
    moved = api.get(f"/v1/images/{image_id}").json()
    assert moved["lat"] > before["lat"]
    assert moved["lon"] > before["lon"]
    assert moved["position_source"] == "manual"
    assert min(moved["heading_deg"], 360 - moved["heading_deg"]) < 3
    page.get_by_role("button", name="Undo").click()
    page.locator(".edit-message", has_text="The correction is undone.").wait_for()
    undone = api.get(f"/v1/images/{image_id}").json()
    for name in ("lat", "lon", "heading_deg", "position_source"):
        assert undone[name] == before[name]


def test_position_is_typed_and_a_conflict_is_reported(page, api, gallery):
    image_id = gallery.ids[5]
    open_view(page, 17, LON + STEP_DEG * 5, image=image_id)
    page.get_by_role("button", name="Correct position").click()
    page.get_by_label("Latitude").fill("-35.001")
    api.patch(f"/v1/images/{image_id}", json={"heading_deg": 12.0}).raise_for_status()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Somebody has changed this image in the meantime").wait_for()
    assert api.get(f"/v1/images/{image_id}").json()["lat"] == LAT
    page.get_by_text("12°").wait_for()
    page.get_by_role("button", name="Correct position").click()
    page.locator(".position-marker").focus()
    page.keyboard.press("Shift+ArrowUp")
    page.get_by_label("Latitude").press("Enter")
    page.locator(".edit-message", has_text="Saved; the image moved by 10 m").wait_for()
    assert api.get(f"/v1/images/{image_id}").json()["lat"] == pytest.approx(LAT + 9e-5, abs=1e-5)


def test_key_without_scope_ingest_cannot_correct(open_page, read_key, gallery):
    page = open_page(read_key)
    open_view(page, 17, image=gallery.ids[0])
    page.get_by_text("Your key cannot correct images").wait_for()
    assert page.get_by_role("button", name="Correct position").is_disabled()


def test_view_is_accessible_and_answers_are_small(page, check_accessibility, gallery):
    sizes = {}
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    for values in (
        {},
        {"show": "gaps"},
        {"list": "box:-121,-36,-119,-34"},
        {"image": gallery.ids[1]},
    ):
        open_view(page, 10, **values)
        page.wait_for_timeout(1_500)
        check_accessibility(page)
    data = [size for url, size in sizes.items() if re.search("/(v1|ogc|api)/", url)]
    assert data
    assert max(data) <= MAX_RESPONSE_BYTES
