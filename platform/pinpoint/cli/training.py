"""`pinpoint train`: weights from your own geotagged images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output, training_runs
from pinpoint.cli.session import Json, Org, Session
from pinpoint.records import Limits
from pinpoint.settings import Settings

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.ports import Gallery
    from pinpoint.training import examples
    from pinpoint.training.configs import EmbedderConfig
    from pinpoint.training.reranker_config import RerankerConfig

app = typer.Typer(help="Training: weights from your own geotagged images.", no_args_is_help=True)

training_runs.add_to(app)

_CHILDREN: Final = 2
_NAMES: Final = {
    "features": "reading and encoding",
    "examples": "asking the gallery",
    "steps": "training",
}


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
    bar, moved = _bars("features")
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


@app.command("reranker")
def reranker(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="TOML of the run.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run; one that was broken off goes on.")
    ],
    at_once: Annotated[int, typer.Option("--at-once", help="Questions asked at a time.")] = 1,
    org: Org = None,
    as_json: Json = False,
) -> None:
    """Train a reranker on questions that the gallery is asked, into a bundle like the index's."""
    from pinpoint.nets.bundles import BUNDLES_FOLDER
    from pinpoint.training.reranker import train_reranker
    from pinpoint.training.reranker_config import read_reranker_config

    session = Session.of(context, org=org, as_json=as_json)
    asked = read_reranker_config(config)
    settings = Settings.from_environment()
    bar, moved = _bars("examples")
    with session.services("api", settings) as services, bar:
        made = train_reranker(
            asked,
            out,
            gallery=replace(_asked_gallery(session, services, asked), at_once=at_once),
            bundle=services.encoder.bundle,
            into=settings.places.home / BUNDLES_FOLDER / asked.name,
            on_progress=moved,
        )
    if session.as_json:
        output.show_json({"bundle": str(made.bundle), **made.report})
    else:
        _show_reranker(made.bundle, made.report)


def _asked_gallery(session: Session, services: Services, asked: RerankerConfig) -> examples.Gallery:
    """What the operator's organisation has, searched as the config says."""
    from pinpoint.evaluation.run import Parts, Plan
    from pinpoint.training.examples import Gallery

    organization_id = services.access.caller_for(session.organization).organization_id
    with services.database.read(organization_id) as catalogue:
        source_ids = tuple(catalogue.source(name).id for name in asked.gallery.sources)
    return Gallery(
        plan=Plan(
            organization_id=organization_id,
            images=Path(),
            limits=Limits(kinds=asked.gallery.kinds, source_ids=source_ids),
        ),
        parts=Parts(
            decoder=services.decoder,
            encoder=services.encoder,
            index=services.index,
            database=services.database,
            search=asked.gallery.searched(services.settings.search),
            max_bytes=services.settings.media.max_bytes,
        ),
        evidence_radius_m=asked.gallery.evidence_radius_m,
        evidence_per_kind=asked.gallery.evidence_per_kind,
        evened=True,
    )


def _bars(first: str) -> tuple[Any, Callable[[str, int, int], None]]:
    """A bar for each thing that a run does, shown from when it begins."""
    bar, task = output.progress(_NAMES[first])
    tasks = {first: task}

    def moved(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(_NAMES[what])
        bar.update(tasks[what], completed=done, total=total)

    return bar, moved


def _show_reranker(bundle: Path, report: Any) -> None:
    from pinpoint.training.short_evidence import warning

    said = report["validation"]
    ways = ("top1", "vote", "rerank", "oracle")
    output.table(
        f"{report['questions']['validation']} validation questions answered within, %",
        ("questions, distance", *(f">{way}" for way in ways), ">gap closed"),
        [
            (
                at,
                *(f"{100 * said[f'{way} {at}']:.1f}" for way in ways),
                f"{100 * said[f'gap {at}']:.0f}" if f"gap {at}" in said else None,
            )
            for at in (name.removeprefix("rerank ") for name in said if name.startswith("rerank "))
        ],
    )
    output.say(f"questions left out: {report['dropped'] or 'none'}; split: {report['split']}")
    if told := warning(report["short_evidence"]):
        output.note(told)
    output.say(
        f"bundle in {bundle}; the index stays as it is: export PINPOINT_BUNDLE={bundle.name}, and "
        "start the API again"
    )


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
