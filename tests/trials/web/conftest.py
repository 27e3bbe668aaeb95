"""Fixtures of browser trials: the demo's stack, pages of Chromium with guards, and axe-core.

A page fails its trial if its console shows an error or if a request leaves the origin of the API.
`PINPOINT_TEST_SCREENSHOTS` names a folder that keeps the screenshots.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from conftest import dismiss, home_folder, watch_over
from pinpoint.cli.demo import demo_settings, run_demo
from pinpoint.stack.supervisor import lifecycle

AXE = "axe-core@4.14.1"
# WebGL without a GPU; the sandbox of Chromium does not run as root.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
WAIT_MS = 60_000


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The running stack of a small demo: its address, the operator's key, and its query photos."""
    with home_folder() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINPOINT_HOME", str(home))
        patch.delenv("PINPOINT_BUNDLE", raising=False)
        settings = demo_settings()
        watcher = watch_over(settings.services.home)
        try:
            report = run_demo(
                settings,
                as_json=True,
                out=tmp_path_factory.mktemp("out"),
                preset="tiny",
                queries=2,
                seed=11,
            )
            url = lifecycle.stack_status(settings).api_url
            key_file = settings.services.home / "operator.key"
            key = key_file.read_text(encoding="ascii").strip()
            yield SimpleNamespace(
                api_url=url,
                key=key,
                as_operator={"Authorization": f"Bearer {key}"},
                home=settings.services.home,
                photos=[Path(row["photo"]) for row in report["photos"]],
            )
        finally:
            if settings.services.home.exists():
                lifecycle.stop_stack(settings)
                lifecycle.erase_stack(settings)
            dismiss(watcher)


@pytest.fixture(scope="session")
def read_key(stack: SimpleNamespace) -> str:
    """A key that may only read."""
    answer = httpx.post(
        f"{stack.api_url}/v1/keys",
        headers=stack.as_operator,
        json={"name": "viewer", "scopes": ["read"]},
    )
    answer.raise_for_status()
    return str(answer.json()["secret"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of the system."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@dataclass
class Guard:
    """What pages must not do, and the statuses that a trial provokes."""

    origin: str
    problems: list[str] = field(default_factory=list)
    expected_statuses: set[int] = field(default_factory=set)

    def watch(self, page: Any) -> None:
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._note_request)

    def _note_message(self, message: Any) -> None:
        # Chromium itself reports each answer with an error status.
        is_expected = any(
            f"status of {status} " in message.text for status in self.expected_statuses
        )
        if message.type == "error" and not is_expected:
            self.problems.append(f"{message.text} ({message.location.get('url')})")

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.origin}/", "blob:", "data:")):
            self.problems.append(f"foreign request: {request.url}")


@pytest.fixture
def guard(stack: SimpleNamespace) -> Iterator[Guard]:
    """The guard of all pages of a trial."""
    guard = Guard(stack.api_url)
    yield guard
    assert guard.problems == []


@pytest.fixture
def new_page(browser: Any, guard: Guard) -> Iterator[Callable[..., Any]]:
    """Opens watched pages in contexts of their own, so that they share no storage."""
    contexts = []

    def open_new(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        guard.watch(page)
        return page

    yield open_new
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(new_page: Callable[..., Any], stack: SimpleNamespace) -> Callable[..., Any]:
    """Opens the page and signs in with a key."""

    def open_signed_in(key: str, view: str = "gallery", **options: Any) -> Any:
        page = new_page(**options)
        page.goto(f"{stack.api_url}/#view={view}&projection=flat&map=3/-35/-120")
        page.fill("#sign-in-key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#sign-in-key", state="detached")
        page.wait_for_selector("#panel h1")
        return page

    return open_signed_in


@pytest.fixture
def page(open_page: Callable[..., Any], stack: SimpleNamespace) -> Any:
    """A page with the operator's rights."""
    return open_page(stack.key)


@pytest.fixture
def take_screenshot(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any, str], None]:
    """Writes a screenshot of a page."""
    folder = Path(os.environ.get("PINPOINT_TEST_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png")


@pytest.fixture(scope="session")
def check_accessibility(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Checks that axe-core finds nothing moderate or worse in a part of the page."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder: Path = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", AXE]
    packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"npm cannot download {AXE}: {packed.stderr[-300:]}")
    with tarfile.open(folder / packed.stdout.strip().splitlines()[-1]) as archive:
        archive.extractall(folder, filter="data")
    script = (folder / "package" / "axe.min.js").read_text(encoding="utf-8")

    def check(page: Any, selector: str = "#panel") -> None:
        page.evaluate(script)
        result = page.evaluate(f"axe.run(document.querySelector({selector!r}))")
        violations = [
            (entry["id"], node["html"][:200], node.get("failureSummary"))
            for entry in result["violations"]
            if entry["impact"] in ("moderate", "serious", "critical")
            for node in entry["nodes"]
        ]
        assert violations == []

    return check
