"""Times as files write them, and the one that is taken: see docs/metadata.md for the reasons.

A wall clock without an offset is an instant only together with an offset. Offsets of other tags
count only where their wall clock agrees with the chosen one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from pinpoint.records import TimeSource

MAX_TIME_TEXT: Final = 64
"""A time is at most this many characters long; longer text is not searched."""

FIRST_YEAR: Final = 1826
"""The oldest photograph that is kept; earlier times are what clocks without a date write."""

_TIME: Final = re.compile(
    r"\s*(?P<year>\d{4})(?:\s?[:/.-]\s?(?P<month>\d{1,2})\s?[:/.-]\s?(?P<day>\d{1,2})|"
    r"(?P<month2>\d\d)(?P<day2>\d\d))(?:\s+|\s*T\s*)"
    r"(?P<hour>\d{1,2})\s?:?\s?(?P<minute>\d\d?)(?:\s?:?\s?(?P<second>\d\d?)"
    r"(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<offset>.*)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_OFFSET: Final = re.compile(
    r"(?:UTC|GMT)?\s*(?P<sign>[+\u2212-])\s*(?P<hours>\d{1,2})"
    r"(?:\s*:\s*(?P<minutes>\d{1,2})|(?P<packed>\d\d)|[.,](?P<tenths>\d{1,2}))?"
    r"(?:\s*:\s*\d\d(?:\.\d+)?)?",
    re.ASCII | re.IGNORECASE,
)
_HALF_DAY: Final = re.compile(r"([ap])\.?m\.?", re.ASCII | re.IGNORECASE)
_MAX_OFFSET: Final = timedelta(hours=14)
_WESTMOST: Final = timedelta(hours=-12)
_QUARTER: Final = timedelta(minutes=15)
_SAME: Final = timedelta(seconds=1.5)
"""Two tags of one press of the button: sub-seconds may be missing in one."""
_NOTICED: Final = timedelta(minutes=1)
"""Times closer together than this are not reported as different."""
_FIX_AGE: Final = timedelta(minutes=5)
"""How far a satellite clock may be from a camera clock that nobody set to the second."""
_FIRST_RECEIVERS: Final = datetime(1994, 1, 1)
"""Before this no camera had a satellite receiver; receivers without a fix start at 1970 or 1980."""
_WEEKS: Final = timedelta(weeks=1024)
"""The week counter of GPS starts again after so many weeks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One time of a file: a wall clock, with its own offset where one is written."""

    source: TimeSource | None
    """None for a time that is never taken; its offset may be."""
    tag: str
    """The tag or property, for messages."""
    wall: datetime
    """Without time zone."""
    offset: timezone | None = None
    note: str = ""
    """What is unusual about how it is written."""
    void: bool = False
    """The receiver itself states that it has no fix (GPSStatus V)."""

    @property
    def is_change(self) -> bool:
        """It is the time of the last change of the file, or of no use but for its offset."""
        return self.source in (None, "exif_modified")

    @property
    def instant(self) -> datetime | None:
        """UTC without time zone; None without an offset or beyond the calendar."""
        if self.offset is None:
            return None
        try:
            return self.wall - (self.offset.utcoffset(None) or timedelta())
        except OverflowError:
            return None

    def __str__(self) -> str:
        offset = "" if self.offset is None else write_offset(self.offset)
        return f"{self.tag} {self.wall.replace(microsecond=0).isoformat(' ')}{offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTime:
    """The time of a file."""

    captured_at: datetime | None = None
    """Aware UTC."""
    source: TimeSource | None = None
    assumed_utc: bool = False
    """No offset was found; the wall clock was read as UTC."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Warnings while a time is chosen."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text and text not in self.texts:
            self.texts.append(text)


def parse_offset(text: str | None) -> timezone | None:
    """`Z`, `UTC`, `+02:00`, `+2:00`, `+0200`, `+02`, `+2`, `UTC+2`, `+5.5`; None for other text.

    Offsets beyond 14 hours are no offsets.
    """
    text = (text or "").strip()
    if text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    minutes = int(match["minutes"] or match["packed"] or 0)
    if minutes > 59:
        return None
    size = timedelta(
        hours=int(match["hours"]) + float(f"0.{match['tenths'] or 0}"), minutes=minutes
    )
    if size > _MAX_OFFSET:
        return None
    return timezone(size if match["sign"] == "+" else -size)


def write_offset(offset: timezone) -> str:
    """`+02:00` of an offset."""
    minutes = int((offset.utcoffset(None) or timedelta()).total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def parse_time(text: str | None, source: TimeSource | None, tag: str) -> Clock | None:
    """A time as EXIF, XMP or IPTC write it, with a fraction and an offset where they are there.

    Hour 24 is the next day's hour 0 and second 60 the next minute; both are noted. A date alone
    is no time.

    Returns:
        None where the text is no time, or one before the first photographs.
    """
    if not text or len(text) > MAX_TIME_TEXT:
        return None
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    if int(match["year"]) < FIRST_YEAR:
        return None
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if hour > 24 or minute > 59 or second > 60:
        return None
    note = ""
    if hour == 24 or second == 60:
        unusual = "hour 24" if hour == 24 else "second 60"
        note = f"{tag} has {unusual}; read as the next {'day' if hour == 24 else 'minute'}"
    try:
        day = datetime(
            int(match["year"]),
            int(match["month"] or match["month2"]),
            int(match["day"] or match["day2"]),
        )
        wall = day + timedelta(
            hours=hour,
            minutes=minute,
            seconds=second,
            microseconds=int((match["fraction"] or "0").ljust(6, "0")[:6]),
        )
    except (ValueError, OverflowError):
        return None
    rest = match["offset"].strip()
    if half := _HALF_DAY.fullmatch(rest):
        if not 1 <= hour <= 12:
            return None
        wall += timedelta(hours=hour % 12 + 12 * (half[1].lower() == "p") - hour)
        rest = ""
    offset = parse_offset(rest)
    if rest and offset is None:
        note = note or f"the time zone {rest[:20]!r} of {tag} cannot be read"
    return Clock(source=source, tag=tag, wall=wall, offset=offset, note=note)


def is_blank_time(text: str | None) -> bool:
    """The text says that no time is known: empty, or only zeros and separators."""
    return not text or not text.strip(" 0:-/.TZ+")


def choose_time(clocks: Sequence[Clock], satellites: Sequence[Clock] = ()) -> ChosenTime:
    """One time out of all that a file has.

    Args:
        clocks: Times of the camera and of programs, in order of precedence.
        satellites: UTC times of satellite receivers, in order of precedence.
    """
    notes = _Notes()
    clocks = [clock for clock in clocks if _is_usable(clock, notes)]
    capture_clock = next((clock for clock in clocks if not clock.is_change), None)
    if capture_clock is None:
        modified = next((clock for clock in clocks if clock.source is not None), None)
        fix = next((s for s in satellites if _is_alone_credible(s, modified, notes)), None)
        if fix is not None:
            notes.add(fix.note)
            return _make_result(fix.wall, fix.source, notes)
        capture_clock, satellites = modified, ()
    if capture_clock is None:
        return ChosenTime(warnings=tuple(notes.texts))
    notes.add(capture_clock.note)
    others = [clock for clock in clocks if clock is not capture_clock]
    chosen = _place_clock(capture_clock, others, satellites, notes)
    for other in others:
        _report_difference(capture_clock, other, chosen, notes)
    return replace(chosen, warnings=tuple(notes.texts))


def _is_usable(clock: Clock, notes: _Notes) -> bool:
    if clock.offset is not None and clock.instant is None:
        notes.add(f"{clock} is beyond the calendar; not used")
        return False
    return True


def _place_clock(
    capture_clock: Clock, others: Sequence[Clock], satellites: Sequence[Clock], notes: _Notes
) -> ChosenTime:
    """The chosen wall clock as an instant: by its own offset, or by one that agrees with it."""
    if capture_clock.instant is not None:
        for fix in satellites:
            if abs(fix.wall - capture_clock.instant) > _QUARTER:
                notes.add(f"the satellite clock differs: {fix} UTC; {capture_clock} comes first")
        return _make_result(capture_clock.instant, capture_clock.source, notes)
    same = [o for o in others if o.offset and abs(o.wall - capture_clock.wall) <= _SAME]
    for other in same:
        if (other.source or "").startswith("exif"):
            placed = _borrow_offset(capture_clock, other, notes)
            return _place_clock(placed, others, satellites, notes)
    for fix in satellites:
        zone = _find_zone(capture_clock.wall, fix.wall, _FIX_AGE)
        if zone is None or _is_midnight(fix):
            notes.add(_reject_fix(capture_clock, fix))
            continue
        notes.add(fix.note)
        if abs(capture_clock.wall - zone - fix.wall) <= _SAME:
            return _make_result(capture_clock.wall - zone, capture_clock.source, notes)
        return _make_result(fix.wall, fix.source, notes)
    if same:
        return _place_clock(_borrow_offset(capture_clock, same[0], notes), (), (), notes)
    for other in others:
        moment = other.instant
        if moment is not None and _find_zone(capture_clock.wall, moment, _SAME) is not None:
            notes.add(f"{capture_clock.tag} has no time zone; {other} is the same instant")
            return _make_result(moment, capture_clock.source, notes)
    return replace(_make_result(capture_clock.wall, capture_clock.source, notes), assumed_utc=True)


def _borrow_offset(capture_clock: Clock, other: Clock, notes: _Notes) -> Clock:
    """The chosen wall clock with the offset of another tag that has the same one."""
    notes.add(f"{capture_clock.tag} has no time zone; that of {other.tag} fits")
    # Its own wall clock may be a second beyond the calendar in that zone; the other one is not.
    placed = replace(capture_clock, offset=other.offset)
    return placed if placed.instant is not None else replace(placed, wall=other.wall)


def _make_result(moment: datetime, source: TimeSource | None, notes: _Notes) -> ChosenTime:
    return ChosenTime(
        captured_at=moment.replace(tzinfo=UTC), source=source, warnings=tuple(notes.texts)
    )


def _subtract_offset(wall: datetime, offset: timedelta) -> datetime | None:
    try:
        return wall - offset
    except OverflowError:
        return None


def _find_zone(wall: datetime, utc: datetime, tolerance: timedelta) -> timedelta | None:
    """The time zone in which both are one instant; None where no zone of Earth does that."""
    zone = round((wall - utc) / _QUARTER) * _QUARTER
    if not _WESTMOST <= zone <= _MAX_OFFSET or abs(wall - utc - zone) > tolerance:
        return None
    # Beyond the calendar's ends there is no instant to give.
    return zone if _subtract_offset(wall, zone) is not None else None


def _is_midnight(fix: Clock) -> bool:
    """A receiver that knows only the day writes midnight."""
    return (fix.wall.hour, fix.wall.minute, fix.wall.second) == (0, 0, 0)


def _reject_fix(capture_clock: Clock, fix: Clock) -> str:
    fits = _find_zone(capture_clock.wall, fix.wall, _FIX_AGE) is not None
    why = "has only a date" if fits else "does not fit any time zone"
    for weeks in (_WEEKS, 2 * _WEEKS):
        if abs(abs(capture_clock.wall - fix.wall) - weeks) <= _MAX_OFFSET:
            why = f"is {weeks.days // 7} weeks off"
    return f"the satellite clock {why}: {fix} UTC; {capture_clock} comes first"


def _is_alone_credible(fix: Clock, modified: Clock | None, notes: _Notes) -> bool:
    """A satellite clock without a camera's time beside it."""
    if fix.wall < _FIRST_RECEIVERS or fix.void:
        notes.add(f"the satellite clock had no fix: {fix} UTC; not used")
        return False
    if modified is None:
        return True
    ahead = fix.wall - modified.wall
    rolled = any(abs(ahead + weeks) <= _MAX_OFFSET for weeks in (_WEEKS, 2 * _WEEKS))
    if ahead > _MAX_OFFSET or rolled:
        notes.add(_reject_fix(modified, fix))
        return False
    return True


def _report_difference(
    capture_clock: Clock, other: Clock, chosen: ChosenTime, notes: _Notes
) -> None:
    """A note where another time of the file says something else."""
    if other.is_change:
        # Files are changed after they are taken; only an offset left aside is worth a word.
        if other.offset is not None and capture_clock.offset is None and chosen.assumed_utc:
            notes.add(f"the time zone of {other} belongs to another time; not used")
        return
    if abs(other.wall - capture_clock.wall) <= _NOTICED:
        if capture_clock.offset is not None and other.offset not in (None, capture_clock.offset):
            notes.add(f"the time zone differs: {other}; {capture_clock} comes first")
        return
    if other.instant is not None and chosen.captured_at is not None and not chosen.assumed_utc:
        difference = abs(other.instant - chosen.captured_at.replace(tzinfo=None))
        if difference <= _NOTICED:
            return
    notes.add(f"another time is {other}; {capture_clock} comes first")
