"""The locate view in a browser: photo in; finding, regions, evidence and comparison out."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.panoramax_pages import upload
from media import c2pa_photos
from stack_fixtures import jpeg, plain_jpeg, unique

HOSTILE = '<img src=x onerror="window.hacked=1">'


def choose_photo(page: Any, *files: Any) -> None:
    page.set_input_files("#locate-files", [str(file) for file in files])
    page.locator(".chosen-photo").nth(len(files) - 1).wait_for()


def locate(page: Any) -> None:
    page.locator(".locate-form button[type=submit]").click()
    page.locator(".answer-panel").wait_for()


@pytest.fixture
def view(open_page, stack) -> Any:
    return open_page(stack.key, "locate")


def test_photo_gets_an_answer_with_evidence_linked_to_the_map(view, stack, take_screenshot):
    choose_photo(view, stack.photos[0])
    locate(view)
    view.locator(".finding, .abstention").first.wait_for()
    assert view.locator(".claims").inner_text().startswith("What the photo itself says")
    view.locator(".card").first.scroll_into_view_if_needed()
    view.locator(".card .thumbnail img").first.wait_for()
    assert "License: CC0-1.0" in view.locator(".card").first.inner_text()
    view.get_by_role("tab", name="Candidates").click()
    assert view.locator(".card:visible").count() > 5
    card = view.locator(".card:visible").first
    card.hover()
    assert "emphasized" in card.get_attribute("class")
    view.get_by_role("tab", name="Why").click()
    assert view.locator(".explanation tbody tr").count() > 5
    take_screenshot(view, "locate")


def test_marker_emphasizes_its_card(view, stack):
    choose_photo(view, stack.photos[0])
    locate(view)
    view.get_by_role("tab", name="Candidates").click()
    view.wait_for_timeout(3_000)
    box = view.locator("#map").bounding_box()
    center = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # The map shows the finding in its middle; markers are around it.
    offsets = sorted(
        ((x, y) for x in range(-300, 301, 8) for y in range(-300, 301, 8)),
        key=lambda offset: offset[0] ** 2 + offset[1] ** 2,
    )
    for x, y in offsets:
        view.mouse.move(center[0] + x, center[1] + y)
        if view.locator(".card.emphasized:visible").count() > 0:
            break
    view.mouse.down()
    view.mouse.up()
    view.wait_for_function("document.activeElement.closest('.card.emphasized') !== null")


def test_stages_are_shown_while_the_query_runs(view, stack):
    view.evaluate(
        """() => {
          window.shownStages = [];
          new MutationObserver(() => {
            for (const { textContent: name } of document.querySelectorAll(".stages li")) {
              if (!window.shownStages.includes(name)) window.shownStages.push(name);
            }
          }).observe(document.querySelector(".stage"), { childList: true, subtree: true });
        }"""
    )
    choose_photo(view, stack.photos[0])
    locate(view)
    stages = view.evaluate("window.shownStages")
    assert stages[:2] == ["Read photo", "Encode"]
    assert stages[-1] == "Decide"


def test_answer_without_events_is_shown(view, stack):
    def ask_for_json(route: Any) -> None:
        route.continue_(headers={**route.request.headers, "accept": "application/json"})

    view.route("**/v1/locate", ask_for_json)
    choose_photo(view, stack.photos[0])
    locate(view)
    assert view.locator("section.finding, section.abstention").count() == 1


def test_claims_are_apart_from_the_finding_and_text_only(view, stack, tmp_path, take_screenshot):
    photo = jpeg(5, -33.9, 18.4)
    signed = c2pa_photos.sign(photo, [c2pa_photos.metadata()], generator=HOSTILE)
    (tmp_path / "signed.jpg").write_bytes(signed)
    choose_photo(view, tmp_path / "signed.jpg")
    locate(view)
    claims = view.locator(".claims")
    assert "Position -33.90000, 18.40000 (exif)" in claims.inner_text()
    assert "Position 48.85833, 2.35000 (c2pa.metadata)" in claims.inner_text()
    assert HOSTILE in claims.inner_text()
    if view.locator("section.finding").count() == 1:
        assert claims.get_by_text("from the finding").count() == 2
        assert claims.locator(".badge").count() == 2
    assert "Claimed position" in view.locator(".map-legend").inner_text()
    assert view.evaluate("window.hacked") is None
    claims.scroll_into_view_if_needed()
    take_screenshot(view, "claims")


def test_dropped_photo_and_region_are_used(view, stack):
    data = base64.b64encode(stack.photos[0].read_bytes()).decode()
    view.evaluate(
        """data => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
          window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
        }""",
        data,
    )
    view.get_by_text("dropped.jpg").wait_for()
    image = view.locator(".region-stage img").bounding_box()
    view.mouse.move(image["x"] + 5, image["y"] + 5)
    view.mouse.down()
    view.mouse.move(
        image["x"] + image["width"] * 0.75, image["y"] + image["height"] * 0.75, steps=5
    )
    view.mouse.up()
    view.get_by_text("Use a region of the photo").click()
    width = int(view.get_by_label("Width").input_value())
    assert 20 < width < 64
    view.evaluate(
        """() => {
          const append = FormData.prototype.append;
          window.sentFields = {};
          FormData.prototype.append = function (name, value, ...rest) {
            window.sentFields[name] = String(value);
            return append.call(this, name, value, ...rest);
          };
        }"""
    )
    locate(view)
    assert view.evaluate("window.sentFields.crop").split(",")[2] == str(width)
    view.get_by_role("button", name="Use the whole photo").click()
    assert view.get_by_label("Width").input_value() == ""


def test_two_photos_are_compared(view, stack, take_screenshot):
    choose_photo(view, stack.photos[0])
    locate(view)
    view.get_by_role("tab", name="Candidates").click()
    view.locator(".card:visible button").first.click()
    dialog = view.get_by_role("dialog", name="Comparison")
    dialog.locator("img").nth(1).wait_for()
    dialog.get_by_label("Divider").check()
    divider = dialog.get_by_role("slider")
    divider.focus()
    view.keyboard.press("Home")
    assert "100%" in dialog.locator("img.upper").evaluate("image => image.style.clipPath")
    # Any two photos, also two of the gallery.
    dialog.get_by_label("Side by side").check()
    options = dialog.get_by_label("Right").locator("option")
    names = options.all_inner_texts()
    dialog.get_by_label("Left").select_option(index=1)
    dialog.get_by_label("Right").select_option(index=2)
    captions = dialog.locator("figcaption")
    captions.get_by_text(names[2].removeprefix("2. ")).wait_for()
    assert captions.first.inner_text() in names[1]
    assert dialog.locator("img").count() == 2
    dialog.get_by_role("button", name="Swap").click()
    dialog.locator("figcaption").last.get_by_text(names[1].removeprefix("1. ")).wait_for()
    view.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_panorama_is_shown_in_a_viewer(view, tmp_path, take_screenshot):
    (tmp_path / "panorama.jpg").write_bytes(plain_jpeg(8, (1_024, 512)))
    choose_photo(view, tmp_path / "panorama.jpg")
    locate(view)
    view.get_by_role("tab", name="Candidates").click()
    view.locator(".card:visible button").first.click()
    dialog = view.get_by_role("dialog", name="Comparison")
    mode = dialog.get_by_label("Panorama", exact=True)
    dialog.locator("img").nth(1).wait_for()
    assert mode.is_enabled()
    mode.check()
    dialog.locator(".psv-canvas").wait_for()
    dialog.locator(".psv-loader").wait_for(state="hidden")
    take_screenshot(view, "panorama")
    view.keyboard.press("Escape")
    view.locator(".psv-canvas").wait_for(state="detached")


def test_dossier_is_saved(view, stack):
    choose_photo(view, stack.photos[0])
    locate(view)
    view.get_by_label("with the photo").check()
    with view.expect_download() as download:
        view.get_by_role("button", name="Dossier").click()
    with zipfile.ZipFile(download.value.path()) as dossier:
        assert dossier.testzip() is None
    view.get_by_text(f"Saved as {download.value.suggested_filename}").wait_for()


def test_refused_dossier_has_a_message(open_page, stack, guard, tmp_path):
    guard.expected_statuses |= {400}
    view = open_page(stack.key, "locate")
    view.route("**/v1/dossiers", lambda route: route.continue_(post_data="{}"))
    choose_photo(view, stack.photos[0])
    locate(view)
    view.get_by_role("button", name="Dossier").click()
    view.locator(".dossier .error").get_by_text("Request id").wait_for()


def test_file_that_is_no_photo_has_a_message(view, guard, tmp_path):
    guard.expected_statuses |= {422}
    bad = tmp_path / "<b>bad.jpg"
    bad.write_bytes(b"this is no photo")
    choose_photo(view, bad)
    view.get_by_text("This browser cannot show this format.").wait_for()
    view.locator(".locate-form button[type=submit]").click()
    error = view.locator(".result .error")
    error.wait_for()
    assert "Request id" in error.inner_text()
    assert view.locator(".chosen-photo b").count() == 0


@pytest.fixture
def gallery_photo(stack, tmp_path) -> Iterator[Path]:
    """A photo that the gallery has too, from a source whose texts have markup."""
    photo = plain_jpeg(77, (640, 480))
    body = {"name": unique(HOSTILE), "kind": "photo", "attribution": HOSTILE, "license": HOSTILE}
    with httpx.Client(base_url=stack.api_url, headers=stack.as_operator, timeout=60) as client:
        client.post("/v1/sources", json=body).raise_for_status()
        upload(client, body["name"], {"hostile.jpg": (photo, {"lat": 10.0, "lon": 10.0})})
        path = tmp_path / "query.jpg"
        path.write_bytes(photo)
        yield path
        client.delete(f"/v1/sources/{quote(body['name'])}").raise_for_status()


def test_matched_points_are_drawn_and_markup_is_text(view, gallery_photo, take_screenshot):
    choose_photo(view, gallery_photo)
    locate(view)
    view.get_by_role("tab", name="Candidates").click()
    card = view.locator(".card:visible", has_text=HOSTILE).first
    card.wait_for()
    card.locator("button").first.click()
    drawing = view.get_by_role("dialog", name="Comparison").locator("svg.comparison-matches")
    drawing.wait_for()
    assert drawing.locator("line").count() >= 8
    # The points of one photo are beside those of the other, at the same height.
    line = drawing.locator("line").first
    x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    assert x2 - x1 == pytest.approx(1_000 * 640 / 480 + 30, abs=20)
    assert y1 == pytest.approx(y2, abs=20)
    take_screenshot(view, "matches")
    assert view.evaluate("window.hacked") is None
    assert view.locator("#panel img[src=x]").count() == 0


def test_locate_works_by_keyboard_alone(view, stack, check_accessibility):
    view.locator("#locate-files").focus()
    with view.expect_file_chooser() as chooser:
        view.keyboard.press("Space")
    chooser.value.set_files(str(stack.photos[0]))
    view.locator(".chosen-photo").wait_for()
    view.locator(".photo-title button").focus()
    for _ in range(12):
        view.keyboard.press("Tab")
        if view.evaluate("document.activeElement.type === 'submit'"):
            break
    view.keyboard.press("Enter")
    view.locator(".answer-panel").wait_for()
    for _ in range(40):
        view.keyboard.press("Tab")
        if view.evaluate("document.activeElement.closest('.card') !== null"):
            break
    assert view.locator(".card.emphasized").count() >= 1
    view.keyboard.press("Enter")
    view.get_by_role("dialog").wait_for()
    check_accessibility(view, "dialog")
    view.keyboard.press("Escape")
    check_accessibility(view)
    assert view.locator("#status").inner_text() != ""
