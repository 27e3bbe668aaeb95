"""Manual corrections of many images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args
from uuid import UUID

from pinpoint.records.catalog import ImageUpdate

CorrectionStatus = Literal["updated", "unchanged", "rejected"]
CORRECTION_STATUSES: Final[tuple[CorrectionStatus, ...]] = get_args(CorrectionStatus)
"""`unchanged`: the images have these values already, for example because a request is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCorrection:
    """A manual correction of one image, or of all faces of one file.

    Either `image_id`, or `source` and `external_id` are given.
    """

    image_id: UUID | None = None
    source: str | None = None
    """Name of the source of `external_id`."""
    external_id: str | None = None
    update: ImageUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionResult:
    """Result of one correction."""

    status: CorrectionStatus
    image_ids: tuple[UUID, ...] = ()
    """The images that the correction names; several for a panorama."""
    error_code: str | None = None
    error_message: str | None = None
