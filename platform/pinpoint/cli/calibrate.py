"""`pinpoint calibrate`: fits the calibration of a bundle on a run with held-out photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pinpoint.cli import output
from pinpoint.cli.session import JsonOption, Session
from pinpoint.errors import BadRequestError
from pinpoint.records import Calibration
from pinpoint.settings import Settings

app = typer.Typer()


@app.command()
def calibrate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of `pinpoint evaluate`.")],
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
    as_json: JsonOption = False,
) -> None:
    """Fit probabilities, regions and abstention on held-out photos and store them in the bundle."""
    from pinpoint.evaluation.calibration.fit import fit_calibration as fit
    from pinpoint.nets.bundle.bundles import read_bundle
    from pinpoint.nets.bundle.calibrations import write_calibration
    from pinpoint.nets.bundle.digests import digest, public_contract

    session = Session.of(context, as_json=as_json)
    settings = Settings.from_environment()
    rendition_px = settings.media.rendition_px
    calibration = fit(run, license=license, withheld=max_false_abstention)
    folder = _find_bundle_folder(calibration.contract, bundle, settings)
    contract = read_bundle(folder).contract
    if digest(contract, rendition_px) != calibration.contract:
        raise BadRequestError(
            f"the run used the bundle {calibration.bundle} ({calibration.contract[:16]}…), "
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
    home = settings.places.home
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
        "authors": calibration.authors,
        "data": calibration.data,
        "license": calibration.license,
        "strata": {
            name: {
                "rows": fit.rows,
                "authors": fit.authors,
                "temperature": fit.temperature,
                "region_levels": dict(fit.region_levels),
                "radius_levels": dict(fit.radius_levels),
            }
            for name, fit in calibration.strata.items()
        },
        "abstention": {
            "signal": calibration.abstention.signal,
            "above": calibration.abstention.above,
            "right_share": calibration.abstention.right_share,
            "supported_share": calibration.abstention.supported_share,
            "unsupported_share": calibration.abstention.unsupported_share,
        },
        "note": calibration.note,
    }


def _print_calibration(path: Path, calibration: Calibration) -> None:
    output.print_line(f"{path}: ranker {calibration.ranker} on bundle {calibration.bundle}")
    rows = [
        (
            name,
            fit.rows,
            fit.authors,
            f"{fit.temperature:.2f}",
            *(f"{fit.region_levels[share]:.3f}" for share in ("0.5", "0.9")),
            *(f"{fit.radius_levels[share]:.3f}" for share in ("0.5", "0.9")),
        )
        for name, fit in calibration.strata.items()
    ]
    head = ("stratum", ">queries", ">authors", ">temperature")
    levels = (">area 50 %", ">area 90 %", ">disc 50 %", ">disc 90 %")
    output.print_table(None, (*head, *levels), rows)
    abstention = calibration.abstention
    output.print_line(
        f"abstains if {abstention.signal} is above {abstention.above:.3f}: "
        f"{abstention.right_share:.1%} of the correct answers, "
        f"{abstention.supported_share:.1%} of covered queries"
        + (
            ""
            if abstention.unsupported_share is None
            else f", {abstention.unsupported_share:.1%} of uncovered queries"
        )
    )
    output.print_line(calibration.note)
    output.print_line("restart a running stack to use it: pinpoint down && pinpoint up")
