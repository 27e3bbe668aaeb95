"""Every view, light and dark, on a desktop and on a phone: `make screenshots` keeps the files."""

from __future__ import annotations

import pytest

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_views_have_screenshots(new_page, stack, take_screenshot, size, theme):
    page = new_page(viewport=SIZES[size], color_scheme=theme)
    page.goto(stack.api_url)
    page.locator("#sign-in-key").wait_for()
    page.wait_for_timeout(2_000)
    take_screenshot(page, f"sign-in-{theme}-{size}")
    page.fill("#sign-in-key", stack.key)
    page.keyboard.press("Enter")
    page.set_input_files("#locate-files", str(stack.photos[0]))
    page.locator(".locate-form button[type=submit]").click()
    page.locator(".answer-panel").wait_for()
    page.locator(".answer-panel").scroll_into_view_if_needed()
    page.wait_for_timeout(3_000)
    take_screenshot(page, f"locate-{theme}-{size}")
    page.get_by_role("tab", name="Candidates").click()
    page.locator(".card:visible button").first.click()
    page.get_by_role("dialog").locator("img").nth(1).wait_for()
    take_screenshot(page, f"comparison-{theme}-{size}")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Gallery").click()
    page.locator(".gallery").wait_for()
    page.wait_for_timeout(3_000)
    take_screenshot(page, f"gallery-{theme}-{size}")
    page.get_by_role("link", name="Batches and jobs").click()
    page.locator(".unit").first.click()
    page.locator(".work-items td").first.wait_for()
    take_screenshot(page, f"batch-{theme}-{size}")
