"""Options that select gallery images, the same in all commands that search or list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import ids
from pinpoint.cli.option_values import check_kinds, check_time_option, parse_numbers
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
        help="Use only images captured from START until before END, in ISO 8601; `..` is an open "
        "end.",
    ),
]

_OPEN_ENDS: Final = ("..", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Checked values of the filter options of `locate` and `similar`.

    Args:
        source_kinds: Source kinds; empty for all.
        sources: Names or ids of sources, or the first digits of ids; empty for all.
        center: Latitude and longitude in degrees.
        radius_m: Radius around `center`; given if `center` is given.
        bbox: Minimum longitude, minimum latitude, maximum longitude, maximum latitude in degrees.
        start: First capture time, ISO 8601.
        end: End of the capture times, ISO 8601; not included.
    """

    source_kinds: list[str]
    sources: list[str]
    center: tuple[float, float] | None
    radius_m: float | None
    bbox: str | None
    start: str | None
    end: str | None

    def to_parameters(self, client: Client) -> dict[str, Any]:
        """Convert to request parameters; `client` completes ids of sources.

        Raises:
            BadRequestError: The first digits of an id match several sources.
        """
        parameters: dict[str, Any] = {
            "kinds": self.source_kinds,
            "sources": [ids.find_source(client, source) for source in self.sources],
            "bbox": self.bbox,
            "since": self.start,
            "until": self.end,
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
    datetime_interval: str | None,
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
    start, end = _parse_interval(datetime_interval)
    return FilterOptions(
        source_kinds=source_kinds,
        sources=sources,
        center=point,
        radius_m=radius_m,
        bbox=bbox,
        start=start,
        end=end,
    )


def _parse_interval(interval: str | None) -> tuple[str | None, str | None]:
    """Parse an interval of OGC APIs; None is an open end."""
    if interval is None:
        return None, None
    start, slash, end = interval.partition("/")
    if not slash:
        raise BadRequestError(
            f"--datetime must be START/END, such as 2024-05-01/2024-06-01 or 2024-05-01/.., "
            f"not {interval!r}"
        )
    bounds = [None if bound in _OPEN_ENDS else bound for bound in (start, end)]
    for bound in bounds:
        check_time_option("START and END of --datetime", bound)
    return bounds[0], bounds[1]
