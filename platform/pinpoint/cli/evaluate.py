"""`pinpoint evaluate` and `pinpoint compare`: accuracy on labeled photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pinpoint.cli import evaluation_output, output
from pinpoint.cli.filter_options import SourceFilterOption, SourceKindFilterOption
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import SearchFilter, SourceKind

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.evaluation.labels.labels import LabeledQueries
    from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
    from pinpoint.evaluation.run.run_manifest import LabelPaths
    from pinpoint.settings import Settings

_NO_EXCLUSIONS = "none"

ProtocolArgument = Annotated[
    str,
    typer.Argument(
        help="Protocol: `synthetic`, `im2gps`, `im2gps3k`, `yfcc4k`, `osv5m` or `custom`."
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of the photos, or of the photos and labels.")
]
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="Label file.")]
ColumnsOption = Annotated[
    Path | None,
    typer.Option("--columns", help="TOML or JSON file that maps the columns of the labels."),
]
BundleOption = Annotated[
    str | None,
    typer.Option("--bundle", help="Bundle to evaluate; the default is the bundle of the index."),
]
RankerOption = Annotated[
    str | None,
    typer.Option(
        "--ranker",
        help="Ranker: `vote`, `top1` or `rerank`; the default is the ranker of `locate`.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the run; an existing run is resumed.")
]
SummarizeLabelsOption = Annotated[
    bool,
    typer.Option("--summarize-labels", help="Print statistics of the labels, without a search."),
]
ExcludeOption = Annotated[
    str,
    typer.Option(
        "--exclude",
        help="Images that leak the answer and are excluded from the search: `self`, `creator`, "
        "`sequence`, `near-duplicate`, separated by commas; or `none`.",
    ),
]
UnfilteredOption = Annotated[
    bool,
    typer.Option(
        "--unfiltered/--no-unfiltered",
        help="Also evaluate without excluding leaking images, as `locate` serves.",
    ),
]
CosineOption = Annotated[
    float,
    typer.Option("--near-duplicate-cosine", help="Minimum cosine similarity of a near-duplicate."),
]
FilterOption = Annotated[
    list[str],
    typer.Option(
        "--filter",
        metavar="NAME=VALUE",
        help="Use only queries with this value of a label column, such as `role=test`; may be "
        "repeated.",
    ),
]
MaxQueriesOption = Annotated[
    int | None,
    typer.Option(
        "--max-queries",
        min=1,
        help="Maximum number of queries; the first ones of the labels are used. A calibration on "
        "the gallery draws 2,000 by default, and half as many uncovered ones.",
    ),
]
VerifyOption = Annotated[
    int,
    typer.Option(
        "--verify",
        min=0,
        max=64,
        help="Number of candidates compared with the photo by local features; 0 disables it. "
        "It needs the stored files of the gallery images on this machine.",
    ),
]
ConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--concurrency",
        "-j",
        min=1,
        help="Number of concurrent queries; above 1, latencies include queueing time.",
    ),
]
ConventionOption = Annotated[
    str | None,
    typer.Option(
        "--convention", help="Distance convention; the default is the convention of the protocol."
    ),
]


app = typer.Typer()


@app.command()
def evaluate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    protocol: ProtocolArgument,
    images: ImagesOption = None,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    bundle: BundleOption = None,
    ranker: RankerOption = None,
    out: OutOption = None,
    summarize_labels: SummarizeLabelsOption = False,
    exclude: ExcludeOption = "self,creator,sequence,near-duplicate",
    unfiltered: UnfilteredOption = True,
    cosine: CosineOption = 0.95,
    in_source: SourceFilterOption = [],  # noqa: B006
    source_kind: SourceKindFilterOption = [],  # noqa: B006
    filters: FilterOption = [],  # noqa: B006
    max_queries: MaxQueriesOption = None,
    verify: VerifyOption = 0,
    concurrency: ConcurrencyOption = 1,
    convention: ConventionOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate on labeled photos, with and without images that leak the answer."""
    from pinpoint.evaluation.report.report_file import find_convention

    session = Session.of(context, org=org, as_json=as_json)
    if convention is not None:
        find_convention(convention)  # reports a wrong name before the work starts
    queries, paths = _load_queries(protocol, labels, images, columns)
    if summarize_labels:
        _summarize_labels(session, queries, images and paths.images)
        return
    with session.services("api", _settings_with_bundle(bundle)) as services:
        components = _build_components(services, fixed=bundle is not None)
        ranker = ranker or ("vote" if components.reranker is None else "rerank")
        folder = out or Path(f"evaluation-{protocol}-{components.encoder.contract.name}-{ranker}")
        options = {
            "images": paths.images,
            "ranker": ranker,
            "exclude": ()
            if exclude == _NO_EXCLUSIONS
            else tuple(exclude.replace(" ", "").split(",")),
            "unfiltered": unfiltered,
            "near_duplicate_cosine": cosine,
            "filters": tuple(_parse_filter(text) for text in filters),
            "max_queries": max_queries,
            "verify_candidates": verify,
        }
        config = _build_run_config(session, services, in_source, source_kind, options)
        run = _evaluate_queries(queries, paths, folder, config, components, concurrency)
        report = _write_report(folder, run, config, components, convention)
        _store_report(services, config, folder, report)
    _print_report(session, folder, report)


@app.command()
def compare(
    context: typer.Context,
    a: Annotated[Path, typer.Argument(help="Folder of run A.")],
    b: Annotated[Path, typer.Argument(help="Folder of run B on the same labels.")],
    convention: ConventionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs on the same photos: A minus B, with confidence interval and p-value."""
    from pinpoint.evaluation.metrics.compare import compare_runs

    session = Session.of(context, as_json=as_json)
    comparison = compare_runs(a, b, convention)
    if session.as_json:
        output.print_json(comparison)
    else:
        evaluation_output.show_comparison(comparison)


def _summarize_labels(session: Session, queries: LabeledQueries, images: Path | None) -> None:
    """Print statistics of the labels; count missing photos if `images` names their folder."""
    from pinpoint.evaluation.labels.describe import describe_labels
    from pinpoint.evaluation.labels.labels import find_missing_query_files

    description = describe_labels(queries)
    if images is not None:
        description["images_missing"] = len(find_missing_query_files(queries, images))
    if session.as_json:
        output.print_json(description)
    else:
        evaluation_output.show_description(description)


def _load_queries(
    protocol: str, labels: Path | None, images: Path | None, columns: Path | None
) -> tuple[LabeledQueries, LabelPaths]:
    """Read the queries and the paths of their labels and photos."""
    from pinpoint.evaluation.labels.columns import load_columns
    from pinpoint.evaluation.labels.labels import read_labels
    from pinpoint.evaluation.labels.protocols import PROTOCOLS
    from pinpoint.evaluation.run import run_manifest

    if protocol not in PROTOCOLS:
        raise BadRequestError(f"no protocol {protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
    paths = run_manifest.resolve_label_paths(labels, images, PROTOCOLS[protocol].label_file)
    mapping = None if columns is None else load_columns(columns)
    return read_labels(PROTOCOLS[protocol], paths.labels, mapping), paths


def _build_components(services: Services, *, fixed: bool) -> EvaluationComponents:
    """Components of a run; `fixed` takes the bundle of the settings, whatever the index holds."""
    from pinpoint.evaluation.run.evaluate import EvaluationComponents

    encoder = services.encoders.configured if fixed else services.encoder
    return EvaluationComponents(
        decoder=services.decoder,
        encoder=encoder,
        reranker=encoder.reranker,
        verifier=services.verifier,
        index=services.index,
        database=services.database,
        search=services.settings.search,
        max_bytes=services.settings.media.max_bytes,
    )


def _build_run_config(
    session: Session, services: Services, sources: list[str], kinds: list[str], options: Any
) -> RunConfig:
    """Configuration of a run within the organization that the operator acts as."""
    from pinpoint.evaluation.run.evaluate import RunConfig

    organization_id = services.api_keys.caller_for(session.organization).organization_id
    with services.database.read(organization_id) as catalog:
        source_ids = tuple(catalog.source(name).id for name in sources)
    source_kinds = cast("tuple[SourceKind, ...]", tuple(kinds))
    search_filter = SearchFilter(source_kinds=source_kinds, source_ids=source_ids)
    return RunConfig(organization_id=organization_id, search_filter=search_filter, **options)


def _evaluate_queries(
    queries: LabeledQueries,
    paths: LabelPaths,
    folder: Path,
    config: RunConfig,
    components: EvaluationComponents,
    concurrency: int,
) -> dict[str, Any]:
    """Evaluate the queries that have no result row."""
    from pinpoint.evaluation.run.evaluate import evaluate as evaluate_run
    from pinpoint.evaluation.run.run_manifest import read_planet

    planet = read_planet(paths.planet)
    bar, task = output.open_progress_bar("evaluating")
    with bar:
        return evaluate_run(
            queries,
            folder,
            config=config,
            components=components,
            planet=planet,
            concurrency=concurrency,
            on_progress=lambda completed, total: bar.update(task, completed=completed, total=total),
        )


def _write_report(
    folder: Path,
    run: Mapping[str, Any],
    config: RunConfig,
    components: EvaluationComponents,
    convention: str | None,
) -> dict[str, Any]:
    """Write results, report and figures of a run with all its rows."""
    from pinpoint.evaluation.report.figures import make_photo_loader
    from pinpoint.evaluation.report.report_file import make_report
    from pinpoint.evaluation.run.evaluate import vector_width
    from pinpoint.evaluation.run.results import write_results

    write_results(folder, run, vector_width(components))
    look = make_photo_loader(config.images, components.decoder, components.max_bytes)
    return make_report(folder, look, convention)


def _store_report(
    services: Services, config: RunConfig, folder: Path, report: Mapping[str, Any]
) -> None:
    """Store the main figures, which the API and the web page show."""
    from pinpoint.evaluation.report.quality_report import make_evaluation_report
    from pinpoint.evaluation.run.results import read_results

    quality_report = make_evaluation_report(report, read_results(folder))
    services.quality_reports.add(config.organization_id, quality_report)


def _print_report(session: Session, folder: Path, report: Mapping[str, Any]) -> None:
    if session.as_json:
        output.print_json({"out": str(folder), **report})
    else:
        evaluation_output.show_report(report, folder)


def _settings_with_bundle(bundle: str | None) -> Settings:
    """Settings of the environment, with another bundle if one is given."""
    from pinpoint.settings_file import load_settings

    settings = load_settings()
    if bundle is not None:
        settings.encoder = settings.encoder.model_copy(update={"bundle": bundle})
    return settings


def _parse_filter(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE` of `--filter`."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise BadRequestError(f"--filter must be NAME=VALUE, not {text!r}")
    return name.strip(), value.strip()
