"""Loads everything that decoding may need from files, before the child loses access to files.

Decoders and Python load some modules on first use. After `sandbox.confine` that would fail, so code
that runs in the child imports nothing inside functions.
"""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import Final

from PIL import Image

_CODECS: Final = (
    *("ascii", "latin_1", "utf_8", "utf_8_sig", "utf_7", "utf_16", "utf_16_le", "utf_16_be"),
    *("utf_32", "utf_32_le", "utf_32_be", "raw_unicode_escape"),
    *(f"cp125{page}" for page in range(9)),
    *(f"iso8859_{part}" for part in (*range(1, 12), *range(13, 17))),
    *("cp437", "cp850", "cp852", "cp866", "cp874", "koi8_r", "koi8_u", "mac_roman", "tis_620"),
    *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr", "cp949"),
    *("gb2312", "gbk", "gb18030", "big5", "big5hkscs"),
)
"""Encodings of XMP packets and EXIF comments."""

_MODULES: Final = (
    "_strptime",
    "PIL.ImageColor",
    "PIL.ImagePalette",
    "PIL.ImageSequence",
    "pinpoint.media.decoding.image_reader",
    "pinpoint.media.decoding.jpeg_writer",
)


def load_everything() -> None:
    """Import all plug-ins, encodings and modules; about 20 ms."""
    Image.init()
    for name in _CODECS:
        importlib.import_module(f"encodings.{name}")
        # The codec registry caches the codec under each requested spelling.
        "".encode(name)
    for name in _MODULES:
        importlib.import_module(name)
    datetime.strptime("2020:01:01", "%Y:%m:%d")
