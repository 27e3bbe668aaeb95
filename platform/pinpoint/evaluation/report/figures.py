"""Figures of a report: error curve, error map, calibration plots, contact sheet of worst cases.

Drawn from `results.parquet` without a display; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pinpoint.errors import BadPhotoError, TooLargeError
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.report.calibration_plots import draw_calibration_plots
from pinpoint.evaluation.report.cells import ARM_TITLES
from pinpoint.evaluation.report.maps import BASEMAP_CREDIT, draw_basemap
from pinpoint.evaluation.report.plotting import ARM_COLORS, new_figure, save_figure
from pinpoint.evaluation.run.results import Arm
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import read_bytes
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.ports import Decoder
from pinpoint.records import Pixels
from pinpoint.search.candidates_and_evidence import decode_photo
from pinpoint.search.context import QueryPhoto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_CDF_FILE: Final = "error-cdf.png"
ERROR_MAP_FILE: Final = "error-map.png"
WORST_CASES_FILE: Final = "worst.png"
NUM_WORST_CASES: Final = 12
_ERROR_LIMITS_KM: Final = (1e-2, 2e4)
_MAX_NAME_CHARS: Final = 28

LoadPhoto = Callable[[str], Pixels | None]
"""Loads a query photo by its file name; returns None if it is no longer readable."""


def make_photo_loader(images: Path, decoder: Decoder, max_bytes: int) -> LoadPhoto:
    """A loader of photos below a folder; files are decoded as untrusted input."""

    def load_photo(file: str) -> Pixels | None:
        try:
            data = read_bytes(images / file, max_bytes)
            return decode_photo(QueryPhoto(data=data, file=file), decoder)
        except (RejectedFileError, BadPhotoError, TooLargeError):
            return None

    return load_photo


def draw_figures(
    folder: Path,
    arms: Mapping[str, Arm],
    arm_metrics: Mapping[str, ArmMetrics],
    load_photo: LoadPhoto,
    caption: str = "",
) -> list[Path]:
    """Draw the figures of a run; none if no query has an answer.

    Args:
        folder: Folder of the run.
        arms: Results by arm.
        arm_metrics: Metrics by arm.
        load_photo: Loads photos of the worst cases.
        caption: Text below each figure.

    Returns:
        The files written.
    """
    answered = any((~np.isnan(metrics.error_km)).any() for metrics in arm_metrics.values())
    if not answered:
        return []
    worst_arm = EXCLUDED if EXCLUDED in arms else UNFILTERED
    drawn = {
        ERROR_CDF_FILE: _draw_error_cdf(arm_metrics),
        ERROR_MAP_FILE: _draw_error_map(arms, arm_metrics),
        **draw_calibration_plots(arm_metrics),
        WORST_CASES_FILE: _draw_worst(arms[worst_arm], arm_metrics[worst_arm], load_photo),
    }
    for name, figure in drawn.items():
        save_figure(
            figure,
            folder / name,
            f"{caption}; {BASEMAP_CREDIT}" if name == ERROR_MAP_FILE else caption,
        )
    return [folder / name for name in drawn]


def _draw_error_cdf(arm_metrics: Mapping[str, ArmMetrics]) -> Figure:
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    for name, metrics in arm_metrics.items():
        error_km = np.sort(metrics.error_km[~np.isnan(metrics.error_km)])
        share = np.arange(1, len(error_km) + 1) / max(1, len(metrics.error_km))
        axes.set(title=metrics.convention.description())
        axes.step(
            np.clip(error_km, *_ERROR_LIMITS_KM),
            share,
            where="post",
            color=ARM_COLORS[name],
            label=ARM_TITLES[name],
        )
    for threshold_km in THRESHOLDS_KM:
        axes.axvline(threshold_km, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xscale="log", xlim=_ERROR_LIMITS_KM, ylim=(0, 1), xlabel="error (km)")
    axes.set(ylabel="share of readable photos")
    axes.legend()
    return figure


def _draw_error_map(arms: Mapping[str, Arm], arm_metrics: Mapping[str, ArmMetrics]) -> Figure:
    """Ground truths on a map of cities, colored by error; queries without an answer are crosses."""
    from matplotlib.colors import LogNorm

    figure = new_figure(9, 4.6 * len(arms))
    for axes, (name, arm) in zip(
        figure.subplots(len(arms), 1, squeeze=False)[:, 0], arms.items(), strict=True
    ):
        ground_truth, error_km = arm.ground_truth[arm.readable], arm_metrics[name].error_km
        unanswered = np.isnan(error_km)
        # Largest errors last, so that correct answers do not hide them.
        order = np.argsort(error_km[~unanswered])
        points = axes.scatter(
            ground_truth[~unanswered][order, 1],
            ground_truth[~unanswered][order, 0],
            c=np.clip(error_km[~unanswered][order], *_ERROR_LIMITS_KM),
            norm=LogNorm(*_ERROR_LIMITS_KM),
            cmap="viridis_r",
            s=8,
        )
        axes.scatter(
            ground_truth[unanswered, 1], ground_truth[unanswered, 0], marker="x", color="red", s=12
        )
        draw_basemap(axes)
        axes.set_title(ARM_TITLES[name])
        figure.colorbar(points, ax=axes, label="error (km)", shrink=0.8)
    return figure


def _draw_worst(arm: Arm, metrics: ArmMetrics, load_photo: LoadPhoto) -> Figure:
    """The answers with the largest errors, with ground truth and answer in degrees."""
    rows = np.flatnonzero(arm.readable)
    answered = np.flatnonzero(~np.isnan(metrics.error_km))
    worst = answered[np.argsort(-metrics.error_km[answered], kind="stable")][:NUM_WORST_CASES]
    columns = 4
    figure = new_figure(3 * columns, 3.4 * -(-len(worst) // columns))
    grid = figure.subplots(-(-len(worst) // columns), columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, index in zip(grid, worst.tolist(), strict=False):
        row = int(rows[index])
        _draw_photo(axes, load_photo(arm.files[row]))
        lines = (
            _shorten_name(arm.files[row]),
            f"ground truth {_format_degrees(arm.ground_truth[row])}",
            f"answer {_format_degrees(arm.answers[row])}",
            f"{metrics.error_km[index]:,.1f} km"
            + (", placeholder" if metrics.placeholder[index] else ""),
        )
        axes.set_title("\n".join(lines), fontsize=8, parse_math=False)
    figure.suptitle(f"{ARM_TITLES[arm.name]}: the {len(worst)} answers with the largest errors")
    return figure


def _draw_photo(axes: Axes, pixels: Pixels | None) -> None:
    if pixels is None:
        axes.text(0.5, 0.5, "no longer readable", ha="center", va="center", fontsize=8)
    else:
        axes.imshow(pixels)


def _shorten_name(file: str) -> str:
    """The end of a file name in ASCII, which every font contains."""
    ascii_name = file.encode("ascii", "replace").decode()
    return (
        ascii_name if len(ascii_name) <= _MAX_NAME_CHARS else f"...{ascii_name[-_MAX_NAME_CHARS:]}"
    )


def _format_degrees(position: Sequence[float] | np.ndarray) -> str:
    return f"{position[0]:.3f}, {position[1]:.3f}"
