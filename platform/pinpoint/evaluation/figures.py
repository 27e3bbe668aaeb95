"""The pictures of a report: error curve, error map, promises, contact sheet of the worst cases.

Drawn from `results.parquet` without a display; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pinpoint.errors import BadPhoto, TooLarge
from pinpoint.evaluation.canvas import COLOURS, save, sheet
from pinpoint.evaluation.figures_promises import draw_promises
from pinpoint.evaluation.maps import GROUND, lay_ground
from pinpoint.evaluation.measures import Measured
from pinpoint.evaluation.report_cells import TITLES
from pinpoint.evaluation.results import Arm
from pinpoint.evaluation.rows import EXCLUDED, SERVED
from pinpoint.media.checks import Refused
from pinpoint.media.files import read_bytes
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.ports import Decoder
from pinpoint.records import Pixels
from pinpoint.search import query

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CDF: Final = "error-cdf.png"
MAP: Final = "error-map.png"
WORST: Final = "worst.png"
WORST_SHOWN: Final = 12
_ERROR_KM: Final = (1e-2, 2e4)
_MAX_NAME: Final = 28

Look = Callable[[str], Pixels | None]
"""A question's photo by its file; None where it cannot be read any more."""


def looking(images: Path, decoder: Decoder, max_bytes: int) -> Look:
    """Looks at photos below a folder, decoded as hostile files are."""

    def look(file: str) -> Pixels | None:
        try:
            return query.pixels(read_bytes(images / file, max_bytes), file=file, decoder=decoder)
        except (Refused, BadPhoto, TooLarge):
            return None

    return look


def draw_figures(
    folder: Path,
    arms: Mapping[str, Arm],
    measured: Mapping[str, Measured],
    look: Look,
    underneath: str = "",
) -> list[Path]:
    """Draw what there is to draw; without a single answer, nothing.

    Args:
        folder: Of the run.
        arms: Its results.
        measured: The same arms, measured.
        look: Shows photos of the worst cases.
        underneath: What is said below each figure.

    Returns:
        The files written.
    """
    answered = any((~np.isnan(of.error_km)).any() for of in measured.values())
    if not answered:
        return []
    last = EXCLUDED if EXCLUDED in arms else SERVED
    drawn = {
        CDF: _error_cdf(measured),
        MAP: _error_map(arms, measured),
        **draw_promises(measured),
        WORST: _worst(arms[last], measured[last], look),
    }
    for name, figure in drawn.items():
        save(figure, folder / name, f"{underneath}; {GROUND}" if name == MAP else underneath)
    return [folder / name for name in drawn]


def _error_cdf(measured: Mapping[str, Measured]) -> Figure:
    figure = sheet(7, 4.5)
    axes = figure.subplots()
    for name, of in measured.items():
        error_km = np.sort(of.error_km[~np.isnan(of.error_km)])
        share = np.arange(1, len(error_km) + 1) / max(1, len(of.error_km))
        axes.set(title=of.convention.words())
        axes.step(
            np.clip(error_km, *_ERROR_KM),
            share,
            where="post",
            color=COLOURS[name],
            label=TITLES[name],
        )
    for threshold_km in THRESHOLDS_KM:
        axes.axvline(threshold_km, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xscale="log", xlim=_ERROR_KM, ylim=(0, 1), xlabel="error (km)")
    axes.set(ylabel="share of photos read")
    axes.legend()
    return figure


def _error_map(arms: Mapping[str, Arm], measured: Mapping[str, Measured]) -> Figure:
    """Truths among cities, coloured by error; photos without an answer are crosses."""
    from matplotlib.colors import LogNorm

    figure = sheet(9, 4.6 * len(arms))
    for axes, (name, arm) in zip(
        figure.subplots(len(arms), 1, squeeze=False)[:, 0], arms.items(), strict=True
    ):
        truth, error_km = arm.truth[arm.read], measured[name].error_km
        silent = np.isnan(error_km)
        # The largest errors last, so that no right answer hides them.
        order = np.argsort(error_km[~silent])
        points = axes.scatter(
            truth[~silent][order, 1],
            truth[~silent][order, 0],
            c=np.clip(error_km[~silent][order], *_ERROR_KM),
            norm=LogNorm(*_ERROR_KM),
            cmap="viridis_r",
            s=8,
        )
        axes.scatter(truth[silent, 1], truth[silent, 0], marker="x", color="red", s=12)
        lay_ground(axes)
        axes.set_title(TITLES[name])
        figure.colorbar(points, ax=axes, label="error (km)", shrink=0.8)
    return figure


def _worst(arm: Arm, of: Measured, look: Look) -> Figure:
    """The answers that are furthest off, with truth and answer in degrees."""
    rows = np.flatnonzero(arm.read)
    answered = np.flatnonzero(~np.isnan(of.error_km))
    worst = answered[np.argsort(-of.error_km[answered], kind="stable")][:WORST_SHOWN]
    columns = 4
    figure = sheet(3 * columns, 3.4 * -(-len(worst) // columns))
    grid = figure.subplots(-(-len(worst) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, place in zip(grid, worst.tolist(), strict=False):
        row = int(rows[place])
        _show(axes, look(arm.files[row]))
        lines = (
            _name(arm.files[row]),
            f"truth {_degrees(arm.truth[row])}",
            f"answer {_degrees(arm.answers[row])}",
            f"{of.error_km[place]:,.1f} km" + (", placeholder" if of.placeholder[place] else ""),
        )
        axes.set_title("\n".join(lines), fontsize=8, parse_math=False)
    figure.suptitle(f"{TITLES[arm.name]}: the {len(worst)} answers furthest off")
    return figure


def _show(axes: Axes, pixels: Pixels | None) -> None:
    if pixels is None:
        axes.text(0.5, 0.5, "cannot be read any more", ha="center", va="center", fontsize=8)
    else:
        axes.imshow(pixels)


def _name(file: str) -> str:
    """The end of a file's name in letters that every font has."""
    plain = file.encode("ascii", "replace").decode()
    return plain if len(plain) <= _MAX_NAME else f"...{plain[-_MAX_NAME:]}"


def _degrees(position: Sequence[float] | np.ndarray) -> str:
    return f"{position[0]:.3f}, {position[1]:.3f}"
