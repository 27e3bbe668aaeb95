"""How fast the page draws one million images from tiles, and an answer with much evidence.

The targets are those of a quiet machine; the trial prints the figures and checks the sizes.
`PINPOINT_TEST_PAGE_ROWS` is the number of images.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bench.gis.__main__ import find_organization
from bench.gis.gallery import load_rows, make_rows
from bench.stack import stack as run_stack
from pinpoint.stack.state import read_state
from trials.web.conftest import WAIT_MS

ROWS = int(os.environ.get("PINPOINT_TEST_PAGE_ROWS", "1000000"))
MAX_RESPONSE_BYTES = 500_000
CANDIDATES, EVIDENCE = 48, 400
RUNS = 3


@pytest.fixture(scope="module")
def large_gallery() -> Iterator[SimpleNamespace]:
    """A stack with this many rows of images, without files."""
    with run_stack() as running:
        running.stop_background()
        organization_id = find_organization(running)
        load_rows(running.paths.owner_url(), organization_id, make_rows(ROWS), print)
        state = read_state(running.paths)
        assert state is not None
        key = running.paths.operator_key_file.read_text().strip()
        yield SimpleNamespace(api_url=state.api_url, key=key)


def wait_for_idle(page: Any, started_ms: float) -> float:
    """Milliseconds from a time of the page's clock to the idle event after which nothing is drawn.

    Tiles are loaded by a worker, whose requests the page does not see.
    """
    script = """
        (started) => {
          const last = performance.getEntriesByName("map-idle").at(-1)?.startTime ?? 0;
          return last > started && performance.now() - last > 1500 ? last - started : null;
        }
    """
    return poll(page, script, started_ms)


def poll(page: Any, script: str, argument: object = None) -> float:
    """The value of a script as soon as it has one; `wait_for_function` needs `unsafe-eval`."""
    until = time.monotonic() + WAIT_MS / 1_000
    while (value := page.evaluate(script, argument)) is None:
        assert time.monotonic() < until, "the map is not idle"
        page.wait_for_timeout(50)
    return float(value)


@pytest.mark.timeout(1_800)
def test_a_million_images_are_drawn_from_tiles(large_gallery: Any, browser: Any) -> None:
    sizes: dict[str, int] = {}
    times_ms = []

    def note_size(response: Any) -> None:
        if response.status == 200 and "/web/" not in response.url:
            sizes[response.url] = len(response.body())

    for _ in range(RUNS):
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        page = context.new_page()
        page.goto(f"{large_gallery.api_url}/#view=gallery&projection=flat&map=2/30/10")
        page.fill("#sign-in-key", large_gallery.key)
        first_ms = poll(
            page, "() => performance.getEntriesByName('map-idle')[0]?.startTime ?? null"
        )
        page.on("response", note_size)
        started_ms = page.evaluate("performance.now()")
        page.keyboard.press("Enter")
        times_ms.append((first_ms, wait_for_idle(page, started_ms)))
        context.close()
    largest = max(sizes.values())
    sys.stderr.write(
        f"{ROWS} images, load {os.getloadavg()[0]:.1f}: first idle of the background map "
        f"{[round(first) for first, _ in times_ms]} ms after navigation; idle with the gallery "
        f"{[round(time) for _, time in times_ms]} ms after sign-in; {len(sizes)} responses, "
        f"largest {largest} bytes\n"
    )
    assert largest <= MAX_RESPONSE_BYTES


def make_large_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with 48 candidates and 400 evidence images, after a real one."""
    candidate = next(row for row in answer["candidates"] if row["evidence"])
    evidence = candidate["evidence"][0]
    candidates = []
    for rank in range(CANDIDATES):
        lat, lon = candidate["lat"] + 0.01 * (rank % 7), candidate["lon"] + 0.01 * (rank // 7)
        num_evidence = EVIDENCE // CANDIDATES + (rank < EVIDENCE % CANDIDATES)
        candidates.append(
            {
                **candidate,
                "rank": rank + 1,
                "lat": lat,
                "lon": lon,
                "image_id": str(uuid4()),
                "evidence": [
                    {
                        **evidence,
                        "image_id": str(uuid4()),
                        "lat": lat + 1e-4 * n,
                        "lon": lon + 1e-4,
                    }
                    for n in range(num_evidence)
                ],
            }
        )
    return {**answer, "candidates": candidates}


@pytest.mark.timeout(600)
def test_an_answer_with_much_evidence_is_drawn(stack: Any, open_page: Any, guard: Any) -> None:
    with stack.photos[0].open("rb") as photo:
        answer = httpx.post(
            f"{stack.api_url}/v1/locate",
            headers=stack.as_operator,
            data={"top": str(CANDIDATES)},
            files={"photo": photo},
            timeout=60,
        ).json()
    body = json.dumps(make_large_answer(answer))
    guard.expected_statuses.add(404)  # Thumbnails of images that do not exist.
    times_ms = []
    for _ in range(RUNS):
        page = open_page(stack.key, view="locate")
        page.route(
            "**/v1/locate", lambda route: route.fulfill(body=body, content_type="application/json")
        )
        page.set_input_files("#locate-files", str(stack.photos[0]))
        # The code of the answer is loaded while a query runs.
        page.wait_for_timeout(1_500)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        before = read_script_s(session)
        page.locator(".locate-form button[type=submit]").click()
        page.locator(".answer-panel").wait_for()
        page.wait_for_timeout(1_500)
        times_ms.append(1_000 * (read_script_s(session) - before))
        page.close()
    sys.stderr.write(
        f"{CANDIDATES} candidates, {EVIDENCE} evidence images, load {os.getloadavg()[0]:.1f}: "
        f"script {[round(time) for time in times_ms]} ms\n"
    )


def read_script_s(session: Any) -> float:
    """Seconds that the page has spent in scripts."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(row["value"] for row in metrics if row["name"] == "ScriptDuration"))
