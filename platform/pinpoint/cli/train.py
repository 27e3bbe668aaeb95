"""`pinpoint train`: train weights on your own geotagged images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output, train_runs, train_vocabulary
from pinpoint.cli.evaluate import ConcurrencyOption
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.records import SearchFilter
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.ports import TrainingDataReader
    from pinpoint.training.core.configs import EmbedderConfig
    from pinpoint.training.reranker import examples
    from pinpoint.training.reranker.config import RerankerConfig

app = typer.Typer(help="Train weights on your own geotagged images.", no_args_is_help=True)

_DECODER_PROCESSES: Final = 2
_STAGE_LABELS: Final = {
    "features": "reading and encoding",
    "examples": "searching the gallery",
    "steps": "training",
}


@app.command("embedder")
def embedder(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="TOML file of the run.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run; an interrupted run is resumed."),
    ] = None,
    background: Annotated[
        bool,
        typer.Option("--background", help="Train in a worker; `train status` shows its progress."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a bundle: heads for each source kind and a location tower, on top of a tower."""
    from pinpoint.training.core.configs import read_config

    session = Session.of(context, as_json=as_json)
    settings = load_settings()
    if background == (out is not None):
        raise typer.BadParameter(
            "give either --out FOLDER or --background, which creates its own folder"
        )
    run_config = read_config(config).for_organization(session.organization)
    if out is None:
        train_runs.send_run(session, settings, run_config)
    else:
        _train_embedder(session, settings, run_config, out)


def _train_embedder(
    session: Session, settings: Settings, run_config: EmbedderConfig, out: Path
) -> None:
    from pinpoint.media.decoding.decoder import ChildDecoder
    from pinpoint.nets.bundle.bundles import BUNDLES_FOLDER
    from pinpoint.training.core.distributed import init_distributed
    from pinpoint.training.embedder.train_embedder import train_embedder

    decoder = ChildDecoder(settings.media, children=_DECODER_PROCESSES)
    bar, show_progress = _progress_bars("features")
    try:
        with (
            _open_gallery(session, run_config) as gallery,
            init_distributed() as processes,
            bar if processes.is_rank0 else nullcontext(),
        ):
            result = train_embedder(
                run_config,
                out,
                settings=settings,
                decoder=decoder,
                into=settings.services.home / BUNDLES_FOLDER / run_config.name,
                gallery=gallery,
                processes=processes,
                on_progress=show_progress,
            )
    finally:
        decoder.close()
    if not processes.is_rank0:
        return
    if session.as_json:
        output.print_json({"bundle": str(result.bundle), **result.report})
    else:
        _print_embedder_report(result.bundle, result.report)


@contextmanager
def _open_gallery(
    session: Session, run_config: EmbedderConfig
) -> Iterator[TrainingDataReader | None]:
    """Open the catalog if the configuration names its sources; manifests need no stack."""
    if not run_config.catalog_sources:
        yield None
        return
    with session.services() as services:
        yield services.training_rows


@app.command("reranker")
def reranker(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="TOML file of the run.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run; an interrupted run is resumed.")
    ],
    concurrency: ConcurrencyOption = 1,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a reranker on queries to the gallery; add it to a copy of the bundle of the index."""
    from pinpoint.nets.bundle.bundles import BUNDLES_FOLDER
    from pinpoint.training.reranker.config import read_reranker_config
    from pinpoint.training.reranker.train_reranker import train_reranker

    session = Session.of(context, org=org, as_json=as_json)
    run_config = read_reranker_config(config)
    settings = load_settings()
    bar, show_progress = _progress_bars("examples")
    with session.services("api", settings) as services, bar:
        result = train_reranker(
            run_config,
            out,
            gallery=replace(
                _example_gallery(session, services, run_config), concurrency=concurrency
            ),
            bundle=services.encoder.bundle,
            into=settings.services.home / BUNDLES_FOLDER / run_config.name,
            on_progress=show_progress,
        )
    if session.as_json:
        output.print_json({"bundle": str(result.bundle), **result.report})
    else:
        _print_reranker_report(result.bundle, result.report)


app.add_typer(train_vocabulary.app)
app.add_typer(train_runs.app)


def _example_gallery(
    session: Session, services: Services, run_config: RerankerConfig
) -> examples.ExampleGallery:
    """Gallery of the operator's organization, searched as configured."""
    from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
    from pinpoint.training.reranker.examples import ExampleGallery

    organization_id = services.api_keys.caller_for(session.organization).organization_id
    with services.database.read(organization_id) as catalog:
        source_ids = tuple(catalog.source(name).id for name in run_config.gallery.sources)
    return ExampleGallery(
        config=RunConfig(
            organization_id=organization_id,
            images=Path(),
            search_filter=SearchFilter(
                source_kinds=run_config.gallery.source_kinds, source_ids=source_ids
            ),
        ),
        components=EvaluationComponents(
            decoder=services.decoder,
            encoder=services.encoder,
            index=services.index,
            database=services.database,
            search=run_config.gallery.search_settings(services.settings.search),
            max_bytes=services.settings.media.max_bytes,
        ),
        evidence_radius_m=run_config.gallery.evidence_radius_m,
        evidence_per_kind=run_config.gallery.evidence_per_kind,
        balanced=True,
    )


def _progress_bars(first: str) -> tuple[Any, Callable[[str, int, int], None]]:
    """Create a progress bar for each stage of a run, shown when the stage starts."""
    bar, task = output.open_progress_bar(_STAGE_LABELS[first])
    tasks = {first: task}

    def show_progress(stage: str, completed: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(_STAGE_LABELS[stage])
        bar.update(tasks[stage], completed=completed, total=total)

    return bar, show_progress


def _print_reranker_report(bundle: Path, report: Any) -> None:
    from pinpoint.training.reranker.leakage_check import leakage_warning

    metrics = report["validation"]
    rankers = ("top1", "vote", "rerank", "oracle")
    output.print_table(
        f"{report['queries']['validation']} validation queries located within, %",
        ("queries, distance", *(f">{ranker}" for ranker in rankers), ">gap closed"),
        [
            (
                threshold,
                *(f"{100 * metrics[f'{ranker} {threshold}']:.1f}" for ranker in rankers),
                f"{100 * metrics[f'gap {threshold}']:.0f}"
                if f"gap {threshold}" in metrics
                else None,
            )
            for threshold in (
                name.removeprefix("rerank ") for name in metrics if name.startswith("rerank ")
            )
        ],
    )
    output.print_line(f"queries excluded: {report['rejected'] or 'none'}; split: {report['split']}")
    if leak_warning := leakage_warning(report["short_evidence"]):
        output.warn(leak_warning)
    output.print_line(
        f"bundle in {bundle}; the index does not change: export PINPOINT_BUNDLE={bundle.name}, and "
        "restart the API"
    )


def _print_embedder_report(bundle: Path, report: Any) -> None:
    output.print_table(
        "recall among the validation images: share with a correct image in the top K, %",
        ("queries, depth, distance", ">trained", ">bare tower"),
        [
            (name, f"{100 * share:.1f}", f"{100 * report['bare_tower'][name]:.1f}")
            for name, share in report["validation"].items()
        ],
    )
    output.print_line(f"rows excluded: {report['rejected'] or 'none'}; split: {report['split']}")
    if report["catalog_read_at"]:
        output.print_line(f"images of the catalog as of {report['catalog_read_at']}")
    output.print_line(f"bundle in {bundle}; for a new index: export PINPOINT_BUNDLE={bundle.name}")
    output.print_line(f"for the existing gallery: pinpoint bundles activate {bundle.name}")
