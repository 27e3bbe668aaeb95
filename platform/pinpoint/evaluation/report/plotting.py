"""Shared plotting helpers: an empty figure, colors and markers of the arms, the caption."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PALETTE: Final = (BLUE, VERMILION, "#009E73", "#CC79A7")
"""Distinguishable for color-blind readers; source: Okabe and Ito 2008, Color Universal Design."""
MARKERS: Final = ("o", "s", "^", "D")
ARM_COLORS: Final[Mapping[str, str]] = {UNFILTERED: BLUE, EXCLUDED: VERMILION}
ARM_MARKERS: Final[Mapping[str, str]] = {UNFILTERED: "o", EXCLUDED: "s"}
GRAY: Final = "0.45"
NOT_THE_EARTH: Final = "synthetic planet, not the Earth"
_DPI: Final = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches; the import is local because matplotlib reads its caches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path, caption: str) -> None:
    """Write a figure as PNG with a caption below it; the file also stores the caption as text."""
    figure.supxlabel(caption, fontsize=8, color=GRAY)
    figure.savefig(path, dpi=_DPI, metadata={"Description": caption})
