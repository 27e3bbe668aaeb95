"""Calibration files of a bundle: `calibration-<ranker>.json` next to the contract, with a digest.

The digest is SHA-256 over canonical JSON of the rest, which detects truncated and edited files. A
file also names the contract it was fitted on. With other weights or another rendition size its
numbers are invalid, so the file is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import BadBundleError
from pinpoint.geo.posteriors import FEATURE_NAMES
from pinpoint.records import Calibration, VerificationModel

_MAX_BYTES: Final = 4_000_000
_NAME: Final = re.compile(r"calibration-[a-z0-9_]{1,40}\.json")
_FORMAT: Final = 3
_ADAPTER: Final = TypeAdapter(Calibration)


def calibration_file(ranker: str) -> str:
    """File name of a ranker's calibration in a bundle folder."""
    return f"calibration-{ranker}.json"


def calibration_files(folder: Path) -> list[Path]:
    """Calibration files in a bundle folder, sorted by name."""
    return sorted(path for path in folder.glob("calibration-*.json") if _NAME.fullmatch(path.name))


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write the calibration of one ranker; an older file is replaced atomically.

    Raises:
        BadBundleError: A number is not finite or out of range.
    """
    path = folder / calibration_file(calibration.ranker)
    fields = _to_dict(calibration)
    _require_valid(calibration, str(path))
    text = json.dumps(
        {"format": _FORMAT, "digest": _dict_digest(fields), "calibration": fields},
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    write_atomic(path, text + "\n", durable=True)
    return path


def read_calibrations(folder: Path) -> dict[str, Calibration]:
    """The calibrations of a bundle, by ranker.

    Raises:
        BadBundleError: A file is not a valid output of `write_calibration`.
    """
    calibrations = {}
    for path in calibration_files(folder):
        calibration = _read_calibration(path)
        if path.name != calibration_file(calibration.ranker):
            raise BadBundleError(
                f"{path} calibrates the ranker {calibration.ranker}, but its name says another"
            )
        calibrations[calibration.ranker] = calibration
    return calibrations


def require_fit(
    calibrations: Mapping[str, Calibration], contract: str, reranker: str | None
) -> None:
    """Check that calibrations were fitted on the contract and the reranker with these digests.

    Raises:
        BadBundleError: A calibration was fitted on another one.
    """
    for calibration in calibrations.values():
        if calibration.reranker_digest not in (None, reranker):
            raise BadBundleError(
                f"{calibration_file(calibration.ranker)} was fitted with another reranker "
                f"({calibration.reranker_digest[:16]}…) than this bundle has. Fit it again with "
                "`pinpoint calibrate`, or remove the file; answers are then uncalibrated"
            )
        if calibration.contract_digest != contract:
            raise BadBundleError(
                f"{calibration_file(calibration.ranker)} was fitted on the bundle "
                f"{calibration.bundle} ({calibration.contract_digest[:16]}…), not on this one "
                f"({contract[:16]}…): weights or PINPOINT_MEDIA_RENDITION_PX differ. "
                "Fit it again with `pinpoint calibrate`, or remove the file; "
                "answers are then uncalibrated"
            )


def _read_calibration(path: Path) -> Calibration:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadBundleError(f"{path} is too large for a calibration")
        document = json.loads(path.read_bytes())
        file_format, digest, fields = (
            document["format"],
            document["digest"],
            document["calibration"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadBundleError(f"{path} is not a calibration: {error}") from error
    if file_format != _FORMAT:
        raise BadBundleError(
            f"{path} has format {file_format!r}; this version reads {_FORMAT}. Fit it again with "
            "`pinpoint calibrate`, or remove the file; answers are then uncalibrated"
        )
    if digest != _dict_digest(fields):
        raise BadBundleError(
            f"{path} was changed after it was written: its digest differs. Copy the whole bundle "
            "again, or fit the calibration again with `pinpoint calibrate`"
        )
    try:
        calibration: Calibration = _ADAPTER.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field_path = ".".join(str(part) for part in first["loc"])
        raise BadBundleError(
            f"{path} is not a calibration: {field_path}: {first['msg']}"
        ) from error
    _require_valid(calibration, str(path))
    return calibration


def _require_valid(calibration: Calibration, where: str) -> None:
    """Check the invariants of a fitted calibration.

    Raises:
        BadBundleError: One is violated; the message names it.
    """
    for invariant, holds in _check_results(calibration):
        if not holds:
            raise BadBundleError(f"{where}: {invariant}")


def _check_results(calibration: Calibration) -> Iterator[tuple[str, bool]]:
    yield "it has no stratum `all`", "all" in calibration.strata
    yield (
        "kernels need radii above 0 km",
        min([*calibration.kernels_km, *calibration.background_kernels_km], default=0.0) > 0,
    )
    yield (
        "the abstention threshold is not a probability",
        0.0 <= calibration.abstention.threshold <= 1.0,
    )
    coefficients = calibration.abstention.not_in_gallery_coefficients
    yield (
        "a feature of the coverage model has no coefficient",
        coefficients is None or len(coefficients) == len(FEATURE_NAMES),
    )
    for name, fit in calibration.strata.items():
        temperature = fit.temperature
        yield f"{name}: the temperature must be above 0", 0 < temperature < math.inf
        rising = all(slope > 0 for _, slope in fit.probability_within_km.values())
        yield f"{name}: a probability must increase with the mass", rising
        for shares, radii in (
            (fit.kernel_weights, calibration.kernels_km),
            (fit.background_kernel_weights, calibration.background_kernels_km),
        ):
            valid = len(shares) == len(radii) and min(shares) >= 0
            yield f"{name}: shares must sum to 1", valid and math.isclose(sum(shares), 1.0)
        levels = [*fit.credible_region_levels.values(), *fit.credible_disc_levels.values()]
        yield f"{name}: levels must be in (0, 1]", all(0 < number <= 1 for number in levels)
        finite = all(
            math.isfinite(number)
            for number in (fit.candidate_density_exponent, *fit.outside_candidates_coefficients)
        )
        yield f"{name}: a coefficient is not finite", finite
        yield (
            f"{name}: a feature has no coefficient",
            len(fit.outside_candidates_coefficients) == len(FEATURE_NAMES),
        )
    if calibration.verification is not None:
        yield from _check_verification(calibration, calibration.verification)


def _check_verification(
    calibration: Calibration, model: VerificationModel
) -> Iterator[tuple[str, bool]]:
    yield (
        "verification: an abstention threshold is not a probability",
        0.0 <= model.abstention.threshold <= 1.0,
    )
    yield "verification: a stratum has no fit", set(model.strata) <= set(calibration.strata)
    for name, fit in model.strata.items():
        coefficients = fit.log_odds_within_km
        yield (
            f"{name}: verification has other distances than the probabilities",
            set(coefficients) == set(calibration.strata[name].probability_within_km),
        )
        yield (
            f"{name}: a coefficient of verification is not finite",
            all(math.isfinite(number) for numbers in coefficients.values() for number in numbers),
        )
        yield (
            f"{name}: more inliers must not lower a probability",
            all(min(numbers[1:]) >= 0 for numbers in coefficients.values()),
        )
        levels = [*fit.credible_region_levels.values(), *fit.credible_disc_levels.values()]
        yield f"{name}: levels of verification must be in (0, 1]", all(0 < n <= 1 for n in levels)


def _to_dict(calibration: Calibration) -> Any:
    return _ADAPTER.dump_python(calibration, mode="json")


def _dict_digest(fields: Any) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
