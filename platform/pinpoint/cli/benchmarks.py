"""`pinpoint bench`: runs the measuring programs of a checkout.

The programs are in the folder `tests` because they use its fixtures: galleries, photos, servers
with a watcher, and faults. An installed package does not contain them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from pinpoint.errors import BadRequestError, ConfigurationError

PROGRAMS: Final = {
    "speed": ("bench", "latency and throughput next to a bare baseline of the same run"),
    "gis": ("bench.gis", "features, tiles, neighbors, coverage and exports of a million images"),
    "planet": ("trials.planet", "how well a probe reads the synthetic planet"),
    "embedder": ("trials.embedder", "retrieval of a trained bundle"),
    "reranker": ("trials.rerank", "accuracy, calibration and ablations of the reranker"),
    "ship-reranker": ("trials.rerank.ship_reranker", "copy a measured reranker into the package"),
    "vocabulary": ("trials.vocabulary", "which vocabulary of unrelated photos sees most"),
    "ship-vocabulary": (
        "trials.vocabulary.ship_vocabulary",
        "learn the vocabulary of the built-in bundle again",
    ),
    "faults": ("trials.soak", "seeded faults against a real stack, until the first difference"),
    "fuzz": ("fuzz", "coverage-guided fuzzing of one parser"),
}
"""Program -> its module below `tests`, and what it measures."""

_NAMES: Final = "; ".join(f"`{name}`: {text}" for name, (_, text) in PROGRAMS.items())


app = typer.Typer()


@app.command(
    "bench",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def bench(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="A program (default `speed`) and its options; `pinpoint bench PROGRAM --help` "
            f"lists them. Programs: {_NAMES}.",
            metavar="[PROGRAM] [OPTIONS]",
        ),
    ] = None,
) -> None:
    """Measure speed and quality with the programs of a checkout of the repository."""
    words = words or []
    if not words or words[0].startswith("-"):
        words = ["speed", *words]
    program, *arguments = words
    if program not in PROGRAMS:
        raise BadRequestError(f"there is no program {program!r}; use {', '.join(PROGRAMS)}")
    tests = find_tests_folder()
    module, _ = PROGRAMS[program]
    # The programs format their tables with the functions that generate the reference.
    table_functions = tests.parent / "docs" / "hooks"
    paths = [str(tests), str(table_functions), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    # The program replaces this process, so that signals and the exit code are its own.
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)


def find_tests_folder() -> Path:
    """The folder `tests` of the checkout that this package is part of.

    Raises:
        ConfigurationError: The package is installed without a checkout.
    """
    tests = Path(__file__).resolve().parents[3] / "tests"
    if not (tests / "bench" / "__main__.py").is_file():
        raise ConfigurationError(
            "the benchmarks are part of the repository, not of the installed package: clone it, "
            "run `make setup` there, and use its .venv/bin/pinpoint"
        )
    return tests
