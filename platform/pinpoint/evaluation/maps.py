"""Maps in degrees: a ground of cities, and on it answers beside their truths.

Nothing is downloaded: the cities of GeoNames, one speck each, show where land is inhabited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pinpoint.evaluation.canvas import BLUE, VERMILION, save, sheet
from pinpoint.geo.distance import great_circle
from pinpoint.geo.gazetteer import positions
from pinpoint.geo.points import lat_lon
from pinpoint.records import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUND: Final = "grey: cities, GeoNames (CC BY 4.0)"
_COLOURS: Final = {True: BLUE, False: VERMILION}
_EDGE_DEG: Final = 170.0
_TURNS_DEG: Final = (-360.0, 0.0, 360.0)
_TRUTH: Final[dict[str, Any]] = {
    "marker": "o",
    "markersize": 11,
    "mfc": "none",
    "mec": "black",
    "ls": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One photo's answer beside its truth."""

    truth: Point
    answer: Point | None
    """None where there was none."""
    inside: bool
    """Whether the stated radius reaches the truth."""
    guess: bool
    """Whether the answer is withheld, and only the best guess."""


def lay_ground(axes: Axes) -> None:
    """Draw cities and a graticule below what is there, within the limits that the axes have."""
    box = axes.set_xlim(axes.get_xlim()), axes.set_ylim(axes.get_ylim())
    ground = positions()
    axes.plot(ground[:, 1], ground[:, 0], ",", color="0.8", zorder=0, rasterized=True)
    axes.set(xlim=box[0], ylim=box[1], xlabel="longitude (°)", ylabel="latitude (°)")
    axes.set(aspect="equal", axisbelow=True)
    axes.grid(color="0.9", linewidth=0.5)


def draw_answers(path: Path, placed: Sequence[Placed], title: str, underneath: str) -> None:
    """Write a map of the world: answers, truths, and the great circles between them, as PNG.

    Args:
        path: The file; its folder is there.
        placed: The photos; they are numbered from 1.
        title: Above the map.
        underneath: Below it; the origin of the ground is added.
    """
    figure = sheet(13, 7.4)
    axes = figure.subplots()
    axes.set(xlim=(-180, 180), ylim=(-90, 90), title=title)
    axes.set(xticks=range(-180, 181, 30), yticks=range(-90, 91, 30))
    lay_ground(axes)
    for number, one in enumerate(placed, start=1):
        _draw_one(axes, number, one)
    _legend(axes, placed)
    save(figure, path, f"{underneath}; {GROUND}")


def _draw_one(axes: Axes, number: int, one: Placed) -> None:
    at = (one.truth.lon, one.truth.lat)
    axes.plot(*at, **_TRUTH)
    # By turns on four sides, so that numbers of neighbours stand apart; and never off the map.
    right = one.truth.lon < -_EDGE_DEG or (number % 2 == 1 and one.truth.lon < _EDGE_DEG)
    up = number // 2 % 2 == 0
    axes.annotate(
        str(number),
        at,
        xytext=(6 if right else -6, 6 if up else -6),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if up else "top",
        weight="bold",
    )
    if one.answer is None:
        return
    colour = _COLOURS[one.inside]
    way = great_circle(*lat_lon([one.answer, one.truth]))
    for turn_deg in _TURNS_DEG:
        # What runs out of the map on one side comes in again on the other.
        axes.plot(way[:, 1] + turn_deg, way[:, 0], color=colour, linewidth=1.2)
    axes.plot(one.answer.lon, one.answer.lat, _marker(one), color=colour, markersize=6)


def _marker(one: Placed) -> str:
    return "D" if one.guess else "o"


def _legend(axes: Axes, placed: Sequence[Placed]) -> None:
    """Only what the map has."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **_TRUTH, label="truth, with the number of the photo")]
    answered = [one for one in placed if one.answer is not None]
    for inside, guess in product((True, False), (False, True)):
        same = [one for one in answered if (one.inside, one.guess) == (inside, guess)]
        if not same:
            continue
        what = "best guess, withheld" if guess else "answer"
        held = "truth inside its radius" if inside else "truth outside its radius"
        said = f"{what}, great circle to the truth: {held} ({len(same)})"
        handles.append(Line2D([], [], color=_COLOURS[inside], marker=_marker(same[0]), label=said))
    if len(answered) < len(placed):
        said = f"without an answer ({len(placed) - len(answered)}): truth alone"
        handles.append(Line2D([], [], ls="none", label=said))
    axes.legend(handles=handles, loc="lower left", fontsize=9)
