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
    audit,
    backup,
    batch_waiting,
    batches,
    benchmarks,
    bundles,
    bundles_activate,
    calibrate,
    config,
    coverage,
    evaluate,
    examples,
    export,
    gaps,
    images,
    images_download,
    images_list,
    import_metadata,
    index,
    ingest,
    jobs,
    key,
    key_limits,
    keys,
    locate,
    looking_at,
    neighbors,
    orgs,
    output,
    protected_areas,
    queries,
    search,
    similar,
    sources,
    stack,
    synthetic,
    train,
    validate,
    verify_dossier,
    webhooks,
)
from pinpoint.cli.exit_codes import EXIT_CODES, INTERNAL
from pinpoint.cli.session import JsonOption, KeyOption, OrganizationOption, ServerOption, Session
from pinpoint.errors import ForbiddenError, PinpointError, describe_cause

app = typer.Typer(
    name="pinpoint",
    help="Where was this photo taken, and what is the evidence?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(stack.app)
app.add_typer(config.app, name="config")
app.add_typer(orgs.app, name="orgs")
keys.app.add_typer(key_limits.app)
app.add_typer(keys.app, name="keys")
app.add_typer(key.app)
app.add_typer(audit.app, name="audit")
app.add_typer(protected_areas.app, name="protected-areas")
app.add_typer(sources.app, name="sources")
app.add_typer(ingest.app)
batches.app.add_typer(batch_waiting.app)
app.add_typer(batches.app, name="batches")
images.app.add_typer(import_metadata.app)
images.app.add_typer(images_download.app)
images.app.add_typer(images_list.app)
images.app.add_typer(looking_at.app)
app.add_typer(images.app, name="images")
app.add_typer(export.app)
app.add_typer(validate.app)
app.add_typer(locate.app)
app.add_typer(verify_dossier.app)
app.add_typer(similar.app)
app.add_typer(search.app)
app.add_typer(queries.app, name="queries")
app.add_typer(jobs.app, name="jobs")
app.add_typer(neighbors.app)
app.add_typer(coverage.app)
app.add_typer(gaps.app)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(index.app, name="index")
bundles.app.add_typer(bundles_activate.app)
app.add_typer(bundles.app, name="bundles")
app.add_typer(evaluate.app)
app.add_typer(calibrate.app)
app.add_typer(backup.app)
app.add_typer(train.app, name="train")
app.add_typer(synthetic.app, name="synthetic")
app.add_typer(benchmarks.app)
examples.add_examples(app)


def _print_version(requested: bool) -> None:
    if requested:
        output.print_line(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    server: ServerOption = None,
    key: KeyOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
    home: stack.HomeOption = None,
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and exit.",
        callback=_print_version,
        is_eager=True,
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
        output.warn(f"pinpoint: {error.message}")
        sys.exit(EXIT_CODES[type(error)])
    except PermissionError as error:
        output.warn(f"pinpoint: {error.filename}: {error.strerror}; it belongs to another user")
        sys.exit(EXIT_CODES[ForbiddenError])
    except Exception as error:
        if os.environ.get("PINPOINT_LOG_LEVEL") == "debug":
            raise
        output.warn(describe_unforeseen(error))
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
