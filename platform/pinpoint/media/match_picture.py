"""Match picture: query and gallery image side by side, with lines between the inliers."""

from __future__ import annotations

import colorsys
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pinpoint.arrays import Floats32
from pinpoint.records import GeometricMatch, Pixels, Verification

MAX_WIDTH_PX: Final = 1_600
_MAX_PANEL_HEIGHT_PX: Final = 800
_MARGIN_PX: Final = 24
_GAP_PX: Final = 24
_HEADER_PX: Final = 64
_LINE_HEIGHT_PX: Final = 26
_MAX_LINES: Final = 120
"""Lines that are drawn; more would hide the images. The title has the number of all inliers."""
_MIN_PANEL_PX: Final = 240
"""Smallest width of a panel; smaller images are enlarged, so that the text fits."""
_OVERSAMPLING: Final = 2
"""Lines are drawn at this multiple of the size, because Pillow draws them without smoothing."""

_BACKGROUND: Final = (250, 250, 248)
_INK: Final = (28, 30, 33)
_MUTED: Final = (98, 104, 112)
_VERIFIED: Final = (22, 128, 74)
_NOT_VERIFIED: Final = (150, 92, 16)
_FONT_PATH: Final = "mpl-data/fonts/ttf/DejaVuSans.ttf"

_Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCaption:
    """Text of a match picture."""

    query_name: str
    """File name of the query, or an empty text."""
    image_id: str
    image_name: str
    license: str | None
    attribution: str | None


@dataclass(frozen=True, slots=True)
class _Panel:
    """One of the two images on the canvas."""

    image: Image.Image
    left_px: int
    top_px: int
    scale: float

    def place(self, points: Floats32) -> Floats32:
        """Pixels of the image `[I, 2]` as pixels of the canvas."""
        return (points + np.float32(0.5)) * np.float32(self.scale) + np.array(
            [self.left_px, self.top_px], np.float32
        )


def draw_match_picture(
    query: Pixels,
    image: Pixels,
    match: GeometricMatch,
    verification: Verification,
    caption: MatchCaption,
) -> bytes:
    """Draw a match; the PNG is at most 1,600 pixels wide.

    Args:
        query: Upright query image `[H, W, 3]`.
        image: Upright gallery image `[H, W, 3]`.
        match: Inliers in pixels of these two images.
        verification: Result that the title states.
        caption: Names, license and attribution.
    """
    panels = _place_panels(query, image)
    bottom = max(panel.top_px + panel.image.height for panel in panels)
    right = panels[1].left_px + panels[1].image.width
    texts = _describe_query(caption), _describe_image(caption)
    height = bottom + 12 + max(len(lines) for lines in texts) * _LINE_HEIGHT_PX + _MARGIN_PX
    canvas = Image.new("RGB", (right + _MARGIN_PX, height), _BACKGROUND)
    for panel in panels:
        canvas.paste(panel.image, (panel.left_px, panel.top_px))
    _draw_lines(canvas, panels, match)
    draw = ImageDraw.Draw(canvas)
    _draw_title(draw, verification, canvas.width)
    for panel, lines in zip(panels, texts, strict=True):
        _draw_caption(draw, panel, bottom + 12, lines)
    out = BytesIO()
    canvas.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _place_panels(query: Pixels, image: Pixels) -> tuple[_Panel, _Panel]:
    """Scale both images to one height that fits the canvas."""
    available = MAX_WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX
    ratios = [pixels.shape[1] / pixels.shape[0] for pixels in (query, image)]
    height = min(_MAX_PANEL_HEIGHT_PX, available / sum(ratios))
    panels = []
    left_px = _MARGIN_PX
    for pixels in (query, image):
        # A long panorama next to a narrow photo: neither may vanish.
        ratio = pixels.shape[1] / pixels.shape[0]
        width = round(min(max(height * ratio, _MIN_PANEL_PX), available - _MIN_PANEL_PX))
        scale = min(width / pixels.shape[1], _MAX_PANEL_HEIGHT_PX / pixels.shape[0])
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            size, Image.Resampling.LANCZOS, reducing_gap=2.0
        )
        panels.append(_Panel(resized, left_px, _HEADER_PX, scale))
        left_px += max(size[0], _MIN_PANEL_PX) + _GAP_PX
    return panels[0], panels[1]


def _draw_lines(canvas: Image.Image, panels: tuple[_Panel, _Panel], match: GeometricMatch) -> None:
    """Draw a line for each inlier; its color follows its position in the query image."""
    starts, ends = panels[0].place(match.query_points), panels[1].place(match.image_points)
    order = np.argsort(starts[:, 1], kind="stable")
    if len(order) > _MAX_LINES:
        order = order[np.linspace(0, len(order) - 1, _MAX_LINES).astype(int)]
    size = (canvas.width * _OVERSAMPLING, canvas.height * _OVERSAMPLING)
    overlay = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    alpha = 235 if len(order) <= 60 else 170
    for rank, index in enumerate(order):
        color = _pick_color(rank / max(len(order) - 1, 1))
        start, end = (tuple(_OVERSAMPLING * side[index]) for side in (starts, ends))
        draw.line([start, end], fill=(*color, alpha), width=3)
        for x, y in (start, end):
            draw.ellipse([x - 9, y - 9, x + 9, y + 9], outline=(0, 0, 0, 200), width=5)
            draw.ellipse([x - 8, y - 8, x + 8, y + 8], outline=(*color, 255), width=3)
    overlay = overlay.resize(canvas.size, Image.Resampling.BOX)
    canvas.paste(overlay, (0, 0), overlay)


def _pick_color(share: float) -> _Color:
    """A bright color; neighbors in the order have similar ones."""
    red, green, blue = colorsys.hsv_to_rgb(0.85 * share, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _draw_title(draw: ImageDraw.ImageDraw, verification: Verification, width: int) -> None:
    color = _VERIFIED if verification.verified else _NOT_VERIFIED
    badge = "verified" if verification.verified else "not verified"
    font = _load_font(20)
    badge_width = draw.textlength(badge, font=font) + 24
    box = (_MARGIN_PX, 16, _MARGIN_PX + badge_width, 50)
    draw.rounded_rectangle(box, radius=8, fill=color)
    draw.text((_MARGIN_PX + 12, 33), badge, font=font, fill=(255, 255, 255), anchor="lm")
    left_px = _MARGIN_PX + badge_width + 16
    text = _shorten_text(draw, _describe_result(verification), font, width - _MARGIN_PX - left_px)
    draw.text((left_px, 33), text, font=font, fill=_INK, anchor="lm")


def _describe_result(verification: Verification) -> str:
    noun = "inlier" if verification.inliers == 1 else "inliers"
    drawn = f" ({_MAX_LINES} drawn)" if verification.inliers > _MAX_LINES else ""
    parts = [f"{verification.inliers} {noun}{drawn}", f"spread {verification.spread:.2f}"]
    if verification.false_match_rate is not None:
        parts.append(f"false-match rate {verification.false_match_rate:.2g}")
    if verification.status != "matched":
        parts.append(verification.status.replace("_", " "))
    return ", ".join(parts)


def _describe_query(caption: MatchCaption) -> list[tuple[str, _Color]]:
    return [("Query", _INK), *([(caption.query_name, _MUTED)] if caption.query_name else [])]


def _describe_image(caption: MatchCaption) -> list[tuple[str, _Color]]:
    rights = [part for part in (caption.license, caption.attribution) if part]
    lines = [
        (f"Image {caption.image_id}", _INK),
        (caption.image_name, _MUTED),
        (", ".join(rights) or "no license stated", _MUTED),
    ]
    return [line for line in lines if line[0]]


def _draw_caption(
    draw: ImageDraw.ImageDraw, panel: _Panel, top_px: int, lines: Sequence[tuple[str, _Color]]
) -> None:
    font = _load_font(17)
    width = max(panel.image.width, _MIN_PANEL_PX)
    for row, (text, color) in enumerate(lines):
        position = (panel.left_px, top_px + row * _LINE_HEIGHT_PX)
        draw.text(position, _shorten_text(draw, text, font, width), font=font, fill=color)


def _shorten_text(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: float
) -> str:
    """Text in one line of this width; the middle of a longer one is cut out."""
    plain = " ".join(text.split())
    if draw.textlength(plain, font=font) <= width:
        return plain
    for length in range(min(len(plain), 300) - 1, 1, -1):
        head = length // 2
        short = f"{plain[:head]}…{plain[len(plain) - (length - head) :]}"
        if draw.textlength(short, font=font) <= width:
            return short
    return "…"


@lru_cache(maxsize=4)
def _load_font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib installs: Pillow's built-in font is Latin only."""
    spec = importlib.util.find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ModuleNotFoundError("matplotlib is not installed")
    return ImageFont.truetype(str(Path(folders[0]) / _FONT_PATH), size_px)
