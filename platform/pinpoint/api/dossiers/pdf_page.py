"""Layout of the PDF of a dossier: fonts, headings, facts, tables and images with text.

All texts of users are hostile: they are shortened, and characters that the font cannot show are
replaced.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final, cast

from fpdf import FPDF, Align, FontFace, XPos, YPos
from fpdf.bidi import BidiParagraph
from fpdf.enums import MethodReturnValue
from PIL import Image

_MAX_TEXT_CHARS: Final = 600
_MAX_CELL_CHARS: Final = 120

_FAMILY: Final = "DejaVu Sans"
_FONT_FOLDER: Final = "mpl-data/fonts/ttf"
_FONT_FILES: Final = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_MARGIN_MM: Final = 18.0
_LINE_MM: Final = 4.6
_CELL_LINE_MM: Final = 3.6
_LABEL_MM: Final = 42.0
_IMAGE_MM: Final = 30.0
_BODY_PT: Final = 9.0
_CELL_PT: Final = 7.0
_INK: Final = (28, 30, 33)
_MUTED: Final = (98, 104, 112)
_ACCENT: Final = (24, 84, 140)
_RULE: Final = (200, 206, 212)
_HEADING_FILL: Final = (232, 238, 244)
_WARNING_FILL: Final = (252, 240, 214)
_MAX_WIDE_IMAGE_PX: Final = 1_200
_JPEG_QUALITY: Final = 85


class ReportPdf(FPDF):
    """A PDF with the layout of dossiers.

    Args:
        title: Title of the document.
        created_at: Time of creation; no other time is written.
        footer_text: Text at the bottom of each page.
    """

    def __init__(self, title: str, created_at: datetime, footer_text: str) -> None:
        super().__init__(format="A4")
        for style, name in _FONT_FILES.items():
            self.add_font(_FAMILY, style, _find_font_folder() / name)
        self.replaced_text = False
        """Whether a character was replaced because the fonts cannot show it."""
        self._footer_text = footer_text
        self.set_title(title)
        self.set_lang("en")
        self.set_creator("Pinpoint")
        self.set_creation_date(created_at)
        self.set_margins(_MARGIN_MM, 16, _MARGIN_MM)
        self.c_margin = 0
        self.set_auto_page_break(auto=True, margin=18)
        self._set_style(_BODY_PT)
        self.add_page()

    def footer(self) -> None:
        """Draw the footer of a page; the library calls this."""
        self.set_y(-12)
        self._set_style(_CELL_PT, color=_MUTED)
        self.cell(self.epw * 0.8, 4, self._clean_text(self._footer_text, 160))
        self.cell(self.epw * 0.2, 4, f"{self.page_no()} / {{nb}}", align=Align.R)

    def add_title(self, text: str, subtitle: str) -> None:
        """Add the title of the document."""
        self._set_style(18, "B")
        self._write_block(text, 9)
        self._set_style(_BODY_PT, color=_MUTED)
        self._write_block(subtitle, _LINE_MM)

    def add_heading(self, text: str, *, min_space_mm: float = 28.0) -> None:
        """Add the heading of a section; it does not end a page alone."""
        self.ln(4)
        self.require_space(min_space_mm)
        self._set_style(12, "B", _ACCENT)
        self._write_block(text, 6.5)
        self.set_draw_color(*_ACCENT)
        self.line(self.l_margin, self.y, self.l_margin + self.epw, self.y)
        self.ln(1.5)

    def add_text(self, text: str, *, muted: bool = False) -> None:
        """Add a paragraph."""
        self._set_style(_BODY_PT, color=_MUTED if muted else _INK)
        self._write_block(text, _LINE_MM)
        self.ln(1)

    def add_statement(self, text: str) -> None:
        """Add a line in large type."""
        self._set_style(13, "B")
        self._write_block(text, 7)

    def add_warning(self, texts: Iterable[str]) -> None:
        """Add highlighted paragraphs."""
        self._set_style(_BODY_PT)
        self.set_fill_color(*_WARNING_FILL)
        for text in texts:
            self._write_block(text, _LINE_MM + 0.6, fill=True)
        self.ln(1.5)

    def add_list(self, texts: Iterable[str]) -> None:
        """Add a list of paragraphs."""
        for text in texts:
            self.require_space(2 * _LINE_MM)
            self._set_style(_BODY_PT)
            self.cell(4, _LINE_MM, "•")
            self._write_block(text, _LINE_MM, width_mm=self.epw - 4)
            self.ln(0.8)

    def add_facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Add lines of a label and a value."""
        for label, value in facts:
            self.require_space(2 * _LINE_MM)
            self._set_style(_BODY_PT, color=_MUTED)
            self.cell(_LABEL_MM, _LINE_MM, label)
            self._set_style(_BODY_PT)
            self._write_block(value or "–", _LINE_MM, width_mm=self.epw - _LABEL_MM)
        self.ln(1)

    def add_table(
        self, columns: Sequence[tuple[str, float]], rows: Sequence[Sequence[str]]
    ) -> None:
        """Add a table whose head is repeated on each page.

        Args:
            columns: Heading and relative width; a heading that begins with `>` is one of numbers.
            rows: Cells by column.
        """
        self._set_style(_CELL_PT)
        self.set_draw_color(*_RULE)
        # The library fills cells without a fill of their own with the last color.
        self.set_fill_color(255, 255, 255)
        aligns = tuple(Align.R if name.startswith(">") else Align.L for name, _ in columns)
        with self.table(
            col_widths=tuple(width for _, width in columns),
            text_align=aligns,
            line_height=_CELL_LINE_MM,
            borders_layout="HORIZONTAL_LINES",
            headings_style=FontFace(emphasis="BOLD", fill_color=_HEADING_FILL),
            padding=(0.6, 0.8),
        ) as table:
            head = table.row()
            for name, _ in columns:
                head.cell(name.removeprefix(">"))
            for cells in rows:
                row = table.row()
                for text in cells:
                    row.cell(self._clean_text(text, _MAX_CELL_CHARS))
        self.ln(2)

    def add_image_entry(self, jpeg: bytes | None, note: str, lines: Sequence[str]) -> None:
        """Add a small image with text on its right; the first line is bold.

        Args:
            jpeg: The image; None if it is not shown.
            note: Shown in its place.
            lines: The text.
        """
        texts = [self._clean_text(line, _MAX_TEXT_CHARS) for line in lines if line]
        left_mm = self.l_margin + _IMAGE_MM + 4
        width_mm = self.epw - _IMAGE_MM - 4
        self._set_style(_CELL_PT + 0.5)
        text_mm = sum(self._measure_text(text, width_mm) for text in texts)
        height_mm = max(_IMAGE_MM * 0.75, text_mm) + 3
        self.require_space(height_mm)
        top_mm = self.y
        box_mm = _IMAGE_MM * 0.75
        if jpeg is None:
            self._set_style(_CELL_PT, color=_MUTED)
            self.set_draw_color(*_RULE)
            self.rect(self.l_margin, top_mm, _IMAGE_MM, box_mm)
            self.set_xy(self.l_margin, top_mm + 4)
            self.multi_cell(_IMAGE_MM, 3.4, self._clean_text(note, 80), align=Align.C)
        else:
            self.image(
                jpeg, self.l_margin, top_mm, _IMAGE_MM, box_mm, keep_aspect_ratio=True,
                alt_text=texts[0] if texts else "",
            )  # fmt: skip
        self.set_xy(left_mm, top_mm)
        for number, text in enumerate(texts):
            self._set_style(_CELL_PT + 0.5, "" if number else "B", _INK if number < 2 else _MUTED)
            self.set_x(left_mm)
            self.multi_cell(width_mm, 4, text, align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_y(max(self.y, top_mm + box_mm) + 3)

    def add_wide_image(self, png: bytes, alt_text: str, *, max_height_mm: float = 105.0) -> None:
        """Add an image over the width of the page, reduced to what a print needs."""
        jpeg, width_px, height_px = _reduce_image(png)
        width_mm = min(self.epw, max_height_mm * width_px / height_px)
        height_mm = width_mm * height_px / width_px
        self.require_space(height_mm + 2)
        self.image(
            jpeg, self.l_margin, self.y, width_mm, height_mm,
            alt_text=self._clean_text(alt_text, _MAX_CELL_CHARS),
        )  # fmt: skip
        self.set_y(self.y + height_mm + 3)

    def add_note(self, left_mm: float, top_mm: float, text: str) -> None:
        """Add a line in small type at a position of the page."""
        self._set_style(_CELL_PT)
        self.set_xy(left_mm, top_mm)
        self.cell(0, 4, self._clean_text(text, _MAX_CELL_CHARS))

    def require_space(self, height_mm: float) -> None:
        """Start a page if this one has less space."""
        if self.y + height_mm > self.page_break_trigger:
            self.add_page()

    def _write_block(
        self, text: str, line_mm: float, *, width_mm: float = 0, fill: bool = False
    ) -> None:
        self.multi_cell(
            width_mm,
            line_mm,
            self._clean_text(text, _MAX_TEXT_CHARS),
            align=Align.L,
            fill=fill,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )

    def _measure_text(self, text: str, width_mm: float) -> float:
        """Height of a text in lines of 4 mm."""
        height = self.multi_cell(
            width_mm, 4, text, align=Align.L, dry_run=True, output=MethodReturnValue.HEIGHT
        )
        return cast(float, height)

    def _set_style(
        self, size_pt: float, style: str = "", color: tuple[int, int, int] = _INK
    ) -> None:
        self.set_font(_FAMILY, style, size_pt)
        self.set_text_color(*color)

    def _clean_text(self, text: str, max_chars: int) -> str:
        """Return a text that the fonts can show, in visual order, in one paragraph.

        Characters without a glyph, control characters and lone surrogates are replaced.
        """
        plain = " ".join(text[: 4 * max_chars].split())
        if len(plain) > max_chars:
            plain = f"{plain[: max_chars - 1]}…"
        glyphs = _list_glyphs()
        cleaned = "".join(
            character if ord(character) in glyphs and character.isprintable() else _REPLACEMENT
            for character in plain
        )
        self.replaced_text |= cleaned != plain
        if cleaned.isascii():
            return cleaned
        # The library writes characters from left to right.
        return str(BidiParagraph(cleaned).get_reordered_string())


def _reduce_image(data: bytes) -> tuple[bytes, int, int]:
    """A JPEG of an image of our own, its width and its height in pixels."""
    with Image.open(BytesIO(data)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_MAX_WIDE_IMAGE_PX, _MAX_WIDE_IMAGE_PX), Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, format="JPEG", quality=_JPEG_QUALITY)
    return out.getvalue(), image.width, image.height


@lru_cache(maxsize=1)
def _list_glyphs() -> frozenset[int]:
    """Code points that both fonts can show."""
    from fontTools.ttLib import TTFont

    folder = _find_font_folder()
    glyphs: frozenset[int] | None = None
    for name in _FONT_FILES.values():
        with TTFont(folder / name, lazy=True) as font:
            points = frozenset(font.getBestCmap())
        glyphs = points if glyphs is None else glyphs & points
    return glyphs or frozenset()


def _find_font_folder() -> Path:
    """Folder of DejaVu Sans, which matplotlib installs."""
    spec = importlib.util.find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ModuleNotFoundError("matplotlib is not installed")
    return Path(folders[0]) / _FONT_FOLDER
