"""How two source kinds take pictures: the habits of a survey car and of people.

`street` is one camera moving evenly along a road; `photo` is people, who cluster before what is
worth a picture, zoom, crop and colour. Picture `k` of a place is the same whatever else is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import numpy as np

from pinpoint.records import Point
from pinpoint.world.photographs import Label
from pinpoint.world.places import Place, move, rng
from pinpoint.world.rendering import View, Weather

_EPOCH: Final = datetime(2024, 3, 1, tzinfo=UTC)
_STREET_STEP_M: Final = 5.0
_SHAPES_PX: Final = ((192, 144), (192, 144), (144, 192), (176, 176))
_PHONES: Final = (("Halide", "H3"), ("Orlo", "One"), ("Nikkai", "D90"), ("Kestrel", "K5"))
_AUTHORS: Final = ("ada", "bo", "chidi", "dana", "emre", "fen", "gita", "hugo", "ines", "jun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture to be made."""

    name: str
    place: Place
    view: View
    weather: Weather
    label: Label
    sequence: str | None = None

    @property
    def point(self) -> Point:
        """Where the camera stands."""
        return move(self.place.point, east_m=self.view.east_m, north_m=self.view.north_m)


def street(seed: int, spot: Place, count: int, *, panorama: bool) -> Iterator[Shot]:
    """A car drives the road through the place and looks ahead, right, back and left in turn."""
    drive = rng(seed, "drive", spot.name)
    start = _EPOCH + timedelta(days=float(drive.uniform(0, 300)), hours=float(drive.uniform(0, 4)))
    light, cloud = float(drive.uniform(0.85, 1.05)), float(drive.uniform(0, 0.5))
    road = np.radians(spot.look.road_bearing_deg)
    for k in range(count):
        along = (k - (count - 1) / 2) * min(_STREET_STEP_M, 1.4 * spot.look.radius_m / count)
        wide = panorama and k == 0
        view = View(
            east_m=float(along * np.sin(road)),
            north_m=float(along * np.cos(road)),
            heading_deg=(spot.look.road_bearing_deg + 90 * (k % 4)) % 360,
            width_px=768 if wide else 192,
            height_px=384 if wide else 144,
            projection="equirectangular" if wide else "perspective",
        )
        label = Label(
            taken_at=_local(start + timedelta(seconds=2 * k), spot.point),
            make="Wegmeter",
            camera="SV-360" if wide else "SV-4",
            artist="demo street survey",
            focal_35_mm=18,
            point=move(spot.point, east_m=view.east_m, north_m=view.north_m),
            heading_deg=view.heading_deg,
            altitude_m=2.0,
            panorama=wide,
        )
        yield Shot(
            name=f"{spot.name}/street-{k:02d}.jpg",
            place=spot,
            view=view,
            weather=Weather(light=light, cloud=cloud, grain=0.012),
            label=label,
            sequence=f"drive-{spot.name}",
        )


def photos(seed: int, spot: Place, count: int, what: str) -> Iterator[Shot]:
    """People stand around the middle; most look towards the tower."""
    for k in range(count):
        person = rng(seed, what, spot.name, k)
        author = _AUTHORS[int(person.integers(len(_AUTHORS)))]
        away = person.normal(0, 6.0, 2).clip(-14, 14)
        towards = spot.look.tower_bearing_deg + float(person.normal(0, 35))
        heading = towards if person.random() < 0.65 else float(person.uniform(0, 360))
        width, height = _SHAPES_PX[int(person.integers(len(_SHAPES_PX)))]
        fov = float(person.uniform(50, 85)) * min(1.0, width / height)
        taken = _EPOCH + timedelta(days=float(person.uniform(0, 600)), hours=7)
        make, camera = _PHONES[_AUTHORS.index(author) % len(_PHONES)]
        cast = person.normal(1.0, 0.03, 3).clip(0.9, 1.1)
        view = View(
            east_m=float(away[0]),
            north_m=float(away[1]),
            heading_deg=heading % 360,
            width_px=width,
            height_px=height,
            fov_deg=fov,
            horizon=float(person.uniform(0.42, 0.66)),
        )
        yield Shot(
            name=f"{spot.name}/{what}-{k:02d}.jpg",
            place=spot,
            view=view,
            weather=Weather(
                light=float(person.uniform(0.85, 1.1)),
                cloud=float(person.beta(1.2, 2.5)),
                cast=(float(cast[0]), float(cast[1]), float(cast[2])),
                grain=float(person.uniform(0.005, 0.02)),
            ),
            label=Label(
                taken_at=_local(taken, spot.point),
                make=make,
                camera=camera,
                artist=author,
                focal_35_mm=round(18 / float(np.tan(np.radians(fov / 2)))),
                point=move(spot.point, east_m=view.east_m, north_m=view.north_m),
                heading_deg=view.heading_deg,
            ),
        )


def unseen(seed: int, spots: Sequence[Place], count: int) -> Iterator[Shot]:
    """Photos like those of the gallery, by nobody in it; spread over the places."""
    for k in range(count):
        spot = spots[k * max(1, len(spots) // max(1, count)) % len(spots)]
        shot = list(photos(seed, spot, k // len(spots) + 1, "query"))[-1]
        yield replace(shot, name=f"query-{k:02d}.jpg")


def _local(moment: datetime, point: Point) -> datetime:
    """Solar time zone: whole hours by longitude."""
    return moment.replace(microsecond=0).astimezone(
        timezone(timedelta(hours=round(point.lon / 15)))
    )
