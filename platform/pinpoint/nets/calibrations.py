"""Calibrations on disk: `calibration-<ranker>.json` beside a bundle's contract, with its digest.

The digest is SHA-256 over canonical JSON of all the rest, so a file that was cut off or edited by
hand is known. A file also names the contract that it was fitted on: beside other weights, or with
renditions of another size, its numbers would mean nothing, and it is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pinpoint.errors import BadBundle
from pinpoint.geo.posteriors import FEATURE_NAMES
from pinpoint.records import Calibration

_MAX_BYTES: Final = 4_000_000
_NAME: Final = re.compile(r"calibration-[a-z0-9_]{1,40}\.json")
_FORMAT: Final = 2
_ADAPTER: Final = TypeAdapter(Calibration)


def calibration_file(ranker: str) -> str:
    """Name of a ranker's file in the folder of a bundle."""
    return f"calibration-{ranker}.json"


def calibration_files(folder: Path) -> list[Path]:
    """The files there are, by name."""
    return sorted(path for path in folder.glob("calibration-*.json") if _NAME.fullmatch(path.name))


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write a bundle's calibration for one ranker; it takes an older one's place whole.

    Raises:
        BadBundle: A number in it is not finite or out of range.
    """
    path = folder / calibration_file(calibration.ranker)
    plain = _plain(calibration)
    _check(calibration, str(path))
    text = json.dumps(
        {"format": _FORMAT, "digest": _digest(plain), "calibration": plain},
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    part = path.with_name(f".{path.name}.part")
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)
    return path


def read_calibrations(folder: Path) -> dict[str, Calibration]:
    """The calibrations of a bundle by ranker.

    Raises:
        BadBundle: A file is not as `write_calibration` leaves it.
    """
    found = {}
    for path in calibration_files(folder):
        calibration = _read(path)
        if path.name != calibration_file(calibration.ranker):
            raise BadBundle(
                f"{path} calibrates the ranker {calibration.ranker}, not what its name says"
            )
        found[calibration.ranker] = calibration
    return found


def check_fits(
    calibrations: Mapping[str, Calibration], contract: str, reranker: str | None
) -> None:
    """Whether calibrations were fitted on the contract and the reranker of these digests.

    Raises:
        BadBundle: One was fitted on another.
    """
    for each in calibrations.values():
        if each.weights not in (None, reranker):
            raise BadBundle(
                f"{calibration_file(each.ranker)} was fitted with another reranker "
                f"({each.weights[:16]}…) than lies beside it. Fit it again with `pinpoint "
                "calibrate`, or remove the file; answers are then uncalibrated"
            )
        if each.contract != contract:
            raise BadBundle(
                f"{calibration_file(each.ranker)} was fitted on the bundle {each.bundle} "
                f"({each.contract[:16]}…), not on this one ({contract[:16]}…): weights or "
                "PINPOINT_MEDIA_RENDITION_PX are others. Fit it again with `pinpoint calibrate`, "
                "or remove the file; answers are then uncalibrated"
            )


def _read(path: Path) -> Calibration:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadBundle(f"{path} is too large for a calibration")
        said = json.loads(path.read_bytes())
        held, digest, plain = said["format"], said["digest"], said["calibration"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadBundle(f"{path} is no calibration: {error}") from error
    if held != _FORMAT:
        raise BadBundle(
            f"{path} has format {held!r}; this version reads {_FORMAT}. Fit it again with "
            "`pinpoint calibrate`, or remove the file; answers are then uncalibrated"
        )
    if digest != _digest(plain):
        raise BadBundle(
            f"{path} is not as it was written: its digest is another. Copy the bundle again, "
            "whole, or fit it again with `pinpoint calibrate`"
        )
    try:
        calibration: Calibration = _ADAPTER.validate_python(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadBundle(f"{path} is no calibration: {place}: {first['msg']}") from error
    _check(calibration, str(path))
    return calibration


def _check(calibration: Calibration, where: str) -> None:
    """Refuse numbers that no fit leaves.

    Raises:
        BadBundle: There is one; the message names it.
    """
    for name, good in _promises(calibration):
        if not good:
            raise BadBundle(f"{where}: {name}")


def _promises(of: Calibration) -> Iterator[tuple[str, bool]]:
    yield "it has no stratum `all`", "all" in of.strata
    yield "kernels need radii above 0 km", min([*of.kernels_km, *of.elsewhere_km], default=0.0) > 0
    yield "the threshold of abstention is no probability", 0.0 <= of.abstention.above <= 1.0
    doubt = of.abstention.unsupported
    yield (
        "a signal of the doubt has no coefficient",
        doubt is None or len(doubt) == len(FEATURE_NAMES),
    )
    for name, fit in of.strata.items():
        temperature = fit.temperature
        yield f"{name}: the temperature must be above 0", 0 < temperature < math.inf
        rising = all(slope > 0 for _, slope in fit.within.values())
        yield f"{name}: a probability must rise with the mass", rising
        for shares, radii in (
            (fit.kernel_shares, of.kernels_km),
            (fit.elsewhere_shares, of.elsewhere_km),
        ):
            fine = len(shares) == len(radii) and min(shares) >= 0
            yield f"{name}: shares must sum to 1", fine and math.isclose(sum(shares), 1.0)
        levels = [*fit.region_levels.values(), *fit.radius_levels.values()]
        yield f"{name}: levels lie in (0, 1]", all(0 < each <= 1 for each in levels)
        finite = all(math.isfinite(each) for each in (fit.crowding, *fit.elsewhere))
        yield f"{name}: a coefficient is not finite", finite
        yield f"{name}: a signal has no coefficient", len(fit.elsewhere) == len(FEATURE_NAMES)


def _plain(calibration: Calibration) -> Any:
    return _ADAPTER.dump_python(calibration, mode="json")


def _digest(plain: Any) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
