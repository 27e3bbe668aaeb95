"""Request and response schemas of corrections of many images."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pinpoint.api.v1.schemas.catalog import ImageUpdateIn, Text
from pinpoint.records import CorrectionResult, CorrectionStatus, ImageCorrection

MAX_METADATA_ROWS = 1_000
"""Maximum number of rows of one request, which is one transaction."""


class ImageMetadataRowIn(ImageUpdateIn):
    """A correction of one image by its id, or of all faces of a file by source and external id."""

    id: UUID | None = Field(default=None, description="Id of the image.")
    source: Text | None = Field(
        default=None, description="Name of the source of `external_id`.", examples=["trips"]
    )
    external_id: Annotated[str, Field(min_length=1, max_length=1_000)] | None = Field(
        default=None, description="External id; requires source.", examples=["trips/a.jpg"]
    )

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if (self.source is None) != (self.external_id is None):
            raise ValueError("source and external_id must be given together")
        if (self.id is None) == (self.external_id is None):
            raise ValueError("give either id, or source and external_id")
        return self

    def correction(self) -> ImageCorrection:
        """Convert to the catalog's record."""
        return ImageCorrection(
            image_id=self.id,
            source=self.source,
            external_id=self.external_id,
            update=self.record(),
        )


class ImageMetadataIn(BaseModel):
    """Corrections of images."""

    model_config = ConfigDict(extra="forbid")

    rows: list[ImageMetadataRowIn] = Field(min_length=1, max_length=MAX_METADATA_ROWS)


class CorrectionOut(BaseModel):
    """Result of one row."""

    model_config = ConfigDict(from_attributes=True)

    status: CorrectionStatus = Field(
        description="`unchanged`: the images have these values already. `rejected`: nothing was "
        "changed."
    )
    image_ids: list[UUID] = Field(description="Images of the row; several for a panorama.")
    error_code: str | None
    error_message: str | None


class ImageMetadataOut(BaseModel):
    """Results in the order of the rows; `updated + unchanged + rejected` is their number."""

    results: list[CorrectionOut]
    updated: int
    unchanged: int
    rejected: int

    @classmethod
    def of(cls, results: list[CorrectionResult]) -> ImageMetadataOut:
        """Convert the results and count them."""
        statuses = [result.status for result in results]
        return cls(
            results=[CorrectionOut.model_validate(result) for result in results],
            updated=statuses.count("updated"),
            unchanged=statuses.count("unchanged"),
            rejected=statuses.count("rejected"),
        )
