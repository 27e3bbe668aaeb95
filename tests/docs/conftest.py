"""The documentation site, built once for this folder's tests."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Elements that a browser loads by itself, and the attribute with the address.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
# A `link` of these kinds loads nothing.
NOT_LOADED = {"canonical", "next", "prev", "edit", "alternate"}


class PageParser(HTMLParser):
    """Collects anchors, links and loaded resources of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        if anchor := values.get("id") or (tag == "a" and values.get("name")):
            self.anchors.add(anchor)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        attribute = LOADED.get(tag)
        if attribute in values and not NOT_LOADED & set(values.get("rel", "").split()):
            self.resources.append(values[attribute])


@dataclass(frozen=True)
class Site:
    """A built site."""

    folder: Path

    @cached_property
    def pages(self) -> dict[str, PageParser]:
        """Every HTML page by its path below the folder, except the page for missing pages."""
        pages = {}
        for path in sorted(self.folder.rglob("*.html")):
            if path.name != "404.html":
                parser = PageParser()
                parser.feed(path.read_text(encoding="utf-8"))
                pages[path.relative_to(self.folder).as_posix()] = parser
        return pages

    def read_text(self, page: str) -> str:
        """The text of a page without tags, with white space as single blanks."""
        source = (self.folder / page).read_text(encoding="utf-8")
        (article,) = re.findall(r"<article.*?</article>", source, re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", "", article)).split())


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    completed = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return Site(folder)
