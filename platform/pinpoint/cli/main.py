"""`pinpoint`: registers the commands and reports every error as one line and an exit code."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from pathlib import Path

import typer

from pinpoint import __version__
from pinpoint.cli import (
    access,
    backup,
    batches,
    bundles,
    bundles_use,
    calibration,
    config,
    evaluation,
    examples,
    images,
    indexes,
    ingest,
    inspection,
    key,
    output,
    search,
    sources,
    stack,
    training,
    waiting,
    world,
)
from pinpoint.cli.exits import EXIT, INTERNAL
from pinpoint.cli.session import Json, Key, Org, Server, Session
from pinpoint.errors import NotAllowed, PinpointError, describe_cause

app = typer.Typer(
    name="pinpoint",
    help="Where was this photo taken, and what is the evidence?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stack.add_to(app)
app.add_typer(config.app, name="config")
app.add_typer(access.orgs, name="orgs")
app.add_typer(access.keys, name="keys")
key.add_to(app)
app.add_typer(sources.app, name="sources")
ingest.add_to(app)
waiting.add_to(batches.app)
app.add_typer(batches.app, name="batches")
app.add_typer(images.app, name="images")
inspection.add_to(app)
search.add_to(app)
app.add_typer(indexes.app, name="index")
bundles_use.add_to(bundles.app)
app.add_typer(bundles.app, name="bundles")
evaluation.add_to(app)
calibration.add_to(app)
backup.add_to(app)
app.add_typer(training.app, name="train")
app.add_typer(world.app, name="world")
examples.add_to(app)


def _print_version(requested: bool) -> None:
    if requested:
        output.say(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    server: Server = None,
    key: Key = None,
    org: Org = None,
    as_json: Json = False,
    home: stack.Home = None,
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Where was this photo taken, and what is the evidence?"""
    if home is not None:
        # All code reads the home from the environment, including child processes.
        os.environ["PINPOINT_HOME"] = str(home.resolve())
    context.obj = Session(server=server, key=key, org=org, as_json=as_json)


def main() -> None:
    """Run the command line and exit with an exit code."""
    # By default the collector runs after every 700 new objects and often scans the half million
    # objects of libraries. That costs a quarter of the CPU time of a query from the command line.
    gc.set_threshold(50_000, 20, 50)
    # Commands print results and one-line errors only, no log lines of libraries.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except PinpointError as error:
        output.note(f"pinpoint: {error.message}")
        sys.exit(EXIT[type(error)])
    except PermissionError as error:
        output.note(f"pinpoint: {error.filename}: {error.strerror}; it belongs to another user")
        sys.exit(EXIT[NotAllowed])
    except Exception as error:
        if os.environ.get("PINPOINT_LOG_LEVEL") == "debug":
            raise
        output.note(describe_unforeseen(error))
        sys.exit(INTERNAL)


def describe_unforeseen(error: Exception) -> str:
    """Describe an unexpected error in one line: the problem with a file, or the place of a bug."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"pinpoint: {os.fsdecode(error.filename)}: {describe_cause(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    package_frames = [frame for frame in frames if "pinpoint" in Path(frame.filename).parts]
    location = (
        f" at {Path(package_frames[-1].filename).name}:{package_frames[-1].lineno}"
        if package_frames
        else ""
    )
    return (
        f"pinpoint: this is a bug ({type(error).__name__}{location}); repeat the command with "
        "PINPOINT_LOG_LEVEL=debug for the details that a report needs"
    )
