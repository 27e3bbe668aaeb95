"""Wire forms of calibrated probabilities: how sure an answer is, and where else it may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import shapely
from pydantic import BaseModel, Field

from pinpoint.geo.areas import borders, holds
from pinpoint.records import Answer, Area, Belief

_DEGREE_DECIMALS: Final = 7
"""Of degrees: about a centimetre."""


UNCALIBRATED: Final = (
    "Radii hold a share of the ranker's mass; they are not calibrated on held-out photos, "
    "so do not read them as probabilities"
)


def calibration_note(answer: Answer) -> str:
    """What the probabilities promise, or why there are none."""
    reason = answer.believed.note
    return reason if answer.calibrated else f"{UNCALIBRATED}{reason and f': {reason}'}."


class RegionOut(BaseModel):
    """A disc around the answer: holds a share of the vote mass; calibrated, the truth so often."""

    mass: float = Field(examples=[0.9])
    radius_m: float


class MultiPolygonOut(BaseModel):
    """A GeoJSON MultiPolygon (RFC 7946): longitude first, cut at the antimeridian."""

    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: list[list[list[tuple[float, float]]]]


class AreaOut(BaseModel):
    """The densest places that together hold the photo's place with the stated probability."""

    probability: float = Field(examples=[0.9])
    level: float = Field(
        description="The mass that the area had to claim so that it holds as often as it says, on "
        "held-out photos (split-conformal)."
    )
    area_km2: float
    geometry: MultiPolygonOut

    @classmethod
    def of(cls, area: Area) -> AreaOut:
        """Its boxes joined."""
        return cls(
            probability=area.share,
            level=area.level,
            area_km2=area.area_km2,
            geometry=MultiPolygonOut(coordinates=outlines(area.boxes)),
        )


class WithinOut(BaseModel):
    """Probability that the photo was taken near the answer's point."""

    radius_km: float = Field(examples=[25])
    probability: float


class NameOut(BaseModel):
    """The likeliest country, region or city."""

    level: Literal["country", "region", "city"]
    name: str = Field(examples=["Paris, Ile-de-France, FR"])
    probability: float = Field(description="Mass of the candidates that lie there.")


class BeliefOut(BaseModel):
    """What calibrated probabilities say."""

    within: list[WithinOut]
    areas: list[AreaOut]
    names: list[NameOut] = Field(description="By the nearest city of GeoNames.")
    elsewhere: float = Field(description="Probability of a place near none of the candidates.")
    unsupported: float | None = Field(
        description="Probability that the gallery holds nothing within 25 km of the photo, where "
        "the calibration knows such photos, and not that the answer is right; both being equally "
        "likely beforehand."
    )
    stratum: str = Field(
        description="Whose numbers were used: `all`, or a kind in a sparse or dense gallery.",
        examples=["photo, dense"],
    )

    @classmethod
    def of(cls, belief: Belief) -> BeliefOut:
        """Everything but point and discs, which every answer has."""
        return cls(
            within=[
                WithinOut(radius_km=radius_km, probability=probability)
                for radius_km, probability in belief.within.items()
            ],
            areas=[AreaOut.of(area) for area in belief.areas],
            names=[
                NameOut.model_validate(
                    {"level": name.level, "name": name.name, "probability": name.probability}
                )
                for name in belief.names
            ],
            elsewhere=belief.elsewhere,
            unsupported=belief.unsupported,
            stratum=belief.stratum,
        )


def outlines(
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[list[list[tuple[float, float]]]]:
    """Boxes joined to polygons: outer rings against the clock, holes with it (RFC 7946, 3.1.6)."""
    # From their borders alone: to unite hundreds of boxes takes longer than to find them.
    box_array = np.array(boxes).reshape(-1, 4)
    lines = shapely.linestrings(borders(box_array)[..., ::-1])
    faces = shapely.get_parts(shapely.polygonize(lines))
    inside = holds(box_array, shapely.get_coordinates(shapely.point_on_surface(faces))[:, ::-1])
    polygons = shapely.orient_polygons(faces[inside], exterior_cw=False)
    return [
        [
            [
                (round(lon, _DEGREE_DECIMALS), round(lat, _DEGREE_DECIMALS))
                for lon, lat in ring.coords
            ]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in polygons.tolist()
    ]
