"""Response schemas of geometric verification: inliers, thresholds and matches."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.records import ImageMatch, TransformModel, VerificationStatus, VerificationThreshold


class VerificationOut(BaseModel):
    """Comparison of the query photo with one gallery image by local features."""

    inliers: int = Field(description="Correspondences that agree on one geometry.")
    spread: float = Field(
        description="Share of the image that the inliers cover, the smaller one of both images."
    )
    verified: bool = Field(description="Whether the match passes the `verification_threshold`.")
    false_match_rate: float | None = Field(
        description="Share of impostor pairs of this gallery with a match at least as good; null "
        "if it was not measured."
    )
    status: VerificationStatus = Field(
        description="`matched`: verified. `not_matched`: compared, not verified. `no_texture`: an "
        "image has too few key points. `image_unavailable`: the original of the gallery image "
        "cannot be read. `time_budget_used`: not compared within the time limit of the request."
    )

    @classmethod
    def of(cls, match: ImageMatch | None) -> VerificationOut | None:
        """Convert the verification of an image; None if it was not to be compared."""
        if match is None:
            return None
        verification = match.verification
        return cls(
            inliers=verification.inliers,
            spread=verification.spread,
            verified=verification.verified,
            false_match_rate=verification.false_match_rate,
            status=verification.status,
        )


class VerificationThresholdOut(BaseModel):
    """Inliers and spread from which a match is verified."""

    min_inliers: int
    min_spread: float
    false_match_rate: float | None = Field(
        description="Share of impostor pairs of this gallery that pass; null if not measured."
    )
    calibrated: bool = Field(
        description="Whether it was measured on impostor pairs of this gallery; otherwise it is a "
        "conservative default."
    )

    @classmethod
    def of(cls, threshold: VerificationThreshold | None) -> VerificationThresholdOut | None:
        """Convert the threshold; None if nothing was to be compared."""
        if threshold is None:
            return None
        return cls(
            min_inliers=threshold.min_inliers,
            min_spread=threshold.min_spread,
            false_match_rate=threshold.false_match_rate,
            calibrated=threshold.calibrated,
        )


class MatchOut(BaseModel):
    """Positions of the inliers of the query photo and one gallery image."""

    image_id: UUID
    photo: int = Field(
        description="Number of the query photo with this match, from 0; equal photos count once."
    )
    model: TransformModel | None = Field(description="Geometry that the inliers agree on.")
    query_width_px: int = Field(
        description="Size that `query_points` refer to: the query photo, or its crop, reduced."
    )
    query_height_px: int
    image_width_px: int = Field(
        description="Size that `image_points` refer to: the gallery image, reduced."
    )
    image_height_px: int
    query_points: list[tuple[float, float]] = Field(
        description="x and y of each inlier in the query photo, from its top left corner."
    )
    image_points: list[tuple[float, float]] = Field(
        description="x and y of each inlier in the gallery image, in the same order."
    )

    @classmethod
    def of(cls, image_id: UUID, compared: ImageMatch) -> MatchOut | None:
        """Convert the match of an image; None if the image was not compared."""
        match = compared.match
        if match is None:
            return None
        return cls(
            image_id=image_id,
            photo=compared.photo,
            model=match.model,
            query_width_px=compared.query_size_px[0],
            query_height_px=compared.query_size_px[1],
            image_width_px=compared.image_size_px[0],
            image_height_px=compared.image_size_px[1],
            query_points=match.query_points.tolist(),
            image_points=match.image_points.tolist(),
        )
