"""`pinpoint calibrate --from-gallery`: a calibration on leave-one-out queries from the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pinpoint.cli import output
from pinpoint.cli.session import Session
from pinpoint.errors import BadRequestError
from pinpoint.records import Calibration

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

DEFAULT_QUERIES: Final = 2_000
"""Covered queries, divided among the source kinds; half as many uncovered ones are added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRunOptions:
    """Options of the leave-one-out run, as given on the command line."""

    out: Path | None
    ranker: str | None
    max_queries: int
    uncovered_radius_km: float
    concurrency: int
    verify_candidates: int
    """Number of candidates that are compared by local features; 0 disables it."""


def ask_gallery(session: Session, options: GalleryRunOptions) -> Path:
    """Ask the leave-one-out queries that have no row yet; returns the folder of the run.

    Raises:
        BadRequestError: The bundle of the index cannot store a calibration.
    """
    from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
    from pinpoint.evaluation.run.leave_one_out import LeaveOneOutConfig, run_leave_one_out
    from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME

    with session.services("api") as services:
        encoder = services.encoder
        if encoder.contract.name == DESCRIPTOR_NAME:
            raise BadRequestError(
                "the descriptor has no folder, so it cannot store a calibration; "
                "`pinpoint bundles activate` switches to another bundle"
            )
        ranker = options.ranker or ("vote" if encoder.reranker is None else "rerank")
        folder = options.out or Path(f"self-calibration-{encoder.contract.name}-{ranker}")
        organization_id = services.api_keys.caller_for(session.organization).organization_id
        components = EvaluationComponents(
            decoder=services.decoder,
            encoder=encoder,
            reranker=encoder.reranker,
            index=services.index,
            database=services.database,
            search=services.settings.search,
            verifier=services.verifier,
            max_bytes=services.settings.media.max_bytes,
        )
        if options.verify_candidates:
            # The gain is measured on rankings without it.
            services.matching.set_reordering(organization_id, reorders=False)
        bar, task = output.open_progress_bar("leave-one-out queries")
        with bar:
            run_leave_one_out(
                folder,
                options=LeaveOneOutConfig(
                    max_queries=options.max_queries,
                    max_uncovered=options.max_queries // 2,
                    uncovered_radius_km=options.uncovered_radius_km,
                ),
                config=RunConfig(
                    organization_id=organization_id,
                    images=Path(),
                    ranker=ranker,
                    verify_candidates=options.verify_candidates,
                ),
                components=components,
                concurrency=options.concurrency,
                on_progress=lambda completed, total: bar.update(
                    task, completed=completed, total=total
                ),
            )
        if options.verify_candidates:
            _decide_reordering(services, organization_id, folder)
    return folder


def _decide_reordering(services: Services, organization_id: UUID, folder: Path) -> None:
    """Let verified candidates come first in this gallery if the rows of the run show a gain."""
    from pinpoint.evaluation.calibration.reordering import CORRECT_M, measure_reordering
    from pinpoint.evaluation.run.rows import read_rows

    gain = measure_reordering(read_rows(folder), services.matching.find_threshold(organization_id))
    if gain is None:
        output.warn("pinpoint: no candidate was compared: the originals cannot be read")
        return
    stored = services.matching.set_reordering(organization_id, reorders=gain.is_gain)
    reorders = gain.is_gain and stored
    order = "come first from now on" if reorders else "do not come first"
    hint = "" if stored or not gain.is_gain else "; `pinpoint calibrate --verification` is needed"
    output.warn(
        f"pinpoint: first candidate within {CORRECT_M:.0f} m of the image: {gain.without:.1%} of "
        f"{gain.num_queries} queries, with verified candidates first {gain.reordered:.1%}. "
        f"Verified candidates {order} (reorders_candidates: {str(reorders).lower()}){hint}"
    )


def write_report(
    folder: Path, calibration: Calibration, max_false_abstention: float
) -> dict[str, Any]:
    """Check the calibration by cross-fitting; writes the report and its figure in the folder."""
    from pinpoint.evaluation.report.self_calibration import report_self_calibration
    from pinpoint.evaluation.run.run_manifest import read_run_manifest

    coverage = calibration.coverage
    return report_self_calibration(
        folder,
        read_run_manifest(folder),
        calibration,
        max_false_abstention=max_false_abstention,
        outside_share=0.0 if coverage is None else coverage.outside_share,
    )


def store_report(session: Session, folder: Path, report: Mapping[str, Any]) -> None:
    """Store the main figures, which the API and the web page show."""
    from pinpoint.evaluation.report.quality_report import make_calibration_report
    from pinpoint.evaluation.run.run_manifest import read_run_manifest

    quality_report = make_calibration_report(report, read_run_manifest(folder)["gallery"]["bundle"])
    with session.services("api") as services:
        organization_id = services.api_keys.caller_for(session.organization).organization_id
        services.quality_reports.add(organization_id, quality_report)


def print_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the report of a self-calibration as tables and sentences."""
    output.print_table(
        "leave-one-out queries",
        ("source kind", "queries", ">number"),
        [
            (kind, name, number)
            for kind, counts in report["queries"].items()
            for name, number in counts.items()
        ],
    )
    rows = [_format_row("all", report["cross_fitted"])]
    rows += [_format_row(kind, summary) for kind, summary in report["by_kind"].items()]
    output.print_table(
        "cross-fitted: each half of the creators with the other half's fit",
        (
            "source kind",
            ">right within 25 km",
            ">stated P(25 km)",
            ">debiased ECE",
            ">90 % regions hold",
            ">uncovered: stated P(25 km)",
            ">correct withheld",
            ">uncovered withheld",
        ),
        rows,
    )
    if report["by_verification"]:
        _print_verification(report["by_verification"])
    points = report["cross_fitted"].get("trade_off", ())
    if points:
        output.print_table(
            "abstention: correct answers lost against uncovered photos withheld",
            (">correct withheld", ">uncovered withheld", ">stated P(25 km) of the others"),
            [
                (
                    f"{point['withheld_correct']:.1%}",
                    f"{point['withheld_uncovered']:.1%}",
                    f"{point['mean_probability_of_answered_uncovered']:.3f}",
                )
                for point in points
            ],
        )
    output.print_line(f"assumed share of photos outside the gallery: {report['outside_share']:.0%}")
    for line in (*report["holds_for"], *report["notes"]):
        output.print_line(line)
    output.print_line(f"report: {folder / 'report.json'}, {folder / 'self-calibration.png'}")


def _print_verification(summaries: Mapping[str, Any]) -> None:
    """Print the figures of verified covered queries and of the others."""
    rows = []
    for name, summary in summaries.items():
        covered = summary["covered"]
        rows.append(
            (
                name,
                covered["queries"],
                f"{covered['accuracy_1_km']:.1%}",
                f"{covered['mean_probability_within_1_km']:.3f}",
                f"{covered['debiased_ece_1_km']:.3f}",
                f"{covered['accuracy_25_km']:.1%}",
                f"{covered['mean_probability_within_25_km']:.3f}",
                f"{covered['debiased_ece']:.3f}",
                f"{covered['abstention_rate']:.1%}",
            )
        )
    output.print_table(
        "covered queries by verification, cross-fitted",
        (
            "best match",
            ">queries",
            ">right within 1 km",
            ">stated P(1 km)",
            ">debiased ECE",
            ">right within 25 km",
            ">stated P(25 km)",
            ">debiased ECE",
            ">withheld",
        ),
        rows,
    )


def _format_row(name: str, summary: Mapping[str, Any]) -> tuple[str, ...]:
    covered, uncovered = summary["covered"], summary.get("uncovered")
    false_abstention = covered["false_abstention_rate"]
    return (
        name,
        f"{covered['accuracy_25_km']:.1%}",
        f"{covered['mean_probability_within_25_km']:.3f}",
        f"{covered['debiased_ece']:.3f}",
        f"{covered['coverage']['0.9']:.1%}",
        "–" if uncovered is None else f"{uncovered['mean_probability_within_25_km']:.3f}",
        "–" if false_abstention is None else f"{false_abstention:.1%}",
        "–" if uncovered is None else f"{uncovered['abstention_rate']:.1%}",
    )
