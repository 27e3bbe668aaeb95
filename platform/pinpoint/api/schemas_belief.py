"""Wire forms of calibrated probabilities: how sure an answer is, and where else it may be."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, Field

from pinpoint.geo.points import to_lon_lat
from pinpoint.records import Answer, Area, Belief

_DECIMALS: Final = 7
"""Of degrees: about a centimetre."""


UNCALIBRATED: Final = (
    "Radii hold a share of the vote mass; they are not calibrated on held-out photos, "
    "so do not read them as probabilities"
)


def calibration_note(answer: Answer) -> str:
    """What the probabilities promise, or why there are none."""
    why = answer.believed.note
    return why if answer.calibrated else f"{UNCALIBRATED}{why and f': {why}'}."


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
        """Flip to GeoJSON's order."""
        return cls(
            probability=area.share,
            level=area.level,
            area_km2=area.area_km2,
            geometry=MultiPolygonOut(
                coordinates=[
                    [[_place(*to_lon_lat(point)) for point in ring] for ring in polygon]
                    for polygon in area.polygons
                ]
            ),
        )


class WithinOut(BaseModel):
    """Probability that the photo was taken near the answer's point."""

    radius_km: float = Field(examples=[25])
    probability: float


class BeliefOut(BaseModel):
    """What calibrated probabilities say."""

    within: list[WithinOut]
    areas: list[AreaOut]
    elsewhere: float = Field(description="Probability of a place near none of the candidates.")
    unsupported: float | None = Field(
        description="Probability that the gallery holds nothing within 25 km of the photo, where "
        "the calibration knows such photos; photos with and without support being equally likely "
        "beforehand."
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
            elsewhere=belief.elsewhere,
            unsupported=belief.unsupported,
            stratum=belief.stratum,
        )


def _place(lon: float, lat: float) -> tuple[float, float]:
    return round(lon, _DECIMALS), round(lat, _DECIMALS)
