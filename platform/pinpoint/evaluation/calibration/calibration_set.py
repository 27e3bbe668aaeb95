"""The answered queries of a run that a calibration is fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags, Floats
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.run.rows import read_decision_features, read_rows
from pinpoint.metrics.conformal import sample_one_per_creator
from pinpoint.records import QueryFeatures

CALIBRATION_ROLES: Final = ("calibration", "null-train")
"""Roles of a planet's queries that are used for fitting; all other queries are for tests."""
CALIBRATION_SEED: Final = 20261121
_FEATURE_NAMES: Final = {feature.name for feature in fields(QueryFeatures)}


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSet:
    """N answered queries of the calibration split."""

    features: Sequence[QueryFeatures]
    ground_truth: Floats
    """`[N, 2]`."""
    creators: Sequence[str | None]
    in_gallery: Flags
    """`[N]`: the labels do not mark the query as outside the gallery."""

    @classmethod
    def of_rows(cls, answered: Sequence[tuple[QueryFeatures, Mapping[str, Any]]]) -> CalibrationSet:
        """Queries from their features and their stored rows."""
        return cls(
            [features for features, _ in answered],
            np.array([(row["lat"], row["lon"]) for _, row in answered]),
            [row["creator"] for _, row in answered],
            np.array([row["strata"].get("covered") != "false" for _, row in answered]),
        )

    def select(self, rows: NDArray[np.intp]) -> CalibrationSet:
        """A subset of the queries."""
        return CalibrationSet(
            [self.features[row] for row in rows],
            self.ground_truth[rows],
            [self.creators[row] for row in rows],
            self.in_gallery[rows],
        )

    def sample_creators(self) -> CalibrationSet:
        """One query of each creator; a query without a creator counts as a separate creator."""
        return self.select(sample_one_per_creator(self.creators, CALIBRATION_SEED))

    def count_creators(self) -> int:
        """Number of creators; a photo without a creator counts as a separate creator."""
        return len(sample_one_per_creator(self.creators, CALIBRATION_SEED))


def read_calibration_set(folder: Path, run: Mapping[str, Any], arm: str) -> CalibrationSet:
    """The answered queries of the calibration split.

    Raises:
        BadRequestError: The run is unfinished, was made by a version without calibrations, or has
            no answered query.
    """
    answered, rows = [], 0
    for row in read_rows(folder):
        rows += 1
        answer = row["arms"].get(arm)
        if (
            answer is None
            or row["strata"].get("role", CALIBRATION_ROLES[0]) not in CALIBRATION_ROLES
        ):
            continue
        if "features" not in answer or set(answer["features"] or _FEATURE_NAMES) != _FEATURE_NAMES:
            raise BadRequestError(
                f"{folder} was made by an earlier version: evaluate again in a new folder"
            )
        if answer["features"] is not None:
            answered.append((read_decision_features(answer["features"]), row))
    if rows < run["labels"]["evaluated"]:
        raise BadRequestError(
            f"{folder} has {rows} of {run['labels']['evaluated']} rows: finish the run first"
        )
    if not answered:
        raise BadRequestError(
            f"{folder} has no answered query of the calibration split (role {CALIBRATION_ROLES[0]})"
        )
    return CalibrationSet.of_rows(answered)
