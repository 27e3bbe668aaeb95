"""IPTC: the two dates of a photo (IPTC-NAA Information Interchange Model 4, record 2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Final

from pinpoint.media.metadata.raw_metadata import clean_metadata_text
from pinpoint.media.metadata.times import Clock, is_blank_time, parse_time
from pinpoint.records import TimeSource

MAX_DATASETS: Final = 1_000
"""Maximum number of data sets; captions and keywords of real photos have a few hundred."""

_DATES: Final[tuple[tuple[TimeSource, str, int, int], ...]] = (
    ("iptc_created", "IPTC DateCreated", 55, 60),
    ("iptc_digitized", "IPTC DigitalCreationDate", 62, 63),
)
"""(source, name, data set of the date, data set of the time)."""


def read_iptc_clocks(data: bytes | None) -> tuple[Clock, ...]:
    """Times of record 2. A date without a time of day is omitted.

    Args:
        data: The raw records of the file; None if there are none.
    """
    datasets = _read_datasets(data or b"")
    clocks: list[Clock] = []
    for source, name, date, time in _DATES:
        day, clock_text = datasets.get(date), datasets.get(time)
        if day is None or clock_text is None or is_blank_time(day):
            continue
        clock = parse_time(f"{day} {clock_text}", source, name)
        if clock is not None:
            # Programs write +0000 for an unknown zone, so it is not evidence of UTC.
            offset = clock.offset if clock.offset != UTC else None
            clocks.append(replace(clock, offset=offset))
    return tuple(clocks)


def _read_datasets(data: bytes) -> dict[int, str]:
    """Number → text of the data sets of record 2 that hold dates and times."""
    date_numbers = {number for _, _, date, time in _DATES for number in (date, time)}
    datasets: dict[int, str] = {}
    at = 0
    for _ in range(MAX_DATASETS):
        if at + 5 > len(data) or data[at] != 0x1C:
            break
        record, number = data[at + 1], data[at + 2]
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if size > 0x7FFF:  # the length has a separate field; no date is that long
            break
        text = clean_metadata_text(data[at + 5 : at + 5 + size], 20)
        if record == 2 and number in date_numbers and text:
            datasets.setdefault(number, text)
        at += 5 + size
    return datasets
