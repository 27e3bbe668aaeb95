"""`pinpoint train`: weights from your own geotagged images."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.session import Json, Session
from pinpoint.settings import Settings

app = typer.Typer(help="Training: weights from your own geotagged images.", no_args_is_help=True)

_CHILDREN: Final = 2
_NAMES: Final = {"features": "reading and encoding", "steps": "training"}


@app.callback()
def room() -> None:
    """Training: weights from your own geotagged images."""


@app.command("embedder")
def embedder(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="TOML of the run.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run; one that was broken off goes on.")
    ],
    as_json: Json = False,
) -> None:
    """Train heads per source kind and a location tower, with or behind a tower, into a bundle."""
    from pinpoint.media.decoder import ChildDecoder
    from pinpoint.nets.bundles import BUNDLES_FOLDER
    from pinpoint.training.configs import read_config
    from pinpoint.training.embedder import train_embedder
    from pinpoint.training.processes import joined

    session = Session.of(context, as_json=as_json)
    settings = Settings.from_environment()
    asked = read_config(config)
    decoder = ChildDecoder(settings.media, children=_CHILDREN)
    bar, first = output.progress(_NAMES["features"])
    tasks = {"features": first}

    def moved(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(_NAMES[what])
        bar.update(tasks[what], completed=done, total=total)

    try:
        with joined() as processes, bar if processes.first else nullcontext():
            made = train_embedder(
                asked,
                out,
                settings=settings,
                decoder=decoder,
                into=settings.places.home / BUNDLES_FOLDER / asked.name,
                processes=processes,
                on_progress=moved,
            )
    finally:
        decoder.close()
    if not processes.first:
        return
    if session.as_json:
        output.show_json({"bundle": str(made.bundle), **made.report})
    else:
        _show(made.bundle, made.report)


def _show(bundle: Path, report: Any) -> None:
    output.table(
        "validation pictures among themselves: share with a right one among the first K, %",
        ("questions, depth, distance", ">trained", ">bare tower"),
        [
            (name, f"{100 * share:.1f}", f"{100 * report['bare_tower'][name]:.1f}")
            for name, share in report["validation"].items()
        ],
    )
    output.say(f"rows left out: {report['dropped'] or 'none'}; split: {report['split']}")
    output.say(f"bundle in {bundle}; for a new index: export PINPOINT_BUNDLE={bundle.name}")
    output.say(f"for the gallery that is there: pinpoint bundles use {bundle.name}")
