"""`pinpoint calibrate`: fits the calibration of a bundle, on held-out photos or on the gallery."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import output, self_calibration
from pinpoint.cli.evaluate import (
    ConcurrencyOption,
    MaxQueriesOption,
    OutOption,
    RankerOption,
    VerifyOption,
)
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import Calibration, VerificationModel
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

_EXAMPLE_INLIERS: Final = (
    ("not verified", 4, False),
    ("not verified", 8, False),
    ("verified", 15, True),
    ("verified", 30, True),
    ("verified", 100, True),
)
"""Rows of the table of verification: name, inliers, and whether they are verified."""

app = typer.Typer()


RunArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Folder of a finished run of `pinpoint evaluate`; not with `--from-gallery` or "
        "`--verification`.",
        show_default=False,
    ),
]
FromGalleryOption = Annotated[
    bool,
    typer.Option(
        "--from-gallery",
        help="Use images of the gallery as queries, each without the images that belong to it; "
        "no labels are needed.",
    ),
]
BundleFolderOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="Folder of the bundle; the default is the bundle of the run."),
]
MaxFalseAbstentionOption = Annotated[
    float,
    typer.Option(
        "--max-false-abstention",
        help="Maximum share of the correct answers that become abstentions, 0 to 1.",
    ),
]
QueryLicenseOption = Annotated[
    str | None,
    typer.Option(
        "--license", help="License of the queries; the default is the license of the protocol."
    ),
]
OutsideShareOption = Annotated[
    float | None,
    typer.Option(
        "--outside-share",
        min=0.0,
        max=0.99,
        help="Assumed share of photos that were taken where the gallery has no image, 0 to 1; the "
        "default is 0.1 with `--from-gallery`, otherwise 0.",
        show_default=False,
    ),
]
UncoveredRadiusOption = Annotated[
    float,
    typer.Option(
        "--uncovered-radius-km",
        min=25.0,
        help="With `--from-gallery`: radius in kilometers around an uncovered query; the images "
        "inside are left out.",
    ),
]
VerificationOption = Annotated[
    bool,
    typer.Option(
        "--verification",
        help="Measure from how many inliers a match of this gallery is verified, on pairs of its "
        "images over 200 m apart.",
    ),
]
FalseMatchRateOption = Annotated[
    float,
    typer.Option(
        "--false-match-rate",
        help="With `--verification`: maximum share of impostor pairs that are verified.",
    ),
]
PairsOption = Annotated[
    int, typer.Option("--pairs", help="With `--verification`: number of impostor pairs.")
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="With `--verification`: seed of the sample.", show_default=False),
]


@app.command()
def calibrate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    run: RunArgument = None,
    from_gallery: FromGalleryOption = False,
    bundle: BundleFolderOption = None,
    max_false_abstention: MaxFalseAbstentionOption = 0.1,
    license: QueryLicenseOption = None,
    outside_share: OutsideShareOption = None,
    uncovered_radius_km: UncoveredRadiusOption = 50.0,
    max_queries: MaxQueriesOption = None,
    ranker: RankerOption = None,
    out: OutOption = None,
    verify: VerifyOption = 0,
    concurrency: ConcurrencyOption = 1,
    verification: VerificationOption = False,
    false_match_rate: FalseMatchRateOption = 0.001,
    num_pairs: PairsOption = 20_000,
    seed: SeedOption = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit probabilities, regions and abstention and store them in the bundle.

    The queries are held-out photos with labels, or images of the gallery. With --verification,
    measure the threshold of geometric verification on the gallery instead.
    """
    session = Session.of(context, org=org, as_json=as_json)
    if [run is not None, from_gallery, verification].count(True) != 1:
        raise BadRequestError("give the folder of a run, `--from-gallery` or `--verification`")
    if verify and not from_gallery:
        raise BadRequestError("`--verify` is an option of `--from-gallery`")
    if verification:
        from pinpoint.cli.calibrate_verification import calibrate_gallery

        calibrate_gallery(session, false_match_rate, num_pairs, seed)
        return
    if run is None:
        options = self_calibration.GalleryRunOptions(
            out=out,
            ranker=ranker,
            max_queries=max_queries or self_calibration.DEFAULT_QUERIES,
            uncovered_radius_km=uncovered_radius_km,
            concurrency=concurrency,
            verify_candidates=verify,
        )
        run = self_calibration.ask_gallery(session, options)
    fit_options = _FitOptions(
        bundle=bundle,
        license=license,
        max_false_abstention=max_false_abstention,
        outside_share=outside_share,
    )
    _calibrate_run(session, run, fit_options, from_gallery=from_gallery)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FitOptions:
    """Options of a fit on the rows of a run."""

    bundle: Path | None
    license: str | None
    max_false_abstention: float
    outside_share: float | None


def _calibrate_run(
    session: Session, run: Path, options: _FitOptions, *, from_gallery: bool
) -> None:
    """Fit the calibration of a run, store it in the bundle and print it."""
    from pinpoint.evaluation.calibration.fit import fit_calibration

    calibration = fit_calibration(
        run,
        license=options.license,
        max_false_abstention=options.max_false_abstention,
        outside_share=options.outside_share,
    )
    path = _store_calibration(calibration, options.bundle)
    report: dict[str, Any] = {}
    if from_gallery:
        report = self_calibration.write_report(run, calibration, options.max_false_abstention)
        self_calibration.store_report(session, run, report)
    if session.as_json:
        report_fields = {"report": report} if from_gallery else {}
        output.print_json({"file": str(path), **_to_dict(calibration), **report_fields})
        return
    _print_calibration(path, calibration)
    if from_gallery:
        self_calibration.print_report(run, report)


def _store_calibration(calibration: Calibration, bundle: Path | None) -> Path:
    """Write a calibration into its bundle; returns the file.

    Raises:
        BadRequestError: The folder contains another bundle.
    """
    from pinpoint.nets.bundle.bundles import read_bundle
    from pinpoint.nets.bundle.calibrations import write_calibration
    from pinpoint.nets.bundle.digests import digest, public_contract

    settings = load_settings()
    rendition_px = settings.media.rendition_px
    folder = _find_bundle_folder(calibration.contract_digest, bundle, settings)
    contract = read_bundle(folder).contract
    if digest(contract, rendition_px) != calibration.contract_digest:
        raise BadRequestError(
            f"the run used the bundle {calibration.bundle} ({calibration.contract_digest[:16]}…), "
            f"but {folder} is another bundle"
        )
    # Checked before it is written: a bundle with an invalid calibration cannot be loaded at all.
    public_contract(contract, rendition_px, {calibration.ranker: calibration})
    return write_calibration(folder, calibration)


def _find_bundle_folder(contract: str, bundle: Path | None, settings: Settings) -> Path:
    """Folder of the bundle with a contract; a bundle of the package is first copied to the home."""
    from pinpoint.nets.bundle.bundles import (
        BUNDLES_FOLDER,
        SHIPPED_FOLDER,
        copy_bundle,
        resolve_bundle,
    )
    from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME

    if bundle is not None:
        return bundle
    home = settings.services.home
    name = resolve_bundle(contract, home, settings.media.rendition_px, settings.encoder.bundle)
    if name == DESCRIPTOR_NAME:
        raise BadRequestError("the descriptor has no folder, so it cannot store a calibration")
    folder = Path(name)
    if folder.parent == SHIPPED_FOLDER:
        copy_bundle(folder, home / BUNDLES_FOLDER / folder.name)
        return home / BUNDLES_FOLDER / folder.name
    return folder


def _to_dict(calibration: Calibration) -> dict[str, Any]:
    return {
        "ranker": calibration.ranker,
        "bundle": calibration.bundle,
        "num_creators": calibration.num_creators,
        "data": calibration.data,
        "license": calibration.license,
        "strata": {
            name: {
                "num_queries": fit.num_queries,
                "num_creators": fit.num_creators,
                "temperature": fit.temperature,
                "credible_region_levels": dict(fit.credible_region_levels),
                "credible_disc_levels": dict(fit.credible_disc_levels),
            }
            for name, fit in calibration.strata.items()
        },
        "abstention": {
            "signal": calibration.abstention.signal,
            "threshold": calibration.abstention.threshold,
            "false_abstention_rate": calibration.abstention.false_abstention_rate,
            "abstention_rate_in_gallery": calibration.abstention.abstention_rate_in_gallery,
            "abstention_rate_not_in_gallery": calibration.abstention.abstention_rate_not_in_gallery,
        },
        "coverage": None
        if calibration.coverage is None
        else {
            "outside_share": calibration.coverage.outside_share,
            "num_queries": calibration.coverage.num_queries,
        },
        "verification": None
        if calibration.verification is None
        else {
            "verify_candidates": calibration.verification.verify_candidates,
            "num_queries": calibration.verification.num_queries,
            "num_verified": calibration.verification.num_verified,
            "threshold": calibration.verification.abstention.threshold,
        },
        "note": calibration.note,
    }


def _print_calibration(path: Path, calibration: Calibration) -> None:
    output.print_line(f"{path}: ranker {calibration.ranker} on bundle {calibration.bundle}")
    rows = [
        (
            name,
            fit.num_queries,
            fit.num_creators,
            f"{fit.temperature:.2f}",
            *(f"{fit.credible_region_levels[share]:.3f}" for share in ("0.5", "0.9")),
            *(f"{fit.credible_disc_levels[share]:.3f}" for share in ("0.5", "0.9")),
        )
        for name, fit in calibration.strata.items()
    ]
    head = ("stratum", ">queries", ">creators", ">temperature")
    levels = (">mass of 50 % region", ">of 90 % region", ">of 50 % disc", ">of 90 % disc")
    output.print_table(None, (*head, *levels), rows)
    abstention = calibration.abstention
    output.print_line(
        f"abstains if {abstention.signal} is above {abstention.threshold:.3f}: "
        f"{abstention.false_abstention_rate:.1%} of the correct answers, "
        f"{abstention.abstention_rate_in_gallery:.1%} of covered queries"
        + (
            ""
            if abstention.abstention_rate_not_in_gallery is None
            else f", {abstention.abstention_rate_not_in_gallery:.1%} of uncovered queries"
        )
    )
    if calibration.verification is not None:
        _print_verification(calibration.verification)
    output.print_line(calibration.note)
    output.print_line("restart a running stack to use it: pinpoint down && pinpoint up")


def _print_verification(model: VerificationModel) -> None:
    """Print what verification changes: factors of the odds, and the abstention threshold."""
    fit = model.strata["all"]
    rows = []
    for name, inliers, verified in _EXAMPLE_INLIERS:
        features = (1.0, math.log1p(inliers), float(verified))
        factors = (
            math.exp(sum(map(operator.mul, fit.log_odds_within_km[km], features)))
            for km in ("1", "25")
        )
        rows.append((name, inliers, *(f"{factor:.2f}" for factor in factors)))
    output.print_table(
        f"verification of {model.verify_candidates} candidates: factor of the odds of the answer",
        ("candidates", ">inliers", ">within 1 km", ">within 25 km"),
        rows,
    )
    output.print_line(
        f"with compared candidates, abstains if {model.abstention.signal} is above "
        f"{model.abstention.threshold:.3f}; {model.num_verified} of {model.num_queries} queries "
        "were verified"
    )
