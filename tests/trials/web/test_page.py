"""The page around the views: sign-in, themes, projections, state in the URL, security headers."""

from __future__ import annotations

import httpx

from pinpoint.stack.paths import StackPaths
from pinpoint.stack.sign_in_urls import make_sign_in_url


def test_sign_in_url_signs_in_once_and_leaves_the_history(new_page, stack, guard):
    url = make_sign_in_url(StackPaths(stack.home), stack.api_url)
    page = new_page()
    page.goto(url)
    page.locator("nav .view-link").first.wait_for()
    assert "sign-in" not in page.url
    token = url.partition("=")[2]
    assert token not in page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, location.href])"
    )
    guard.expected_statuses |= {401}
    again = new_page()
    again.goto(url)
    again.get_by_text("The sign-in URL did not work.").wait_for()


def test_revoked_key_leads_to_sign_in_with_the_reason(open_page, stack, guard):
    with httpx.Client(base_url=stack.api_url, headers=stack.as_operator, timeout=60) as client:
        key = client.post("/v1/keys", json={"name": "short", "scopes": ["read"]}).json()
        page = open_page(key["secret"], "work")
        client.delete(f"/v1/keys/{key['key']['id']}").raise_for_status()
    guard.expected_statuses |= {401}
    page.get_by_role("link", name="Gallery").click()
    page.locator("#sign-in-key").wait_for()
    assert "revoked" in page.locator(".sign-in-reason").inner_text()
    assert page.locator("nav").is_hidden()


def test_wrong_key_has_a_message(new_page, stack, guard):
    guard.expected_statuses |= {401}
    page = new_page()
    page.goto(stack.api_url)
    page.fill("#sign-in-key", "pp_wrong")
    page.keyboard.press("Enter")
    page.get_by_text("the key is unknown").wait_for()
    assert page.evaluate("Object.keys(sessionStorage).length") == 0


def test_themes_projections_and_back_work(page, take_screenshot):
    page.get_by_role("button", name="Globe").click()
    assert "projection" not in page.url
    page.go_back()
    page.get_by_role("button", name="Globe").wait_for()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("link", name="Batches and jobs").click()
    page.get_by_role("heading", name="Batches and jobs").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Gallery").wait_for()
    take_screenshot(page, "gallery-dark")


def test_page_is_accessible_on_a_phone(open_page, stack, check_accessibility, take_screenshot):
    for view in ("locate", "gallery", "work"):
        page = open_page(stack.key, view, viewport={"width": 390, "height": 844})
        page.wait_for_timeout(1_000)
        check_accessibility(page, "body")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        take_screenshot(page, f"{view}-phone")


def test_sign_in_is_accessible(new_page, stack, check_accessibility, take_screenshot):
    page = new_page()
    page.goto(stack.api_url)
    page.locator("#sign-in-key").wait_for()
    check_accessibility(page, "body")
    take_screenshot(page, "sign-in")
