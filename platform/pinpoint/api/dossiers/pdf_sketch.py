"""Sketch of an answer: areas, candidates, evidence and claims around the point, to scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pinpoint.api.dossiers.pdf_page import ReportPdf
from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.api.v1.schemas.disc_polygons import outline_disc
from pinpoint.geo.lengths import format_length
from pinpoint.records import Point

_SIZE_MM: Final = 72.0
_MIN_RADIUS_M: Final = 100.0
_MAX_RADIUS_M: Final = 2_000_000.0
"""Larger areas are too distorted by the projection."""
_MARGIN_SHARE: Final = 1.25
_METERS_PER_DEGREE: Final = 111_195.0
_AREA_FILLS: Final = ((214, 226, 240), (168, 196, 226))
_CANDIDATE: Final = (196, 120, 16)
_EVIDENCE: Final = (22, 128, 74)
_CLAIM: Final = (150, 40, 110)
_POINT: Final = (190, 24, 32)
_BORDER: Final = (180, 186, 192)
_INK: Final = (28, 30, 33)

_Color = tuple[int, int, int]
_Ring = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A square of the page that shows the surroundings of a point, north at the top."""

    center: Point
    radius_m: float
    left_mm: float
    top_mm: float

    def place(self, lon: float, lat: float) -> tuple[float, float]:
        """Position on the page, in mm, by an equirectangular projection at the center."""
        east_deg = (lon - self.center.lon + 180.0) % 360.0 - 180.0
        scale = _SIZE_MM / (2 * self.radius_m)
        east_m = east_deg * math.cos(math.radians(self.center.lat)) * _METERS_PER_DEGREE
        north_m = (lat - self.center.lat) * _METERS_PER_DEGREE
        middle_mm = _SIZE_MM / 2
        return (
            self.left_mm + middle_mm + east_m * scale,
            self.top_mm + middle_mm - north_m * scale,
        )

    def contains(self, x_mm: float, y_mm: float) -> bool:
        """Whether a position of the page is inside."""
        return 0 <= x_mm - self.left_mm <= _SIZE_MM and 0 <= y_mm - self.top_mm <= _SIZE_MM


def add_sketch(pdf: ReportPdf, answer: AnswerOut) -> None:
    """Add the sketch, unless there is no point or its areas are too large."""
    radius_m = max((disc.radius_m for disc in answer.credible_discs), default=0.0)
    if answer.point is None or not 0 < radius_m <= _MAX_RADIUS_M:
        return
    pdf.require_space(_SIZE_MM + 6)
    frame = _Frame(
        Point(answer.point.lat, answer.point.lon),
        max(radius_m, _MIN_RADIUS_M) * _MARGIN_SHARE,
        pdf.l_margin,
        pdf.y + 1,
    )
    with pdf.rect_clip(frame.left_mm, frame.top_mm, _SIZE_MM, _SIZE_MM):
        for fill, rings in zip(_AREA_FILLS, _list_areas(answer), strict=False):
            pdf.set_fill_color(*fill)
            for ring in rings:
                pdf.polygon([frame.place(lon, lat) for lon, lat in ring], style="F")
    pdf.set_draw_color(*_BORDER)
    pdf.rect(frame.left_mm, frame.top_mm, _SIZE_MM, _SIZE_MM)
    hidden = 0
    for color, lon, lat in _list_marks(answer):
        x_mm, y_mm = frame.place(lon, lat)
        if frame.contains(x_mm, y_mm):
            size_mm = 2.6 if color == _POINT else 1.7
            pdf.set_fill_color(*color)
            pdf.ellipse(x_mm - size_mm / 2, y_mm - size_mm / 2, size_mm, size_mm, style="F")
        else:
            hidden += 1
    _draw_legend(pdf, frame, hidden)
    pdf.set_xy(pdf.l_margin, frame.top_mm + _SIZE_MM + 3)


def _list_areas(answer: AnswerOut) -> list[list[_Ring]]:
    """Outer rings of the two largest areas by probability, the largest one first."""
    if answer.posterior is not None and answer.posterior.credible_regions:
        regions = sorted(answer.posterior.credible_regions, key=lambda area: -area.probability)
        return [[polygon[0] for polygon in area.geometry.coordinates] for area in regions[:2]]
    if answer.point is None:
        return []
    center = Point(answer.point.lat, answer.point.lon)
    discs = sorted(answer.credible_discs, key=lambda disc: -disc.radius_m)
    return [[polygon[0] for polygon in outline_disc(center, disc.radius_m)] for disc in discs[:2]]


def _list_marks(answer: AnswerOut) -> Iterator[tuple[_Color, float, float]]:
    """Color, longitude and latitude of all marks; the most important one is last."""
    evidence = {image.image_id: image for entry in answer.candidates for image in entry.evidence}
    for image in evidence.values():
        yield _EVIDENCE, image.lon, image.lat
    for candidate in reversed(answer.candidates):
        yield _CANDIDATE, candidate.lon, candidate.lat
    for claim in answer.claims:
        if claim.point is not None:
            yield _CLAIM, claim.point.lon, claim.point.lat
    if answer.point is not None:
        yield _POINT, answer.point.lon, answer.point.lat


def _draw_legend(pdf: ReportPdf, frame: _Frame, hidden: int) -> None:
    """Draw the scale and the meaning of colors on the right of the sketch."""
    left_mm, top_mm = frame.left_mm + _SIZE_MM + 6, frame.top_mm + 2
    bar_m = _round_length(frame.radius_m / 2)
    bar_mm = bar_m * _SIZE_MM / (2 * frame.radius_m)
    pdf.set_draw_color(*_INK)
    pdf.line(left_mm, top_mm + 2, left_mm + bar_mm, top_mm + 2)
    pdf.add_note(left_mm, top_mm + 3, f"{format_length(bar_m)}; north is at the top")
    labels: tuple[tuple[_Color, str], ...] = (
        (_AREA_FILLS[0], "larger area (see above)"),
        (_AREA_FILLS[1], "smaller area"),
        (_POINT, "point of the answer"),
        (_CANDIDATE, "candidates"),
        (_EVIDENCE, "evidence"),
        (_CLAIM, "claimed position"),
    )
    for row, (color, text) in enumerate(labels):
        y_mm = top_mm + 10 + 5 * row
        pdf.set_fill_color(*color)
        pdf.ellipse(left_mm, y_mm + 0.9, 2, 2, style="F")
        pdf.add_note(left_mm + 4, y_mm, text)
    if hidden:
        pdf.add_note(left_mm, top_mm + 44, f"{hidden} images or claims are farther away")


def _round_length(meters: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most a length."""
    power = 10.0 ** math.floor(math.log10(meters))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= meters)
