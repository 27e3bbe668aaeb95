"""The locate view in a browser: photo in; finding, regions, evidence and comparison out."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.panoramax_pages import upload
from stack_fixtures import plain_jpeg, unique


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
    assert view.locator(".cards .card").count() > 5
    assert view.locator(".claims").inner_text().startswith("What the photo itself says")
    view.locator(".card").first.scroll_into_view_if_needed()
    view.locator(".card .thumbnail img").first.wait_for()
    assert "License: CC0-1.0" in view.locator(".card").first.inner_text()
    card = view.locator(".cards .card").first
    card.hover()
    assert "emphasized" in card.get_attribute("class")
    view.get_by_text("Why this answer").click()
    assert view.locator(".explanation tbody tr").count() > 5
    take_screenshot(view, "locate")


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
    view.get_by_role("button", name="Whole photo").click()
    assert view.get_by_label("Width").input_value() == ""


def test_two_photos_are_compared(view, stack, take_screenshot):
    choose_photo(view, stack.photos[0])
    locate(view)
    view.locator(".card button").first.click()
    dialog = view.get_by_role("dialog", name="Comparison")
    dialog.locator("img").nth(1).wait_for()
    dialog.get_by_label("Divider").check()
    divider = dialog.get_by_role("slider")
    divider.focus()
    view.keyboard.press("Home")
    assert "100%" in dialog.locator("img.upper").evaluate("image => image.style.clipPath")
    dialog.get_by_label("Matched points").check()
    dialog.locator("svg, .comparison-pair").first.wait_for()
    take_screenshot(view, "comparison")
    view.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


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


def test_markup_in_attributions_is_text(view, stack, tmp_path):
    photo, hostile = plain_jpeg(77), '<img src=x onerror="window.hacked=1">'
    body = {"name": unique(hostile), "kind": "photo", "attribution": hostile, "license": hostile}
    with httpx.Client(base_url=stack.api_url, headers=stack.as_operator, timeout=60) as client:
        client.post("/v1/sources", json=body).raise_for_status()
        upload(client, body["name"], {"hostile.jpg": (photo, {"lat": 10.0, "lon": 10.0})})
        (tmp_path / "query.jpg").write_bytes(photo)
        choose_photo(view, tmp_path / "query.jpg")
        locate(view)
        view.locator(".card", has_text=hostile).first.wait_for()
        client.delete(f"/v1/sources/{quote(body['name'])}").raise_for_status()
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
