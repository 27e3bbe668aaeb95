"""Names state what they hold; `name_counts.py` in this folder prints the counts."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from conventions.name_counts import NameCounts, count_names, list_product_files

MAX_ONE_WORD_SHARE = 0.05
MAX_FILLER_SHARE = 0.01
LONG_FUNCTIONS_FILE = Path(__file__).with_name("long_functions.toml")

SHARED_NAMES = {
    "TASKS": "the Celery tasks of one worker module, by task name; the app registers all of them",
    "main": "the entry point of a process",
    "may_replace": "the same rule for Qdrant Edge and for a Qdrant server, in their own types",
    "router": "FastAPI's name for the routes of a module",
    "search_params": "the same parameters for Qdrant Edge and for a Qdrant server",
}
"""Public name that several modules define -> why that is one thing."""

PENDING_SHARED_NAMES: set[str] = set()
"""Names that are being unified; remove each one when only one module defines it."""


@cache
def count_product_names() -> NameCounts:
    return count_names(list_product_files())


def test_private_function_names_have_several_words():
    counts = count_product_names()
    assert counts.private_functions > 500
    listing = "\n".join(counts.one_word_private_functions)
    assert counts.one_word_share <= MAX_ONE_WORD_SHARE, listing


def test_filler_variable_names_stay_under_the_limit():
    counts = count_product_names()
    assert counts.bindings > 5_000
    listing = "\n".join(counts.filler_bindings)
    assert counts.filler_share <= MAX_FILLER_SHARE, listing


def test_public_names_are_defined_in_one_module():
    counts = count_product_names()
    shared = {
        name: modules
        for name, modules in counts.shared_names.items()
        if name not in SHARED_NAMES and name not in PENDING_SHARED_NAMES
    }
    assert shared == {}, "\n".join(f"{name}: {', '.join(at)}" for name, at in shared.items())


def test_shared_names_list_has_no_unused_entry():
    assert set(SHARED_NAMES) <= set(count_product_names().shared_names)


def test_long_functions_are_listed_with_a_reason():
    reasons = tomllib.loads(LONG_FUNCTIONS_FILE.read_text(encoding="utf-8"))
    functions = count_product_names().long_functions
    unlisted = [
        f"{name}: {lines} lines, {parameters} parameters"
        for name, (lines, parameters) in functions.items()
        if not any(fnmatch(name, pattern) for pattern in reasons)
    ]
    assert unlisted == [], "split these, or list them: " + "\n".join(unlisted)
    stale = [
        pattern for pattern in reasons if not any(fnmatch(name, pattern) for name in functions)
    ]
    assert stale == [], "remove these from the list: " + "\n".join(stale)
    assert all(len(reason) > 20 and reason.endswith(".") for reason in reasons.values())


def test_name_counts_reports_inserted_names(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(
        "def _cut(found):\n    own = [each for each in found]\n    return own\n"
        "def _cut_boxes(boxes):\n    return boxes\n",
        encoding="utf-8",
    )
    counts = count_names([path], root=tmp_path)
    assert counts.one_word_private_functions == ["planted.py:1: _cut"]
    assert counts.private_functions == 2
    assert sorted(line.rsplit(" ", 1)[1] for line in counts.filler_bindings) == ["found", "own"]


def test_name_counts_with_one_name_in_two_modules_reports_both(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("Floats = list\ndef cut_boxes(): ...\n", encoding="utf-8")
    (tmp_path / "c.py").write_text("from b import Floats\n_Floats = Floats\n", encoding="utf-8")
    counts = count_names(sorted(tmp_path.iterdir()), root=tmp_path)
    assert counts.shared_names == {"Floats": ["a.py", "b.py"], "cut_boxes": ["a.py", "b.py"]}


def test_name_counts_with_eight_parameters_reports_the_function(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("def f(a, b, c, d, e, f, g): ...\ndef g(a, b, c, d, e, f, g, h): ...\n")
    assert count_names([path], root=tmp_path).long_functions == {"long.py:g": (1, 8)}
