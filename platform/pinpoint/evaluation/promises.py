"""Whether confidence is worth something: reliability, abstention, what knows its own errors.

Letters: N rows, as in `measures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.metrics.abstention import abstention_auroc, risk_curve
from pinpoint.metrics.calibration import reliability as binned
from pinpoint.metrics.geolocation import within

if TYPE_CHECKING:
    from pinpoint.evaluation.measures import Measured

_CITY_KM: Final = 25.0

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def reliability_at(of: Measured, threshold_km: float, rows: Flags) -> dict[str, Any] | None:
    """Reliability bins of the mass within a threshold; None where none is stated."""
    if of.mass_within is None:
        return None
    right = within(of.error_km[rows], threshold_km, of.convention)
    found = binned(of.mass_within[threshold_km][rows], right, of.clusters[rows])
    return {
        "ece": found.ece,
        "debiased_ece": found.debiased_ece,
        "stated": found.stated,
        "bins": [
            {"rows": one.rows, "confidence": one.confidence, "accuracy": one.accuracy}
            for one in found.bins
        ],
    }


def confidence(of: Measured, mass_within: Mapping[float, Floats], rows: Flags) -> dict[str, Any]:
    """What the share of the mass near the answer is worth as a confidence."""
    found: dict[str, Any] = {}
    for threshold_km, mass in mass_within.items():
        right = within(of.error_km[rows], threshold_km, of.convention)
        found[f"{threshold_km:g}"] = {
            "reliability": reliability_at(of, threshold_km, rows),
            "auroc_right": abstention_auroc(mass[rows], right),
            "aurc": risk_curve(mass[rows], (~right).astype(np.float64)).aurc,
        }
        covered = _covered(of, rows)
        if covered is not None:
            found[f"{threshold_km:g}"]["auroc_covered"] = abstention_auroc(mass[rows], covered)
    return found


def abstention(of: Measured, rows: Flags) -> dict[str, Any]:
    """What is withheld, of photos that the labels call covered and of the others."""
    withheld, doubt = of.withheld[rows], of.unsupported[rows]
    right = within(of.error_km[rows], _CITY_KM, of.convention)
    found: dict[str, Any] = {
        "withheld": float(withheld.mean()),
        "right_of_answered": float(right[~withheld].mean()) if not withheld.all() else None,
        "right_of_withheld": float(right[withheld].mean()) if withheld.any() else None,
    }
    covered = _covered(of, rows)
    if covered is not None:
        found["withheld_of_covered"] = float(withheld[covered].mean())
        found["withheld_of_uncovered"] = float(withheld[~covered].mean())
        found["auroc_uncovered"] = abstention_auroc(doubt, ~covered)
    return found


def _covered(of: Measured, rows: Flags) -> Flags | None:
    """Which photos the labels call covered; None unless both sorts are there."""
    said = [own.get("covered") for own, wanted in zip(of.strata, rows, strict=True) if wanted]
    if set(said) != {"true", "false"}:
        return None
    return np.array([each == "true" for each in said], dtype=np.bool_)
