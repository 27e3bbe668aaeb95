"""The README lists what there is, and nothing that there is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import readme_tables

ROOT = Path(__file__).resolve().parents[1]
TEXT = readme_tables.README.read_text(encoding="utf-8")
# Variables that are no settings: options of the command line, and what tests and the stack use.
OTHER_VARIABLES = {"PINPOINT_SERVER", "PINPOINT_KEY", "PINPOINT_ORG"}
TEST_VARIABLES = {
    "PINPOINT_TEST_DATA",
    "PINPOINT_TEST_QDRANT_URL",
    "PINPOINT_TEST_RERANK",
    "PINPOINT_TEST_RERANK_PRESET",
}


def variables() -> set[str]:
    return {name for name, _, _ in readme_tables.setting_fields()}


@pytest.mark.parametrize("name", readme_tables.TABLES)
def test_every_table_is_as_the_code_has_it(name):
    blocks = re.findall(readme_tables.BLOCK.format(name=name), TEXT, flags=re.DOTALL)
    assert len(blocks) == 1, f"README has {len(blocks)} tables {name!r}"
    # Where this fails, `python tests/readme_tables.py` writes the tables anew.
    assert readme_tables.TABLES[name]() in TEXT


def test_every_variable_named_exists():
    named = set(re.findall(r"\bPINPOINT_[A-Z_]*[A-Z]\b", TEXT))
    assert named >= variables() | OTHER_VARIABLES | TEST_VARIABLES
    assert named == variables() | OTHER_VARIABLES | TEST_VARIABLES


def test_the_code_reads_no_variable_that_is_not_listed():
    known = variables() | OTHER_VARIABLES | {"PINPOINT_STACK"}
    found = {}
    for path in [*(ROOT / "platform").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name in re.findall(r"\bPINPOINT_[A-Z_]*[A-Z]\b", node.value):
                    found.setdefault(name, path.relative_to(ROOT))
    assert {name: str(path) for name, path in found.items() if name not in known} == {}


def test_every_command_named_exists():
    known = {name for name, _ in readme_tables.commands()}
    groups = {name.rsplit(" ", 1)[0] for name in known}
    named = re.findall(r"^(?:\$ )?(pinpoint [a-z]+(?: [a-z]+)?)", TEXT, flags=re.MULTILINE)
    named += re.findall(r"`(pinpoint [a-z]+(?: [a-z]+)?)", TEXT)
    assert named
    for name in named:
        assert name in known or name.rsplit(" ", 1)[0] in known | groups - {"pinpoint"}, name


def test_every_make_target_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", TEXT))
    assert {"demo", "test"} <= named <= targets


def test_every_route_named_exists():
    paths = {path for _, path, _ in readme_tables.routes()} | {"/openapi.json"}
    for path in re.findall(r"(?<![\w.])(/(?:v1|health)/[\w/{}.-]*[\w}])", TEXT):
        assert path in paths, path


def test_every_problem_type_named_exists():
    from pinpoint.api.problems import PROBLEM_TYPE_PREFIX, TITLES

    named = re.findall(re.escape(PROBLEM_TYPE_PREFIX) + r"(\w+)", TEXT)
    assert set(named) == set(TITLES)
    assert {kind.reason for kind in readme_tables.error_kinds()} <= set(TITLES)


def test_every_file_named_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_three_lines_of_python_are_python():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
