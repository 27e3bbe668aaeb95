"""`pinpoint calibrate --verification`: measures the verification threshold of a gallery."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pinpoint.cli import output
from pinpoint.cli.session import Session
from pinpoint.evaluation.calibration.impostor_pairs import sample_gallery_images
from pinpoint.evaluation.calibration.verification_threshold import (
    NUM_IMAGES,
    SEED,
    ThresholdOptions,
    calibrate_verification,
)
from pinpoint.nets.matching.threshold_files import write_threshold
from pinpoint.records import VerificationCalibration
from pinpoint.stack.paths import StackPaths

_STAGE_LABELS: Final = {"features": "reading images", "pairs": "matching impostor pairs"}
_LISTED_STRUCTURES: Final = 10
_LISTED_RATES: Final = 5
"""Rates that are printed from the threshold on."""


def calibrate_gallery(
    session: Session, false_match_rate: float, num_pairs: int, seed: int | None
) -> None:
    """Measure the threshold of the organization's gallery, write it into the home and print it."""
    options = ThresholdOptions(
        false_match_rate=false_match_rate, num_pairs=num_pairs, seed=SEED if seed is None else seed
    )
    bar, task = output.open_progress_bar(_STAGE_LABELS["features"])

    def show_progress(stage: str, completed: int, total: int, /) -> None:
        bar.update(task, description=_STAGE_LABELS[stage], completed=completed, total=max(total, 1))

    with session.services() as services:
        organization_id = session.find_organization(services).id
        with services.database.read(organization_id) as catalog:
            images = sample_gallery_images(catalog, NUM_IMAGES, options.seed)
        with bar:
            calibration = calibrate_verification(
                organization_id,
                images,
                services.verifier.pixels,
                services.matching,
                options,
                show_progress,
            )
        folder = StackPaths(services.settings.services.home).verification_dir
    path = write_threshold(folder, calibration)
    if session.as_json:
        output.print_json({"file": str(path), **_to_dict(calibration)})
    else:
        _print_calibration(path, calibration)


def _to_dict(calibration: VerificationCalibration) -> dict[str, Any]:
    return {
        **asdict(calibration),
        "organization_id": str(calibration.organization_id),
        "repeated_structures": [
            {**asdict(match), "image_ids": [str(image_id) for image_id in match.image_ids]}
            for match in calibration.repeated_structures
        ],
    }


def _print_calibration(path: Path, calibration: VerificationCalibration) -> None:
    threshold = calibration.threshold
    low, high = calibration.rate_interval
    output.print_line(f"{path}: verification threshold of the gallery")
    output.print_table(
        None,
        ("threshold", ">value"),
        [
            ("minimum inliers", threshold.min_inliers),
            ("minimum spread", f"{threshold.min_spread:g}"),
            ("stated false-match rate", f"{threshold.false_match_rate or 0:g}"),
            ("measured false-match rate", f"{calibration.measured_rate:.2g}"),
            ("95 % interval", f"{low:.2g} to {high:.2g}"),
            ("impostor pairs", calibration.num_pairs),
            ("images", calibration.num_images),
            ("panoramas and sequences", calibration.num_groups),
            ("images that could not be read", calibration.num_unavailable),
            ("images without texture", calibration.num_without_texture),
        ],
    )
    rates = threshold.impostor_rates
    listed = range(6, min(len(rates), threshold.min_inliers + _LISTED_RATES))
    output.print_table(
        "false-match rate by minimum number of inliers (upper end of the 95 % interval)",
        (">inliers", ">rate"),
        [(inliers, f"{rates[inliers]:.2g}") for inliers in listed],
    )
    if calibration.repeated_structures:
        output.print_table(
            "repeated structures: images far from each other that match",
            ("image", "image", ">distance, m", ">inliers", ">spread"),
            [
                (*match.image_ids, f"{match.distance_m:.0f}", match.inliers, f"{match.spread:.2f}")
                for match in calibration.repeated_structures[:_LISTED_STRUCTURES]
            ],
        )
    output.print_line(
        f"verified: {threshold.min_inliers} inliers or more that cover {threshold.min_spread:.1%} "
        "of both images. It holds for this gallery and this matcher; a running stack uses it from "
        "the next query. Then run `pinpoint calibrate --from-gallery --verify 8`, so that "
        "probabilities use it"
    )
