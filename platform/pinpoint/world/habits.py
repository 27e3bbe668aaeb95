"""How two source kinds take pictures: a survey car, and people.

`street` is one camera that moves evenly along roads, in towns and outside them. `photo` is people:
they cluster where there is something to see, take several pictures each, and some of those twice.
A city's pictures are the same whatever other cities a planet has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal

import numpy as np

from pinpoint.geo.points import destination, lat_lon
from pinpoint.records import Point
from pinpoint.world.cities import folder_name
from pinpoint.world.presets import Difficulty, Town
from pinpoint.world.regions import REACH_M, Site
from pinpoint.world.seeds import rng

Kind = Literal["street", "photo"]
Use = Literal["gallery", "query"]

EPOCH: Final = datetime(2024, 3, 1, tzinfo=UTC)
_NUM_LANDMARKS: Final = 5
"""Spots of a city where people go; the first is visited as often as the others together."""
_SEQUENCE_STEP_M: Final = 25.0
_IMAGES_PER_SEQUENCE: Final = 6
_MEAN_PHOTOS_PER_CREATOR: Final = 4
_SHARED_CREATOR_FRACTION: Final = 0.15
"""Share of query authors who also stand in the gallery, as in YFCC4k, where it is 69 %."""
_LANDMARK_SPREAD_M: Final = 1_500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture that is to be made. `name` is unique on the planet and seeds its noise."""

    name: str
    kind: Kind
    use: Use
    site: Site
    point: Point
    heading_deg: float
    taken_at: datetime
    creator: str
    sequence: str | None
    rural: bool = False
    panorama: bool = False
    again: str | None = None
    """The shot that this one repeats a moment later."""

    @property
    def file(self) -> str:
        """Its path below the folder of its kind and use."""
        return f"{folder_name(self.site.city)}/{self.name.rsplit('/', 1)[1]}.jpg"


def generate_shots(seed: int, site: Site, town: Town, habits: Difficulty) -> list[Shot]:
    """All pictures of one city, in a fixed order."""
    all_shots: list[Shot] = []
    all_shots += _generate_sequences(seed, site, "gallery", town.streets, habits)
    all_shots += _generate_sequences(seed, site, "query", town.street_queries, habits)
    landmarks = _choose_landmarks(seed, site)
    all_shots += _generate_photographers(seed, site, landmarks, town, habits)
    return all_shots


def _generate_sequences(
    seed: int, site: Site, use: Use, count: int, habits: Difficulty
) -> Iterator[Shot]:
    """Drives of six pictures, every third one out of town; queries are drives of their own.

    A question is never a panorama: people ask about pictures.
    """
    town = folder_name(site.city)
    for number in range(-(-count // _IMAGES_PER_SEQUENCE)):
        drive = rng(seed, "drive", town, use, number)
        out_of_town = number % 3 == 2
        far_m = drive.uniform(4_000.0, 0.9 * REACH_M) if out_of_town else drive.gamma(2.0, 500.0)
        start = _offset_point(
            site.city.point, drive.uniform(0, 360), min(float(far_m), 0.9 * REACH_M)
        )
        road_deg = float(drive.uniform(0, 360))
        taken = EPOCH + timedelta(
            days=float(drive.uniform(0, 500)), seconds=float(drive.uniform(20_000, 60_000))
        )
        panorama = bool(drive.random() < habits.panoramas) and use == "gallery"
        sequence = f"{town}/{use}-drive-{number:02d}"
        for k in range(min(_IMAGES_PER_SEQUENCE, count - number * _IMAGES_PER_SEQUENCE)):
            yield Shot(
                name=f"{town}/{use}-street-{number:02d}-{k}",
                kind="street",
                use=use,
                site=site,
                point=_offset_point(start, road_deg, k * _SEQUENCE_STEP_M),
                heading_deg=(road_deg + (0.0, 90.0, 0.0, 270.0)[k % 4]) % 360.0,
                taken_at=_to_solar_time_zone(taken + timedelta(seconds=3 * k), site.city.point),
                creator=f"survey {sequence}",
                sequence=sequence,
                rural=out_of_town,
                panorama=panorama,
            )


def _choose_landmarks(seed: int, site: Site) -> list[Point]:
    where = rng(seed, "sights", folder_name(site.city))
    return [
        _offset_point(
            site.city.point,
            float(where.uniform(0, 360)),
            min(float(where.gamma(2.0, _LANDMARK_SPREAD_M / 2)), 0.9 * REACH_M),
        )
        for _ in range(_NUM_LANDMARKS)
    ]


def _generate_photographers(
    seed: int, site: Site, sights: list[Point], town: Town, habits: Difficulty
) -> Iterator[Shot]:
    """Authors, each with about four pictures; some stand on both sides, as gallery and query."""
    name = folder_name(site.city)
    remaining: dict[Use, int] = {"gallery": town.photos, "query": town.photo_queries}
    number = 0
    while any(remaining.values()):
        person = rng(seed, "author", name, number)
        first: Use = "gallery" if remaining["gallery"] else "query"
        both = bool(person.random() < _SHARED_CREATOR_FRACTION) and min(remaining.values()) > 0
        uses: tuple[Use, ...] = ("gallery", "query") if both else (first,)
        for use in uses:
            count = min(1 + int(person.poisson(_MEAN_PHOTOS_PER_CREATOR - 1)), remaining[use])
            remaining[use] -= count
            yield from _generate_photo_set(seed, site, sights, number, use, count, habits)
        number += 1


def _generate_photo_set(
    seed: int,
    site: Site,
    sights: list[Point],
    author: int,
    use: Use,
    count: int,
    habits: Difficulty,
) -> Iterator[Shot]:
    town = folder_name(site.city)
    walk = rng(seed, "album", town, author, use)
    taken = EPOCH + timedelta(
        days=float(walk.uniform(0, 600)), seconds=float(walk.uniform(20_000, 60_000))
    )
    weights = 1.0 / np.arange(1, len(sights) + 1)
    before: Shot | None = None
    for k in range(count):
        name = f"{town}/{use}-photo-{author:03d}-{k}"
        sight = sights[int(walk.choice(len(sights), p=weights / weights.sum()))]
        point = _offset_point(sight, float(walk.uniform(0, 360)), float(abs(walk.normal(0, 60.0))))
        heading_deg = float(walk.uniform(0, 360))
        taken += timedelta(minutes=float(walk.gamma(1.5, 30.0)))
        again = before is not None and bool(walk.random() < habits.near_duplicates)
        if before is not None and again:
            point, heading_deg = before.point, before.heading_deg
        before = Shot(
            name=name,
            kind="photo",
            use=use,
            site=site,
            point=point,
            heading_deg=heading_deg,
            taken_at=_to_solar_time_zone(taken, site.city.point),
            creator=f"{town}-{author:03d}",
            sequence=None,
            again=(before.again or before.name) if before is not None and again else None,
        )
        yield before


def _offset_point(point: Point, bearing_deg: float, distance_m: float) -> Point:
    target = destination(lat_lon([point])[0], bearing_deg, distance_m)
    return Point(lat=float(target[0]), lon=float(target[1]))


def _to_solar_time_zone(moment: datetime, point: Point) -> datetime:
    """As a camera's clock shows it there: the sun's time zone, whole hours."""
    zone = timezone(timedelta(hours=round(point.lon / 15.0)))
    return moment.replace(microsecond=0).astimezone(zone)
