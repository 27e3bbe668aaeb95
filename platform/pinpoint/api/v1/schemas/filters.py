"""Response schemas of the filters that a query applied."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.geo.countries import BORDERS_SOURCE, find_country
from pinpoint.records import SearchFilter


class CountryFilterOut(BaseModel):
    """A country of the filter, and the error of its area."""

    code: str = Field(description="ISO 3166-1 alpha-2.", examples=["FR"])
    name: str
    reach_km: float = Field(
        description="The area reaches at most this far beyond the border (measured at its corners, "
        "error 2 km): a margin of 5 km for photos at the coast, and simplification."
    )
    borders: str = Field(description="Source of the borders.")


class CircleOut(BaseModel):
    """A circle of the filter."""

    lat: float
    lon: float
    radius_m: float


class FiltersOut(BaseModel):
    """Filters of a query, as they were applied; null or empty is no restriction."""

    source_kinds: list[str]
    source_ids: list[UUID]
    circle: CircleOut | None
    bbox: tuple[float, float, float, float] | None = Field(
        description="Minimum longitude, minimum latitude, maximum longitude, maximum latitude."
    )
    num_polygons: int
    countries: list[CountryFilterOut]
    captured_after: datetime | None
    captured_before: datetime | None = Field(description="Exclusive.")

    @classmethod
    def of(cls, search_filter: SearchFilter) -> FiltersOut:
        """Convert the filter of a query."""
        circle, box = search_filter.circle, search_filter.box
        return cls(
            source_kinds=list(search_filter.source_kinds),
            source_ids=list(search_filter.source_ids),
            circle=circle
            and CircleOut(lat=circle.center.lat, lon=circle.center.lon, radius_m=circle.radius_m),
            bbox=box and (box.west, box.south, box.east, box.north),
            num_polygons=len(search_filter.polygons),
            countries=[
                CountryFilterOut(
                    code=country.code,
                    name=country.name,
                    reach_km=country.reach_km,
                    borders=BORDERS_SOURCE,
                )
                for country in map(find_country, search_filter.countries)
            ],
            captured_after=search_filter.captured_after,
            captured_before=search_filter.captured_before,
        )
