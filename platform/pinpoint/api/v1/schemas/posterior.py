"""Response schemas of the posterior: probabilities and credible regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import shapely
from pydantic import BaseModel, Field
from shapely import Polygon

from pinpoint.geo.hdr import contains_positions, outline_boxes
from pinpoint.records import Answer, CredibleRegion, Posterior

_DEGREE_DECIMALS: Final = 7
"""Decimals of coordinates in degrees: about one centimeter."""


UNCALIBRATED: Final = (
    "Radii contain a share of the ranker's weights; they are not calibrated on held-out photos, "
    "so do not read them as probabilities"
)


def describe_calibration(answer: Answer) -> str:
    """Describe the calibration, or the reason for its absence."""
    reason = answer.calibrated_result.note
    return reason if answer.calibrated else f"{UNCALIBRATED}{reason and f': {reason}'}."


class CredibleDiscOut(BaseModel):
    """A disc around the answer that contains the photo's position with this probability."""

    probability: float = Field(
        examples=[0.9], description="Share of the ranker's weights if the answer is not calibrated."
    )
    radius_m: float


class MultiPolygonOut(BaseModel):
    """A GeoJSON MultiPolygon (RFC 7946): longitude first, cut at the antimeridian."""

    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: list[list[list[tuple[float, float]]]]


class CredibleRegionOut(BaseModel):
    """Highest-density region that contains the photo's position with the stated probability."""

    probability: float = Field(examples=[0.9])
    level: float = Field(
        description="Posterior mass of the region that reaches this coverage on held-out photos "
        "(split-conformal)."
    )
    area_km2: float
    geometry: MultiPolygonOut

    @classmethod
    def of(cls, region: CredibleRegion) -> CredibleRegionOut:
        """Convert a region; its boxes are merged to polygons."""
        return cls(
            probability=region.probability,
            level=region.level,
            area_km2=region.area_km2,
            geometry=MultiPolygonOut(coordinates=merge_boxes(region.boxes)),
        )


class ProbabilityWithinOut(BaseModel):
    """Probability that the photo was taken within a radius of the answer's point."""

    radius_km: float = Field(examples=[25])
    probability: float


class NameOut(BaseModel):
    """The most probable country, region or city."""

    level: Literal["country", "region", "city"]
    name: str = Field(examples=["Paris, Ile-de-France, FR"])
    probability: float = Field(description="Posterior mass of the candidates in it.")


class PosteriorOut(BaseModel):
    """Calibrated posterior of an answer."""

    probability_within_km: list[ProbabilityWithinOut]
    credible_regions: list[CredibleRegionOut]
    names: list[NameOut] = Field(description="Determined by the nearest GeoNames city.")
    p_outside_candidates: float = Field(
        description="Probability that the photo is near none of the candidates."
    )
    p_not_in_gallery: float | None = Field(
        description="Probability that the gallery has no image within 25 km of the photo, with a "
        "prior of 0.5 against a correct answer; null if the calibration has no such photos."
    )
    calibration_group: str = Field(
        description="Calibration group: `all`, or a query kind in a sparse or dense gallery.",
        examples=["photo, dense"],
    )

    @classmethod
    def of(cls, posterior: Posterior) -> PosteriorOut:
        """Convert the posterior, without point and discs, which each answer has."""
        return cls(
            probability_within_km=[
                ProbabilityWithinOut(radius_km=radius_km, probability=probability)
                for radius_km, probability in posterior.probability_within_km.items()
            ],
            credible_regions=[
                CredibleRegionOut.of(region) for region in posterior.credible_regions
            ],
            names=[
                NameOut.model_validate(
                    {"level": name.level, "name": name.name, "probability": name.probability}
                )
                for name in posterior.names
            ],
            p_outside_candidates=posterior.p_outside_candidates,
            p_not_in_gallery=posterior.p_not_in_gallery,
            calibration_group=posterior.stratum,
        )


def merge_boxes(
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[list[list[tuple[float, float]]]]:
    """Merge boxes to polygons, as coordinates of a MultiPolygon (RFC 7946)."""
    # Uses only the borders: a union of hundreds of boxes is slower than their computation.
    box_array = np.array(boxes).reshape(-1, 4)
    lines = shapely.linestrings(outline_boxes(box_array)[..., ::-1])
    faces = shapely.get_parts(shapely.polygonize(lines))
    inside = contains_positions(
        box_array, shapely.get_coordinates(shapely.point_on_surface(faces))[:, ::-1]
    )
    return list_polygon_coordinates(faces[inside].tolist())


def list_polygon_coordinates(
    polygons: Sequence[Polygon],
) -> list[list[list[tuple[float, float]]]]:
    """Return MultiPolygon coordinates: exteriors counterclockwise, holes clockwise (3.1.6)."""
    return [
        [
            [
                (round(lon, _DEGREE_DECIMALS), round(lat, _DEGREE_DECIMALS))
                for lon, lat in ring.coords
            ]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in shapely.orient_polygons(polygons, exterior_cw=False).tolist()
    ]
