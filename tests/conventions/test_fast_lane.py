"""The lists in tests/conftest.py that choose the tests of `make test-fast` match the tests."""

from __future__ import annotations

import ast

from conftest import SLOW_TESTS, STACK_TESTS, TESTS
from file_schedule import LONG_FILES, SHARING


def test_fast_lane_lists_name_existing_tests():
    missing = []
    for test_id in (*STACK_TESTS, *SLOW_TESTS):
        path, _, name = test_id.partition("::")
        if not (TESTS / path).exists():
            missing.append(test_id)
        elif name:
            tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            if name not in functions:
                missing.append(test_id)
    assert missing == []


def test_schedule_names_existing_files_once():
    files = [file for unit in SHARING.values() for file in unit]
    files += [unit for unit in LONG_FILES if unit not in SHARING]
    assert [file for file in files if not (TESTS / file).exists()] == []
    assert len(files) == len(set(files))
    assert set(SHARING) <= set(LONG_FILES)


def test_fast_lane_marks_only_tests_with_server_fixtures(request):
    assert request.node.get_closest_marker("stack") is None
    assert request.node.get_closest_marker("slow") is None


def test_fast_lane_with_a_server_fixture_is_marked_stack(request, server_paths):
    assert request.node.get_closest_marker("stack") is not None
