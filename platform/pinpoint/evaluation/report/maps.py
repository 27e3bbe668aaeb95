"""Maps in degrees: answers and ground truths on a basemap of cities.

Nothing is downloaded: one dot per GeoNames city shows inhabited land.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pinpoint.evaluation.report.plotting import BLUE, VERMILION, new_figure, save_figure
from pinpoint.geo.distance import great_circle
from pinpoint.geo.gazetteer import positions
from pinpoint.geo.points import lat_lon
from pinpoint.records import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASEMAP_CREDIT: Final = "light gray: cities, GeoNames (CC BY 4.0)"
_COLORS: Final = {True: BLUE, False: VERMILION}
_LABEL_EDGE_DEG: Final = 170.0
_WRAP_OFFSETS_DEG: Final = (-360.0, 0.0, 360.0)
_WIDE_DEG: Final = 120.0
_MIN_MARGIN_DEG: Final = 0.002
_GALLERY_STYLE: Final[dict[str, Any]] = {
    "marker": "o",
    "markersize": 3,
    "color": "0.55",
    "ls": "none",
    "zorder": 1,
}
_GROUND_TRUTH_STYLE: Final[dict[str, Any]] = {
    "marker": "o",
    "markersize": 11,
    "mfc": "none",
    "mec": "black",
    "ls": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapAnswer:
    """Ground truth and answer of one photo."""

    ground_truth: Point
    answer: Point | None
    """None if there was no answer."""
    inside: bool
    """Whether the ground truth is within the stated radius."""
    guess: bool
    """Whether the answer was withheld; `answer` is then the best guess."""


def draw_basemap(axes: Axes) -> None:
    """Draw cities and a graticule below the existing content, within the limits of the axes."""
    limits = axes.set_xlim(axes.get_xlim()), axes.set_ylim(axes.get_ylim())
    city_positions = positions()
    axes.plot(
        city_positions[:, 1], city_positions[:, 0], ",", color="0.8", zorder=0, rasterized=True
    )
    axes.set(xlim=limits[0], ylim=limits[1], xlabel="longitude (°)", ylabel="latitude (°)")
    axes.set(aspect="equal", axisbelow=True)
    axes.grid(color="0.9", linewidth=0.5)


def draw_answers(
    path: Path,
    photos: Sequence[MapAnswer],
    title: str,
    caption: str,
    gallery: Sequence[Point] | None = None,
) -> None:
    """Write a map as PNG: answers, ground truths, and the great circles between them.

    Args:
        path: File to write; its folder must exist.
        photos: The photos; they are numbered from 1.
        title: Text above the map.
        caption: Text below the map; the credit of the basemap is appended.
        gallery: Positions of the gallery's images. If given, they are drawn, and the map shows
            their region instead of the world.
    """
    figure = new_figure(13, 7.4)
    axes = figure.subplots()
    axes.set(xlim=(-180, 180), ylim=(-90, 90), title=title)
    if gallery:
        _set_limits(axes, [*gallery, *(photo.ground_truth for photo in photos)])
        positions_deg = lat_lon(gallery)
        axes.plot(positions_deg[:, 1], positions_deg[:, 0], **_GALLERY_STYLE)
    else:
        axes.set(xticks=range(-180, 181, 30), yticks=range(-90, 91, 30))
    draw_basemap(axes)
    for number, photo in enumerate(photos, start=1):
        _draw_photo(axes, number, photo)
    _draw_legend(axes, photos, has_gallery=bool(gallery))
    save_figure(figure, path, f"{caption}; {BASEMAP_CREDIT}")


def _set_limits(axes: Axes, points: Sequence[Point]) -> None:
    """Show the region of some positions with a margin; the world if it is most of it."""
    positions_deg = lat_lon(points)
    lowest, highest = positions_deg.min(axis=0), positions_deg.max(axis=0)
    margin_deg = max(0.05 * float((highest - lowest).max()), _MIN_MARGIN_DEG)
    if float((highest - lowest)[1]) < _WIDE_DEG:
        axes.set(xlim=(lowest[1] - margin_deg, highest[1] + margin_deg))
        axes.set(ylim=(lowest[0] - margin_deg, highest[0] + margin_deg))


def _draw_photo(axes: Axes, number: int, photo: MapAnswer) -> None:
    position = (photo.ground_truth.lon, photo.ground_truth.lat)
    axes.plot(*position, **_GROUND_TRUTH_STYLE)
    # Numbers alternate between four sides so that neighbors do not overlap, and stay on the map.
    right = photo.ground_truth.lon < -_LABEL_EDGE_DEG or (
        number % 2 == 1 and photo.ground_truth.lon < _LABEL_EDGE_DEG
    )
    up = number // 2 % 2 == 0
    axes.annotate(
        str(number),
        position,
        xytext=(6 if right else -6, 6 if up else -6),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if up else "top",
        weight="bold",
    )
    if photo.answer is None:
        return
    color = _COLORS[photo.inside]
    arc = great_circle(*lat_lon([photo.answer, photo.ground_truth]))
    for offset_deg in _WRAP_OFFSETS_DEG:
        # Arcs that leave the map on one side continue on the other.
        axes.plot(arc[:, 1] + offset_deg, arc[:, 0], color=color, linewidth=1.2)
    axes.plot(photo.answer.lon, photo.answer.lat, _choose_marker(photo), color=color, markersize=6)


def _choose_marker(photo: MapAnswer) -> str:
    return "D" if photo.guess else "o"


def _draw_legend(axes: Axes, photos: Sequence[MapAnswer], *, has_gallery: bool) -> None:
    """Draw legend entries for the items that occur on the map."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], **_GROUND_TRUTH_STYLE, label="ground truth, with the number of the photo")
    ]
    if has_gallery:
        handles.append(Line2D([], [], **_GALLERY_STYLE, label="image of the gallery"))
    answered = [photo for photo in photos if photo.answer is not None]
    for inside, guess in product((True, False), (False, True)):
        same = [photo for photo in answered if (photo.inside, photo.guess) == (inside, guess)]
        if not same:
            continue
        status = "best guess, withheld" if guess else "answer"
        coverage = "ground truth inside its radius" if inside else "ground truth outside its radius"
        label = f"{status}, great circle to the ground truth: {coverage} ({len(same)})"
        handles.append(
            Line2D([], [], color=_COLORS[inside], marker=_choose_marker(same[0]), label=label)
        )
    if len(answered) < len(photos):
        label = f"without an answer ({len(photos) - len(answered)}): ground truth only"
        handles.append(Line2D([], [], ls="none", label=label))
    if has_gallery:  # Any place inside a map of one region may be covered with images.
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=9)
    else:
        axes.legend(handles=handles, loc="lower left", fontsize=9)
