"""Options that select gallery images, the same in all commands that search or list them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import ids
from pinpoint.cli.option_values import check_kinds, parse_numbers
from pinpoint.client import Client
from pinpoint.errors import BadRequestError

SourceKindFilterOption = Annotated[
    list[str],
    typer.Option(
        "--source-kind",
        metavar="KIND",
        help="Use only images of this source kind, `photo` or `street`; may be repeated.",
    ),
]
SourceFilterOption = Annotated[
    list[str],
    typer.Option(
        "--in-source",
        metavar="SOURCE",
        help="Use only images of this source, by name or id; may be repeated.",
    ),
]
CenterOption = Annotated[
    str | None,
    typer.Option(
        "--center",
        metavar="LAT,LON",
        help="Use only images within --radius of this point: latitude and longitude in degrees.",
    ),
]
RadiusOption = Annotated[
    float | None,
    typer.Option("--radius", metavar="M", help="Radius around --center in meters."),
]
BboxOption = Annotated[
    str | None,
    typer.Option(
        "--bbox",
        metavar="MINLON,MINLAT,MAXLON,MAXLAT",
        help="Use only images in this box: minimum longitude, minimum latitude, maximum "
        "longitude, maximum latitude in degrees, in the order of OGC APIs.",
    ),
]
DatetimeOption = Annotated[
    str | None,
    typer.Option(
        "--datetime",
        metavar="START/END",
        help="Use only images captured in this interval, START and END included: times of RFC "
        "3339 or `..` for an open end.",
    ),
]

_OPEN_ENDS: Final = ("..", "")
_INTERVAL_FORMAT: Final = (
    "START/END with times of RFC 3339 or `..`, such as 2024-05-01T00:00:00Z/.."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Checked values of the filter options of `locate` and `similar`.

    Args:
        source_kinds: Source kinds; empty for all.
        sources: Names or ids of sources, or the first digits of ids; empty for all.
        center: Latitude and longitude in degrees.
        radius_m: Radius around `center`; given if `center` is given.
        bbox: Minimum longitude, minimum latitude, maximum longitude, maximum latitude in degrees.
        interval: Time or closed interval of OGC APIs.
    """

    source_kinds: list[str]
    sources: list[str]
    center: tuple[float, float] | None
    radius_m: float | None
    bbox: str | None
    interval: str | None

    def to_parameters(self, client: Client) -> dict[str, Any]:
        """Convert to request parameters; `client` completes ids of sources.

        Raises:
            BadRequestError: The first digits of an id match several sources.
        """
        parameters: dict[str, Any] = {
            "source_kinds": self.source_kinds,
            "sources": [ids.find_source(client, source) for source in self.sources],
            "bbox": self.bbox,
            "datetime": self.interval,
        }
        if self.center is not None:
            lat, lon = self.center
            parameters |= {"lat": lat, "lon": lon, "radius_m": self.radius_m}
        return parameters


def read_filter_options(
    *,
    source_kinds: list[str],
    sources: list[str],
    center: str | None,
    radius_m: float | None,
    bbox: str | None,
    interval: str | None,
) -> FilterOptions:
    """Check the filter options before a request is sent.

    Raises:
        BadRequestError: An option has an invalid value, or --center and --radius are not combined.
    """
    check_kinds("--source-kind", source_kinds)
    if (center is None) != (radius_m is None):
        raise BadRequestError("--center and --radius must be given together")
    point = None
    if center is not None:
        lat, lon = parse_numbers("--center", center, "LAT,LON")
        point = (lat, lon)
    if bbox is not None:
        parse_numbers("--bbox", bbox, "MINLON,MINLAT,MAXLON,MAXLAT")
    if interval is not None:
        _check_interval(interval)
    return FilterOptions(
        source_kinds=source_kinds,
        sources=sources,
        center=point,
        radius_m=radius_m,
        bbox=bbox,
        interval=interval,
    )


def _check_interval(interval: str) -> None:
    """Check a `datetime` of OGC APIs: a time, or START/END with at most one open end."""
    bounds = interval.split("/")
    if len(bounds) > 2 or all(bound in _OPEN_ENDS for bound in bounds):
        raise BadRequestError(f"--datetime must be {_INTERVAL_FORMAT}, not {interval!r}")
    for bound in bounds:
        if bound not in _OPEN_ENDS and not _is_time_with_zone(bound):
            raise BadRequestError(f"--datetime must be {_INTERVAL_FORMAT}, not {interval!r}")


def _is_time_with_zone(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
