"""Options that select gallery images, the same in all commands that search or list them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import ids
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.area_files import read_area
from pinpoint.cli.option_values import check_exists, check_kinds, parse_numbers
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
CountryOption = Annotated[
    list[str],
    typer.Option(
        "--country",
        metavar="CODE",
        help="Use only images in this country: ISO 3166-1 alpha-2, such as `FR`; may be repeated.",
    ),
]
AreaOption = Annotated[
    Path | None,
    typer.Option(
        "--area",
        metavar="FILE",
        help="Use only images inside the polygons of this file: GeoJSON, or another vector format "
        "such as GeoPackage or Shapefile.",
    ),
]
CreatorFilterOption = Annotated[
    list[str],
    typer.Option("--creator", help="Use only images of this creator; may be repeated."),
]
SequenceFilterOption = Annotated[
    list[str],
    typer.Option("--sequence", help="Use only images of this sequence; may be repeated."),
]
CameraFilterOption = Annotated[
    list[str],
    typer.Option("--camera", help="Use only images of this camera; may be repeated."),
]
AttributeFilterOption = Annotated[
    list[str],
    typer.Option(
        "--attribute",
        metavar="NAME=VALUE",
        help="Use only images with this value of an attribute; may be repeated: all must be equal.",
    ),
]
StateFilterOption = Annotated[
    list[str],
    typer.Option(
        "--state",
        help="Use only images in this state: `pending`, `indexed` or `failed`; may be repeated.",
    ),
]
FileNameFilterOption = Annotated[
    str | None,
    typer.Option(
        "--file-name",
        help="Use only images with this file name; quote the wildcards `*` and `?`.",
    ),
]

_OPEN_ENDS: Final = ("..", "")
_INTERVAL_FORMAT: Final = (
    "START/END with times of RFC 3339 or `..`, such as 2024-05-01T00:00:00Z/.."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Checked values of the filter options that all commands share.

    Args:
        source_kinds: Source kinds; empty for all.
        sources: Names or ids of sources, or the first digits of ids; empty for all.
        center: Latitude and longitude in degrees.
        radius_m: Radius around `center`; given if `center` is given.
        bbox: Minimum longitude, minimum latitude, maximum longitude, maximum latitude in degrees.
        area: File with polygons.
        interval: Time or closed interval of OGC APIs.
    """

    source_kinds: list[str]
    sources: list[str]
    center: tuple[float, float] | None
    radius_m: float | None
    bbox: str | None
    area: Path | None
    interval: str | None

    def to_parameters(self, client: ApiClient) -> dict[str, Any]:
        """Convert to request parameters of a query; `client` completes ids of sources.

        Raises:
            BadRequestError: The first digits of an id match several sources, or the file of the
                area cannot be read.
        """
        return {
            "source_kinds": self.source_kinds,
            "sources": [ids.find_source(client, source) for source in self.sources],
            **self._to_spatiotemporal_parameters(),
        }

    def to_image_parameters(self, client: ApiClient) -> dict[str, Any]:
        """Convert to request parameters of a list or export; as `to_parameters`."""
        return {
            "source_kind": self.source_kinds,
            "source": [ids.find_source(client, source) for source in self.sources],
            **self._to_spatiotemporal_parameters(),
        }

    def _to_spatiotemporal_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "bbox": self.bbox,
            "polygon": None if self.area is None else read_area(self.area),
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
    area: Path | None,
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
    if area is not None:
        check_exists(area)
    if interval is not None:
        _check_interval(interval)
    return FilterOptions(
        source_kinds=source_kinds,
        sources=sources,
        center=point,
        radius_m=radius_m,
        bbox=bbox,
        area=area,
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
