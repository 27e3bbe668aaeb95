"""Capture patterns of the two source kinds: a survey car, and people.

`street` is a camera that moves at equal steps along roads, in cities and outside of them. `photo`
is people: they cluster at landmarks and take several images each, some of them twice.
The images of a city do not depend on the other cities of the planet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal

import numpy as np

from pinpoint.geo.points import destination, lat_lon
from pinpoint.records import Point, SourceKind
from pinpoint.synthetic.cities import folder_name
from pinpoint.synthetic.presets import Difficulty, LocalityCounts
from pinpoint.synthetic.regions import REACH_M, Site
from pinpoint.synthetic.seeds import rng

Use = Literal["gallery", "query"]

EPOCH: Final = datetime(2024, 3, 1, tzinfo=UTC)
_NUM_LANDMARKS: Final = 5
"""Number of landmarks per city; landmark k is visited with weight 1/k."""
_SEQUENCE_STEP_M: Final = 25.0
_IMAGES_PER_SEQUENCE: Final = 6
_MEAN_PHOTOS_PER_CREATOR: Final = 4
_SHARED_CREATOR_FRACTION: Final = 0.15
"""Share of query creators who are also in the gallery; in YFCC4k it is 69 %."""
_LANDMARK_SPREAD_M: Final = 1_500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One image to render. `name` is unique on the planet and seeds its noise."""

    name: str
    kind: SourceKind
    use: Use
    site: Site
    point: Point
    heading_deg: float
    taken_at: datetime
    creator: str
    sequence: str | None
    rural: bool = False
    panorama: bool = False
    near_duplicate_of: str | None = None
    """Name of the shot that this one nearly duplicates."""

    @property
    def file(self) -> str:
        """Path relative to the folder of its kind and use."""
        return f"{folder_name(self.site.city)}/{self.name.rsplit('/', 1)[1]}.jpg"


def generate_shots(
    seed: int, site: Site, counts: LocalityCounts, difficulty: Difficulty
) -> list[Shot]:
    """All shots of one city, in a fixed order."""
    all_shots: list[Shot] = []
    all_shots += _generate_sequences(seed, site, "gallery", counts.streets, difficulty)
    all_shots += _generate_sequences(seed, site, "query", counts.street_queries, difficulty)
    landmarks = _choose_landmarks(seed, site)
    all_shots += _generate_photographers(seed, site, landmarks, counts, difficulty)
    return all_shots


def _generate_sequences(
    seed: int, site: Site, use: Use, count: int, difficulty: Difficulty
) -> Iterator[Shot]:
    """Sequences of six images, every third one rural; queries have separate sequences.

    A query is never a panorama, because people query perspective images.
    """
    city_name = folder_name(site.city)
    for number in range(-(-count // _IMAGES_PER_SEQUENCE)):
        draws = rng(seed, "drive", city_name, use, number)
        is_rural = number % 3 == 2
        distance_m = draws.uniform(4_000.0, 0.9 * REACH_M) if is_rural else draws.gamma(2.0, 500.0)
        start = _offset_point(
            site.city.point, draws.uniform(0, 360), min(float(distance_m), 0.9 * REACH_M)
        )
        road_deg = float(draws.uniform(0, 360))
        taken_at = EPOCH + timedelta(
            days=float(draws.uniform(0, 500)), seconds=float(draws.uniform(20_000, 60_000))
        )
        panorama = bool(draws.random() < difficulty.panoramas) and use == "gallery"
        sequence = f"{city_name}/{use}-drive-{number:02d}"
        for k in range(min(_IMAGES_PER_SEQUENCE, count - number * _IMAGES_PER_SEQUENCE)):
            yield Shot(
                name=f"{city_name}/{use}-street-{number:02d}-{k}",
                kind="street",
                use=use,
                site=site,
                point=_offset_point(start, road_deg, k * _SEQUENCE_STEP_M),
                heading_deg=(road_deg + (0.0, 90.0, 0.0, 270.0)[k % 4]) % 360.0,
                taken_at=_to_solar_time_zone(taken_at + timedelta(seconds=3 * k), site.city.point),
                creator=f"survey {sequence}",
                sequence=sequence,
                rural=is_rural,
                panorama=panorama,
            )


def _choose_landmarks(seed: int, site: Site) -> list[Point]:
    draws = rng(seed, "sights", folder_name(site.city))
    return [
        _offset_point(
            site.city.point,
            float(draws.uniform(0, 360)),
            min(float(draws.gamma(2.0, _LANDMARK_SPREAD_M / 2)), 0.9 * REACH_M),
        )
        for _ in range(_NUM_LANDMARKS)
    ]


def _generate_photographers(
    seed: int, site: Site, landmarks: list[Point], counts: LocalityCounts, difficulty: Difficulty
) -> Iterator[Shot]:
    """Creators with about four images each; some have images in both gallery and queries."""
    name = folder_name(site.city)
    remaining: dict[Use, int] = {"gallery": counts.photos, "query": counts.photo_queries}
    number = 0
    while any(remaining.values()):
        draws = rng(seed, "author", name, number)
        first: Use = "gallery" if remaining["gallery"] else "query"
        shared = bool(draws.random() < _SHARED_CREATOR_FRACTION) and min(remaining.values()) > 0
        uses: tuple[Use, ...] = ("gallery", "query") if shared else (first,)
        for use in uses:
            count = min(1 + int(draws.poisson(_MEAN_PHOTOS_PER_CREATOR - 1)), remaining[use])
            remaining[use] -= count
            yield from _generate_photo_set(seed, site, landmarks, number, use, count, difficulty)
        number += 1


def _generate_photo_set(
    seed: int,
    site: Site,
    landmarks: list[Point],
    creator_number: int,
    use: Use,
    count: int,
    difficulty: Difficulty,
) -> Iterator[Shot]:
    city_name = folder_name(site.city)
    draws = rng(seed, "album", city_name, creator_number, use)
    taken_at = EPOCH + timedelta(
        days=float(draws.uniform(0, 600)), seconds=float(draws.uniform(20_000, 60_000))
    )
    weights = 1.0 / np.arange(1, len(landmarks) + 1)
    previous: Shot | None = None
    for k in range(count):
        name = f"{city_name}/{use}-photo-{creator_number:03d}-{k}"
        landmark = landmarks[int(draws.choice(len(landmarks), p=weights / weights.sum()))]
        point = _offset_point(
            landmark, float(draws.uniform(0, 360)), float(abs(draws.normal(0, 60.0)))
        )
        heading_deg = float(draws.uniform(0, 360))
        taken_at += timedelta(minutes=float(draws.gamma(1.5, 30.0)))
        repeats = previous is not None and bool(draws.random() < difficulty.near_duplicates)
        if previous is not None and repeats:
            point, heading_deg = previous.point, previous.heading_deg
        previous = Shot(
            name=name,
            kind="photo",
            use=use,
            site=site,
            point=point,
            heading_deg=heading_deg,
            taken_at=_to_solar_time_zone(taken_at, site.city.point),
            creator=f"{city_name}-{creator_number:03d}",
            sequence=None,
            near_duplicate_of=(
                (previous.near_duplicate_of or previous.name)
                if previous is not None and repeats
                else None
            ),
        )
        yield previous


def _offset_point(point: Point, bearing_deg: float, distance_m: float) -> Point:
    target = destination(lat_lon([point])[0], bearing_deg, distance_m)
    return Point(lat=float(target[0]), lon=float(target[1]))


def _to_solar_time_zone(moment: datetime, point: Point) -> datetime:
    """Local time of a camera: the solar time zone in whole hours."""
    zone = timezone(timedelta(hours=round(point.lon / 15.0)))
    return moment.replace(microsecond=0).astimezone(zone)
