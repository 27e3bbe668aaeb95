"""Headers of the tables of the command line, and the text of `/metrics`, have no rejected name.

Headers are read from the source: every second argument of `print_table` in `pinpoint.cli`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

import pinpoint.cli
from conventions.rejected_words import find_words
from pinpoint.api.metrics import METRICS, Meters

CLI_FOLDER = Path(pinpoint.cli.__file__).parent

REJECTED_HEADERS = {
    "abstained": "abstention reason",
    "areas": "credible regions",
    "belief": "posterior",
    "cited": "citations",
    "detail": "error message",
    "elsewhere": "outside candidates",
    "face": "cube-map face",
    "failure": "error message",
    "hint": "metadata override",
    "locator": "uri",
    "mass": "weight or probability",
    "outcome": "status",
    "part": "component",
    "place": "nearest place, rank or position",
    "refined": "refined position",
    "regions": "credible discs",
    "seq": "position",
    "since": "datetime",
    "support": "evidence share",
    "unsupported": "not in gallery",
    "until": "datetime",
    "verdict": "status",
}
"""Header as a whole → header of the glossary."""
REJECTED_METRIC_WORDS = {
    *("part", "parts", "refused", "swept", "sweep", "unsettled", "settled", "verdict", "overfetch"),
    *("belief", "elsewhere", "unsupported", "arrival", "grave", "upkeep", "asked"),
}
"""Words of former names of metrics, labels and label values."""


def read_headers(source: str) -> list[str]:
    """Headers of all tables that a module prints, without the mark of numeric columns."""
    tree = ast.parse(source)
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
    return [
        header
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "print_table" in ast.unparse(node.func)
        for header in iterate_texts(node.args[1], assigned)
    ]


def iterate_texts(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Texts of an expression; names stand for all values that the module assigns to them."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value.removeprefix(">")
        elif isinstance(part, ast.Name):
            remaining = {name: values for name, values in assigned.items() if name != part.id}
            for value in assigned.get(part.id, []):
                yield from iterate_texts(value, remaining)


def find_rejected_headers(headers: list[str]) -> list[str]:
    problems = [
        f"{header!r}: use {REJECTED_HEADERS[header]}"
        for header in headers
        if header in REJECTED_HEADERS
    ]
    problems += [
        f"{word!r} in {header!r}: use {instead}"
        for header in headers
        for word, instead, _offset in find_words(header)
    ]
    return sorted(set(problems))


MODULES = sorted(
    path for path in CLI_FOLDER.glob("*.py") if "output.print_table(" in path.read_text("utf-8")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_table_headers_have_no_rejected_name(path):
    headers = read_headers(path.read_text(encoding="utf-8"))
    assert headers
    assert find_rejected_headers(headers) == []


def test_table_headers_of_all_commands_are_read():
    assert len(MODULES) > 15
    locate = read_headers((CLI_FOLDER / "locate.py").read_text(encoding="utf-8"))
    assert {"rank", "weight", "nearest place"} <= set(locate)


def test_read_headers_with_planted_headers_finds_them():
    source = (
        "columns = ('file', '>mass', *(f'>place {n}' for n in range(2)))\n"
        "output.print_table(None, columns, rows)\n"
        "output.print_table('verdict', ('part', '>authors'), rows)\n"
    )
    assert find_rejected_headers(read_headers(source)) == [
        "'authors' in 'authors': use creator",
        "'mass': use weight or probability",
        "'part': use component",
    ]


def test_metrics_text_has_no_rejected_word():
    text = generate_latest(Meters().registry).decode()
    text += "".join(f"{metric.name} {metric.labels} {metric.meaning}\n" for metric in METRICS)
    assert text.count("pinpoint_") > len(METRICS)
    words = set(re.findall(r"[a-z]+", text.lower()))
    assert words & REJECTED_METRIC_WORDS == set()
    assert [hit for hit, _instead, _offset in find_words(text)] == []
