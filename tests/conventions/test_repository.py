"""Rules of this repository, checked by reading the code."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pinpoint import errors, records

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {"build", "dist", "node_modules", "demo-out", "site", "__pycache__"}
MAX_FILE_LINES, MIN_FILE_LINES = 400, 80
VAGUE_NAMES = {"models", "utils", "util", "helpers", "helper", "common", "misc", "base"}
TABLES = {
    "pinpoint.api.problems": "STATUS",
    "pinpoint.cli.exit_codes": "EXIT_CODES",
    "pinpoint_workers.retries": "RETRY",
}
# Not a literal, so that this file does not find itself.
HOMES = re.compile("/" + r"(?:home|Users|root|work)/(?!you\b|<)[A-Za-z0-9_.-]+")
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}"
    r"|\bxox[abp]-[0-9A-Za-z-]{10,}|\bsk-[A-Za-z0-9]{32,}|\beyJ[\w-]{20,}\.[\w-]{20,}\."
)


@cache
def files() -> tuple[Path, ...]:
    """All files of the checkout that belong to the project."""
    paths = []
    for folder, names, entries in os.walk(ROOT):
        names[:] = [n for n in names if n == ".ci" or not (n in SKIPPED or n.startswith("."))]
        paths += [Path(folder) / entry for entry in entries]
    return tuple(sorted(paths))


def python() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def product() -> list[Path]:
    """What is installed, and the migrations."""
    rooms = ("platform", "workers", "migrations")
    return [path for path in python() if path.relative_to(ROOT).parts[0] in rooms]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def report(problems: list[str]) -> None:
    assert not problems, "\n".join(["", *problems])


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_have_at_most_400_lines():
    report(
        [at(p, lines(p), "file is too long") for p in python() if lines(p) > MAX_FILE_LINES],
    )
    short = [p for p in product() if p.name != "__init__.py" and lines(p) < MIN_FILE_LINES]
    if short:
        names = ", ".join(str(p.relative_to(ROOT)) for p in short)
        print(f"files under {MIN_FILE_LINES} lines, for information: {names}")  # noqa: T201


def test_modules_have_no_meaningless_name():
    report([at(p, 1, "vague name") for p in product() if VAGUE_NAMES & {p.stem, p.parent.name}])


def test_product_code_has_no_assert_and_no_todo():
    problems = []
    for path in product():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Assert):
                problems.append(at(path, node.lineno, "assert in product code"))
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                problems.append(at(path, node.lineno, "NotImplementedError"))
        source = io.StringIO(path.read_text(encoding="utf-8"))
        for token in tokenize.generate_tokens(source.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING) and re.search(
                r"\b(TODO|FIXME|XXX|HACK)\b", token.string
            ):
                problems.append(at(path, token.start[0], "unfinished place"))
    report(problems)


def handlers(path: Path) -> Iterator[tuple[int, bool, bool]]:
    """Line, whether the handler catches everything, whether it does nothing."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            wide = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            empty = all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
            yield node.lineno, wide, empty


def test_exception_handlers_are_not_empty():
    report(
        [
            at(path, line, "catches everything and does nothing")
            for path in product()
            for line, wide, empty in handlers(path)
            if wide and empty
        ]
    )


def test_commits_are_in_the_database_module_only():
    allowed = ROOT / "platform/pinpoint/store/db/database.py"
    report(
        [
            at(path, node.lineno, "commit outside store/database.py")
            for path in product()
            if path != allowed and path.parts[len(ROOT.parts)] != "migrations"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "commit"
        ]
    )


def test_platform_folder_is_not_a_package():
    # `platform` is a module of the standard library; as a package, ours would hide it.
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert [p.name for p in (ROOT / "platform").iterdir() if p.is_dir()] == ["pinpoint"]


def descendants(kind: type[errors.PinpointError]) -> set[type[errors.PinpointError]]:
    below = {subclass for sub in kind.__subclasses__() for subclass in descendants(sub)}
    return {kind, *below}


@pytest.mark.parametrize("module", TABLES)
def test_error_classes_have_api_status_and_exit_code(module):
    ours = {
        kind for kind in descendants(errors.PinpointError) if kind.__module__ == "pinpoint.errors"
    }
    table = getattr(importlib.import_module(module), TABLES[module])
    assert set(table) == ours


def test_error_tree_docstring_matches_the_classes():
    tree_drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    kinds = descendants(errors.PinpointError) - {errors.PinpointError}
    assert tree_drawn == {k.__name__ for k in kinds if k.__module__ == "pinpoint.errors"}


def frozen_and_slotted(kind: Any) -> bool:
    return kind.__dataclass_params__.frozen and "__slots__" in vars(kind)


def test_records_are_frozen_and_slotted():
    kinds: list[Any] = [k for k in vars(records).values() if dataclasses.is_dataclass(k)]
    assert len(kinds) > 20
    loose = [k.__name__ for k in kinds if not frozen_and_slotted(k)]
    report(loose)


IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys
OURS = tuple(sys.argv[1:])
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
done = []

def ours():
    # The innermost module being executed is who did it; packages of others may do as they like.
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(OURS)

def watch(event, args):
    if event == "open":
        bad = args[2] & WRITES if isinstance(args[2], int) else False
    else:
        bad = event.startswith(("socket.", "subprocess.", "os.mkdir", "os.remove", "os.rename"))
    if bad and ours():
        done.append((event, args))

sys.addaudithook(watch)
for package in ("pinpoint", "pinpoint_workers"):
    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(root.__path__, package + "."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
assert not done, done
"""


def test_importing_every_module_has_no_side_effects(tmp_path):
    ours = [str(ROOT / "platform"), str(ROOT / "workers")]
    path = os.pathsep.join(ours)
    completed = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_EVERYTHING, *ours],
        env={"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr
    assert (completed.stdout, completed.stderr) == ("", ""), "importing must not print or log"
    assert list(tmp_path.iterdir()) == [], "importing must not write"


def texts() -> Iterator[tuple[Path, int, str]]:
    for path in files():
        if path == Path(__file__) or path.stat().st_size > 1_000_000:
            continue
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            yield path, number, line


def test_files_have_no_local_path_and_no_secret():
    report(
        [
            at(path, number, line.strip())
            for path, number, line in texts()
            if HOMES.search(line) or SECRETS.search(line)
        ]
    )


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports", "--no-cache"]],
    ids=["ruff", "format", "imports"],
)
def test_linters_report_nothing(command):
    program = Path(sys.executable).parent / command[0]
    completed = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert completed.returncode == 0, completed.stdout[-6000:] + completed.stderr[-2000:]
