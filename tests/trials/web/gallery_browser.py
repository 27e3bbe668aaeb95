"""Fixtures of the gallery trial: a stack, signed-in pages of Chromium with guards, and axe-core."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

AXE = "axe-core@4.14.1"
# WebGL without a GPU; the sandbox of Chromium does not run as root.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
# The page first asks whether the API admits it without a key.
SIGN_IN_PROBE = "/v1/limits"


@pytest.fixture(scope="session")
def stack(running_stack: Any) -> SimpleNamespace:
    """Address and credentials of a running stack."""
    return SimpleNamespace(api_url=running_stack.api_url, as_operator=running_stack.as_operator)


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
    playwright = pytest.importorskip("playwright.sync_api")
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, stack: SimpleNamespace) -> Iterator[Callable[[str], Any]]:
    """Opens the page and signs in with a key; at the end checks console and requested hosts."""
    contexts, problems = [], []

    def open_signed_in(key: str) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)

        def note_console(message: Any) -> None:
            is_probe = message.location.get("url", "").endswith(SIGN_IN_PROBE)
            if message.type == "error" and not is_probe:
                problems.append(message.text)

        def note_request(request: Any) -> None:
            if not request.url.startswith((stack.api_url, "blob:", "data:")):
                problems.append(f"foreign request: {request.url}")

        page.on("console", note_console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", note_request)
        page.goto(f"{stack.api_url}/#view=gallery&projection=flat&map=3/-35/-120")
        page.fill("#sign-in-key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector(".gallery")
        return page

    yield open_signed_in
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page: Callable[[str], Any], stack: SimpleNamespace) -> Any:
    """A page with the operator's rights."""
    return open_page(stack.as_operator["Authorization"].removeprefix("Bearer "))


@pytest.fixture(scope="session")
def check_accessibility(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], None]:
    """Checks that axe-core finds nothing moderate or worse in the panel."""
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

    def check(page: Any) -> None:
        page.evaluate(script)
        result = page.evaluate("axe.run(document.querySelector('#panel'))")
        violations = [
            (entry["id"], node["html"][:200], node.get("failureSummary"))
            for entry in result["violations"]
            if entry["impact"] in ("moderate", "serious", "critical")
            for node in entry["nodes"]
        ]
        assert violations == []

    return check
