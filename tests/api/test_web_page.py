"""The web page and its files: who gets them, their policy, types and sizes, and the build."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from api.test_api_problems import problem
from pinpoint.api import web_page
from pinpoint.api.web_page import PAGE_FOLDER, make_policy
from pinpoint.api_settings import ApiSettings

PAGE_POLICY = make_policy(ApiSettings())
SOURCES = PAGE_FOLDER.parent
MAX_OWN_BYTES = 80_000
MAX_DATA_BYTES = 500_000
FILES = sorted(path for path in PAGE_FOLDER.rglob("*") if path.is_file())


def test_root_is_the_page_in_browsers_and_json_for_programs(api):
    api.begin(api.parts.settings.services.home, allow_keyless=False)
    with api.http() as http:
        page = http.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        document = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == document.headers["vary"] == "Accept"
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert page.headers["x-frame-options"] == "DENY"
    assert "<script type=" in page.text
    assert document.json()["name"] == "pinpoint"
    assert document.json()["keyless"] is False


def test_policy_allows_no_inline_code_no_other_host_and_no_frame():
    directives = dict(part.strip().split(" ", 1) for part in PAGE_POLICY.split(";"))
    assert "unsafe" not in PAGE_POLICY
    assert [name for name, values in directives.items() if "blob:" in values] == ["img-src"]
    assert directives["frame-ancestors"] == directives["default-src"] == "'none'"
    sources = {source for values in directives.values() for source in values.split()}
    assert sources == {"'none'", "'self'", "blob:", "data:"}


def test_page_has_no_inline_code_and_names_existing_files():
    text = (PAGE_FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script[^>]*>(?=[^<])", text) == []
    for path in re.findall(r'(?:href|src)="web/([^"]+)"', text):
        assert (PAGE_FOLDER / path).is_file()


def test_files_have_types_and_tags_and_are_the_only_ones(api):
    with api.http() as http:
        for name, media_type in (
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.css", "text/css; charset=utf-8"),
            ("vendor/maplibre-gl/maplibre-gl-worker.mjs", "text/javascript; charset=utf-8"),
            ("basemap/land-0.json", "application/json"),
            ("favicon.svg", "image/svg+xml"),
        ):
            answer = http.get(f"/web/{name}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
            assert answer.headers["x-content-type-options"] == "nosniff"
            etag = answer.headers["etag"]
            assert http.get(f"/web/{name}", headers={"If-None-Match": etag}).status_code == 304
        for name in ("none.js", "%2e%2e/web_page.py", "src/app.ts", "app.js/x"):
            problem(http.get(f"/web/{name}"), 404, "not_found")


def test_sizes_of_own_code_and_of_data():
    """What one view loads of our own code, and each file of the basemap."""
    code = {path.name: path for path in PAGE_FOLDER.glob("*.js")}
    text = {name: path.read_text(encoding="utf-8") for name, path in code.items()}
    for view in ("gallery", "locate", "quality", "work"):
        (name,) = [name for name in code if name.startswith(f"{view}-")]
        loaded, waiting = set(), ["app.js", name]
        while waiting:
            current = waiting.pop()
            loaded.add(current)
            imported = re.findall(r'from"\./([\w-]+\.js)"|import"\./([\w-]+\.js)"', text[current])
            waiting += [
                other for pair in imported for other in pair if other and other not in loaded
            ]
        assert len(loaded) > 2
        assert sum(len(text[file].encode()) for file in loaded) <= MAX_OWN_BYTES
    for path in (PAGE_FOLDER / "basemap").iterdir():
        assert path.stat().st_size <= MAX_DATA_BYTES, path.name


def test_code_names_no_other_host_and_parses_no_markup():
    for path in (SOURCES / "src").rglob("*.ts"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", text)
        hosts = set(re.findall(r"https?://[\w.-]+", text))
        assert hosts <= {"http://www.w3.org"}, path.name


def test_vendored_packages_have_licenses_and_the_versions_of_the_lock_file():
    packages = json.loads((SOURCES / "package.json").read_text(encoding="utf-8"))["dependencies"]
    versions = (PAGE_FOLDER / "vendor" / "versions.txt").read_text(encoding="utf-8").split("\n")
    assert [line for line in versions if line] == [
        f"{row['package']} {packages[row['package']]}"
        for row in json.loads((SOURCES / "vendor.json").read_text(encoding="utf-8"))["modules"]
    ]
    for folder in (path for path in (PAGE_FOLDER / "vendor").iterdir() if path.is_dir()):
        assert list(folder.glob("LICENSE*")), folder.name


def test_every_file_has_a_type_that_is_served():
    assert {path.relative_to(PAGE_FOLDER).as_posix() for path in FILES} == set(
        web_page._list_files()
    )


def test_committed_page_is_the_build_of_its_sources(tmp_path):
    if shutil.which("node") is None or not (SOURCES / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs node and `npm ci` in platform/pinpoint/api/web")
    command = ["node", "build.mjs", "--out", str(tmp_path)]
    subprocess.run(command, cwd=SOURCES, check=True, capture_output=True, timeout=60)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = [path for path in FILES if path.parent == PAGE_FOLDER and path.name in built]
    assert {path.name: path.read_bytes() for path in committed} == built
