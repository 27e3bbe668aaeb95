"""`pinpoint calibrate`: fits the calibration of a bundle on a run with held-out photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, OrganizationOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import Calibration
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings

app = typer.Typer()


@app.command()
def calibrate(  # noqa: PLR0913 - options of a command
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a finished run of `pinpoint evaluate`; not with --verification.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", help="Folder of the bundle; the default is the bundle of the run."
        ),
    ] = None,
    max_false_abstention: Annotated[
        float,
        typer.Option(
            "--max-false-abstention",
            help="Maximum share of the correct answers that become abstentions, 0 to 1.",
        ),
    ] = 0.1,
    license: Annotated[
        str | None,
        typer.Option(
            "--license", help="License of the queries; the default is the license of the protocol."
        ),
    ] = None,
    verification: Annotated[
        bool,
        typer.Option(
            "--verification",
            help="Measure from how many inliers a match of this gallery is verified, on pairs of "
            "its images over 200 m apart.",
        ),
    ] = False,
    false_match_rate: Annotated[
        float,
        typer.Option(
            "--false-match-rate",
            help="With --verification: maximum share of impostor pairs that are verified.",
        ),
    ] = 0.001,
    pairs: Annotated[
        int, typer.Option("--pairs", help="With --verification: number of impostor pairs.")
    ] = 10_000,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --verification: seed of the sample.")
    ] = None,
    org: OrganizationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit probabilities, regions and abstention on held-out photos and store them in the bundle.

    With --verification: measure the threshold of geometric verification on this gallery.
    """
    session = Session.of(context, org=org, as_json=as_json)
    if verification == (run is not None):
        raise typer.BadParameter("give either the folder of a run or --verification")
    if run is None:
        from pinpoint.cli.calibrate_verification import calibrate_gallery
        from pinpoint.evaluation.calibration.verification_threshold import SEED, ThresholdOptions

        options = ThresholdOptions(
            false_match_rate=false_match_rate,
            num_pairs=pairs,
            seed=SEED if seed is None else seed,
        )
        calibrate_gallery(session, options)
        return
    _calibrate_run(session, run, bundle, max_false_abstention, license)


def _calibrate_run(
    session: Session,
    run: Path,
    bundle: Path | None,
    max_false_abstention: float,
    license: str | None,
) -> None:
    """Fit the calibration of a run and store it in the bundle."""
    from pinpoint.evaluation.calibration.fit import fit_calibration as fit
    from pinpoint.nets.bundle.bundles import read_bundle
    from pinpoint.nets.bundle.calibrations import write_calibration
    from pinpoint.nets.bundle.digests import digest, public_contract

    settings = load_settings()
    rendition_px = settings.media.rendition_px
    calibration = fit(run, license=license, max_false_abstention=max_false_abstention)
    folder = _find_bundle_folder(calibration.contract_digest, bundle, settings)
    contract = read_bundle(folder).contract
    if digest(contract, rendition_px) != calibration.contract_digest:
        raise BadRequestError(
            f"the run used the bundle {calibration.bundle} ({calibration.contract_digest[:16]}…), "
            f"but {folder} is another bundle"
        )
    # Checked before it is written: a bundle with an invalid calibration cannot be loaded at all.
    public_contract(contract, rendition_px, {calibration.ranker: calibration})
    path = write_calibration(folder, calibration)
    if session.as_json:
        output.print_json({"file": str(path), **_to_dict(calibration)})
        return
    _print_calibration(path, calibration)


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
    levels = (">area 50 %", ">area 90 %", ">disc 50 %", ">disc 90 %")
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
    output.print_line(calibration.note)
    output.print_line("restart a running stack to use it: pinpoint down && pinpoint up")
