"""`pinpoint train`: weights from your own geotagged images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output, training_runs
from pinpoint.cli.session import Json, Session
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.ports import Gallery
    from pinpoint.training.configs import EmbedderConfig

app = typer.Typer(help="Training: weights from your own geotagged images.", no_args_is_help=True)

training_runs.add_to(app)

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
        Path | None,
        typer.Option("--out", help="Folder of the run; one that was broken off goes on."),
    ] = None,
    job: Annotated[
        bool, typer.Option("--job", help="Leave it to a worker; `train status` says how it goes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train heads per source kind and a location tower, with or behind a tower, into a bundle."""
    from pinpoint.training.configs import read_config

    session = Session.of(context, as_json=as_json)
    settings = Settings.from_environment()
    if job == (out is not None):
        raise typer.BadParameter("give --out FOLDER, or --job, which makes its own")
    asked = read_config(config).of(session.organization)
    if out is None:
        training_runs.send(session, settings, asked)
    else:
        _train(session, settings, asked, out)


def _train(session: Session, settings: Settings, asked: EmbedderConfig, out: Path) -> None:
    from pinpoint.media.decoder import ChildDecoder
    from pinpoint.nets.bundles import BUNDLES_FOLDER
    from pinpoint.training.embedder import train_embedder
    from pinpoint.training.processes import joined

    decoder = ChildDecoder(settings.media, children=_CHILDREN)
    bar, first = output.progress(_NAMES["features"])
    tasks = {"features": first}

    def moved(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(_NAMES[what])
        bar.update(tasks[what], completed=done, total=total)

    try:
        with (
            _gallery(session, asked) as gallery,
            joined() as processes,
            bar if processes.first else nullcontext(),
        ):
            made = train_embedder(
                asked,
                out,
                settings=settings,
                decoder=decoder,
                into=settings.places.home / BUNDLES_FOLDER / asked.name,
                gallery=gallery,
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


@contextmanager
def _gallery(session: Session, asked: EmbedderConfig) -> Iterator[Gallery | None]:
    """The catalogue, where the config names sources of it: manifests need no stack."""
    if not asked.of_catalogue:
        yield None
        return
    with session.services() as services:
        yield services.gallery


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
    if report["catalogue_read_at"]:
        output.say(f"pictures of the catalogue as they were at {report['catalogue_read_at']}")
    output.say(f"bundle in {bundle}; for a new index: export PINPOINT_BUNDLE={bundle.name}")
    output.say(f"for the gallery that is there: pinpoint bundles use {bundle.name}")
