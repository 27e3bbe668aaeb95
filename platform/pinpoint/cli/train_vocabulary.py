"""`pinpoint train vocabulary`: learn the centers and the PCA of an aggregation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.cli.bundles import find_bundle_folder
from pinpoint.cli.bundles_activate import switch_bundle
from pinpoint.cli.filter_options import SourceFilterOption
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError, ConfigurationError
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.nets.bundle.bundles import Bundle
    from pinpoint.ports import TrainingDataReader
    from pinpoint.training.vocabulary.config import VocabularyConfig
    from pinpoint.training.vocabulary.train_vocabulary import VocabularyResult

app = typer.Typer()

_STAGE_LABELS: Final = {"features": "learning centers", "vectors": "encoding the sample"}


@app.command("vocabulary")
def vocabulary(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="Name of the new bundle.")],
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle", help="Bundle with the tower; the default is that of PINPOINT_BUNDLE."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            help="Layer of the tower, such as `blocks.4`; the default is that of the bundle's "
            "aggregation, or the last one.",
        ),
    ] = None,
    centers: Annotated[int, typer.Option("--centers", min=1, help="Number of centers.")] = 48,
    local_dimensions: Annotated[
        int | None,
        typer.Option(
            "--local-dimensions",
            min=1,
            help="Reduce patch features to this number by a PCA before the aggregation.",
        ),
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            min=1,
            help="Dimensions of the vectors after the PCA, below the number of images; the default "
            "is 256 or that number less one.",
        ),
    ] = None,
    no_pca: Annotated[
        bool, typer.Option("--no-pca", help="Keep all dimensions of the aggregation.")
    ] = False,
    whitening: Annotated[
        float,
        typer.Option("--whitening", min=0.0, max=1.0, help="Whitening power of the PCA, 0 to 1."),
    ] = 0.25,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="Maximum number of images to learn from.")
    ] = 5_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of sample and centers.")] = 0,
    restarts: Annotated[
        int,
        typer.Option(
            "--restarts", min=1, max=20, help="Number of vocabularies to choose the best from."
        ),
    ] = 5,
    in_source: SourceFilterOption = [],  # noqa: B006
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Learn from the files of this folder; no stack and no positions."
        ),
    ] = None,
    license: Annotated[
        str, typer.Option("--license", help="For `--images`: license of the images.")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run; an interrupted run is resumed."),
    ] = None,
    activate: Annotated[
        bool, typer.Option("--activate", help="Switch the gallery to the new bundle at the end.")
    ] = False,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn centers and a PCA from gallery images; write a bundle with the same tower.

    The report compares recall on leave-one-out queries with the current bundle.
    """
    from pinpoint.nets.bundle.aggregated_bundles import require_tower
    from pinpoint.nets.bundle.bundles import find_bundle
    from pinpoint.training.vocabulary.config import VocabularyConfig

    session = Session.of(context, org=org, as_json=as_json)
    settings = load_settings()
    tower = find_bundle(bundle or settings.encoder.bundle, settings.services.home)
    aggregation = tower.contract.aggregation
    config = VocabularyConfig(
        layer=layer or (aggregation.layer if aggregation else None),
        num_centers=centers,
        local_dim=local_dimensions,
        has_pca=not no_pca,
        dimensions=dimensions,
        whitening_power=whitening,
        seed=seed,
        restarts=restarts,
    )
    require_tower(tower)
    run = VocabularyRun(session=session, settings=settings, tower=tower, config=config, name=name)
    if images is not None:
        if activate or in_source or out:
            raise BadRequestError(
                "--images learns without a stack: no --in-source, --out, --activate"
            )
        _learn_from_folder(run, images, license, max_images)
        return
    with session.services() as services:
        result = _learn_from_gallery(run, services, in_source, out, max_images)
        switched = switch_bundle(services, name, 0, None) if activate else None
    if session.as_json:
        output.print_json({"bundle": str(result.bundle), **result.report, "activated": switched})
        return
    _print_report(result)
    if switched is not None:
        output.print_line(f"bundle {switched.bundle} is active, index build {switched.build}")
    else:
        output.print_line(
            f"bundle in {result.bundle}; to use it: pinpoint bundles activate {result.bundle.name}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRun:
    """What both ways of learning need."""

    session: Session
    settings: Settings
    tower: Bundle
    config: VocabularyConfig
    name: str

    def require_new_folder(self) -> Path:
        """Folder of the new bundle.

        Raises:
            ConflictError: It exists.
        """
        from pinpoint.nets.bundle.bundles import require_absent

        folder = find_bundle_folder(self.name, self.settings)
        require_absent(folder)
        return folder


def _learn_from_gallery(
    run: VocabularyRun,
    services: Services,
    sources: list[str],
    out: Path | None,
    max_images: int,
) -> VocabularyResult:
    from pinpoint.training.core.runs import RUNS
    from pinpoint.training.vocabulary.train_vocabulary import VocabularyGallery, VocabularyTrainer

    into = run.require_new_folder()
    gallery = VocabularyGallery(
        rows=_require_rows(services),
        organization=run.session.organization,
        licenses=_read_licenses(run.session, services, sources),
    )
    bar, show_progress = _progress_bars()
    trainer = VocabularyTrainer(
        config=run.config,
        max_images=max_images,
        tower=run.tower,
        current=services.encoders.current,
        decoder=services.decoder,
        settings=run.settings,
        on_progress=show_progress,
    )
    folder = out or run.settings.services.home / RUNS / f"vocabulary-{run.name}"
    with bar:
        return trainer.run(folder, gallery, name=run.name, into=into)


def _learn_from_folder(run: VocabularyRun, folder: Path, license: str, max_images: int) -> None:
    from pinpoint.media.decoding.decoder import ChildDecoder
    from pinpoint.nets.bundle.aggregated_bundles import write_aggregated_bundle
    from pinpoint.nets.bundle.specs import VocabularySource
    from pinpoint.training.vocabulary.folder_images import FolderImages
    from pinpoint.training.vocabulary.learn_vocabulary import learn_from_pixels
    from pinpoint.training.vocabulary.train_vocabulary import BUNDLE_NOTE

    into = run.require_new_folder()
    if not 1 <= len(license) <= 200:
        raise BadRequestError("state the license of the images in 1 to 200 characters: --license")
    decoder = ChildDecoder(run.settings.media, children=1)
    bar, show_progress = _progress_bars()
    try:
        images = FolderImages.scan(folder, decoder, max_images)
        count = len(images.files)
        source = VocabularySource(name=folder.resolve().name, count=count, license=license)
        with bar:
            learned = learn_from_pixels(
                images.load,
                run.tower,
                run.config,
                sources=(source,),
                device=run.settings.encoder.device,
                on_progress=show_progress,
            )
    finally:
        decoder.close()
    write_aggregated_bundle(
        into,
        name=run.name,
        tower=run.tower,
        spec=learned.spec,
        tensors=learned.tensors,
        note=BUNDLE_NOTE.format(tower=run.tower.contract.tower, count=count),
    )
    dimensions, rejected = learned.spec.dim, images.rejected
    if run.session.as_json:
        output.print_json(
            {"bundle": str(into), "dimensions": dimensions, "images": count, "rejected": rejected}
        )
        return
    output.print_line(f"{count} images, {dimensions} dimensions; other files: {rejected or 'none'}")
    output.print_line(f"bundle in {into}; to use it: pinpoint bundles activate {run.name}")


def _read_licenses(session: Session, services: Services, names: list[str]) -> dict[str, str | None]:
    """Licenses of the sources to learn from, all by default.

    Raises:
        NotFoundError: There is no such source.
    """
    organization_id = session.find_organization(services).id
    with services.database.read(organization_id) as catalog:
        sources = [catalog.source(name) for name in names] if names else catalog.sources()
    return {source.name: source.license for source in sources}


def _require_rows(services: Services) -> TrainingDataReader:
    if services.training_rows is None:
        raise ConfigurationError("the API's services cannot read training images")
    return services.training_rows


def _progress_bars() -> tuple[Any, Callable[[str, int, int], None]]:
    """A progress bar for each stage, shown when the stage starts."""
    bar, task = output.open_progress_bar(_STAGE_LABELS["features"])
    tasks = {"features": task}

    def show_progress(stage: str, completed: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(_STAGE_LABELS[stage])
        bar.update(tasks[stage], completed=completed, total=total)

    return bar, show_progress


def _print_report(result: VocabularyResult) -> None:
    report = result.report
    output.print_table(
        f"{report['queries']} leave-one-out queries: share with an image within "
        f"{report['radius_m']:g} m among the first K, %",
        ("images", f">{report['current']}", f">{result.bundle.name}"),
        [
            (name.replace("@", " at "), _percent(report["before"][name]), _percent(share))
            for name, share in report["after"].items()
        ],
    )
    output.print_line(
        f"{report['sampled']} of {report['gallery']} images, {report['dimensions']} dimensions, "
        f"unreadable: {report['rejected'] or 'none'}"
    )
    output.print_line(
        "the queries are gallery images, and the vocabulary is the best of "
        f"{report['restarts']} for them: other photos will reach less"
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"
