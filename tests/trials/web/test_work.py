"""The view of batches and jobs: a batch with a file that is no photo, from upload to its end."""

from __future__ import annotations

import httpx

from stack_fixtures import jpeg, unique


def test_batch_is_uploaded_and_watched_to_its_end(
    open_page, stack, tmp_path, check_accessibility, take_screenshot
):
    name = unique("batch")
    with httpx.Client(base_url=stack.api_url, headers=stack.as_operator, timeout=60) as client:
        client.post("/v1/sources", json={"name": name, "kind": "photo"}).raise_for_status()
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(jpeg(4_000 + number, 40.0, 20.0 + number))
    # The beginning of a photo: accepted by its first bytes, refused when it is decoded.
    (tmp_path / "cut.jpg").write_bytes(files[0].read_bytes()[:600])
    page = open_page(stack.key, "work")
    page.get_by_text("Add photos to the gallery").click()
    page.get_by_label("Source", exact=True).select_option(label=name)
    page.get_by_label("Photos", exact=True).set_input_files(
        [str(path) for path in (*files, tmp_path / "cut.jpg")]
    )
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("4 of 4 items ended").wait_for()
    page.locator(".counts", has_text="indexed: 3").wait_for()
    row = page.locator(".work-items tr", has_text="cut.jpg")
    row.wait_for()
    assert len(row.locator("td").nth(2).inner_text()) > 10
    check_accessibility(page)
    take_screenshot(page, "batch")
    page.get_by_label("Show").select_option("indexed")
    page.locator(".work-items tr", has_text="cut.jpg").wait_for(state="detached")
    page.get_by_role("button", name="All batches and jobs").click()
    page.locator(".unit", has_text=name).wait_for()
