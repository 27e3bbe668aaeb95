"""`pinpoint bench` runs the programs below `tests`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pinpoint.cli import benchmarks
from pinpoint.errors import ConfigurationError


def run_pinpoint(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "pinpoint"
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("program", sorted(benchmarks.PROGRAMS))
def test_bench_program_is_a_module_of_the_tests(program):
    module, meaning = benchmarks.PROGRAMS[program]
    is_package = not program.startswith("ship-")
    assert importlib.util.find_spec(f"{module}.__main__" if is_package else module)
    assert meaning


def test_bench_passes_options_to_the_program():
    result = run_pinpoint("bench", "planet", "--help")
    assert result.returncode == 0, result.stderr
    assert "usage: pinpoint bench planet" in result.stdout
    assert "--preset" in result.stdout


def test_bench_returns_the_exit_code_of_the_program():
    result = run_pinpoint("bench", "planet", "--nonsense")
    assert result.returncode == 2
    assert "pinpoint bench planet" in result.stderr


def test_bench_unknown_program_names_the_programs():
    result = run_pinpoint("bench", "velocity")
    assert result.returncode == 64
    assert "use speed, gis, planet" in result.stderr


def test_find_tests_folder_without_a_checkout_raises(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmarks, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    with pytest.raises(ConfigurationError, match="make setup"):
        benchmarks.find_tests_folder()
