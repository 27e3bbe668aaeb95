"""Parses the times in files and chooses one; docs/reference/metadata.md has the reasons.

A wall clock is an instant only with an offset. Offsets of other tags are used only if their wall
clock agrees with the chosen one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from pinpoint.records import TimeSource

MAX_TIME_TEXT: Final = 64
"""Maximum characters of a time; longer text is not searched."""

FIRST_YEAR: Final = 1826
"""Year of the oldest surviving photograph; clocks without a date write earlier times."""

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
_MIN_OFFSET: Final = timedelta(hours=-12)
_QUARTER_HOUR: Final = timedelta(minutes=15)
_SAME_EXPOSURE: Final = timedelta(seconds=1.5)
"""Tolerance between two tags of one exposure: sub-seconds may be missing in one."""
_REPORTED_DIFFERENCE: Final = timedelta(minutes=1)
"""Smaller differences between times are not reported."""
_MAX_FIX_DIFFERENCE: Final = timedelta(minutes=5)
"""Maximum difference between a satellite clock and a camera clock, which is rarely set exactly."""
_FIRST_FIX_TIME: Final = datetime(1994, 1, 1)
"""Earliest time of a satellite fix in a camera; receivers without a fix start at 1970 or 1980."""
_GPS_WEEK_ROLLOVER: Final = timedelta(weeks=1024)
"""Number of weeks after which the week counter of GPS restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One time of a file: a wall clock, with its offset if it has one."""

    source: TimeSource | None
    """None for a time that is never chosen; its offset may be used."""
    tag: str
    """The tag or property, for messages."""
    wall: datetime
    """Without time zone."""
    offset: timezone | None = None
    note: str = ""
    """Note on an unusual format."""
    void: bool = False
    """Whether the receiver reports that it has no fix (GPSStatus V)."""

    @property
    def is_change(self) -> bool:
        """Whether it is the time of the last change, or only its offset is usable."""
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
    """Whether no offset was found and the wall clock was read as UTC."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Warnings collected during the choice of a time."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text and text not in self.texts:
            self.texts.append(text)


def parse_offset(text: str | None) -> timezone | None:
    """`Z`, `UTC`, `+02:00`, `+2:00`, `+0200`, `+02`, `+2`, `UTC+2`, `+5.5`; None for other text.

    Offsets beyond 14 hours are invalid.
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
    """Parse a time of EXIF, XMP or IPTC, with an optional fraction and offset.

    Hour 24 is the next day's hour 0, and second 60 is the next minute; both are noted. A date
    without a time of day is not a time.

    Returns:
        None if the text is not a time, or a time before the first photographs.
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
    """Whether a text means an unknown time: empty, or only zeros and separators."""
    return not text or not text.strip(" 0:-/.TZ+")


def choose_time(clocks: Sequence[Clock], satellites: Sequence[Clock] = ()) -> ChosenTime:
    """Choose one of the times of a file.

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
    chosen = _resolve_clock(capture_clock, others, satellites, notes)
    for other in others:
        _report_difference(capture_clock, other, chosen, notes)
    return replace(chosen, warnings=tuple(notes.texts))


def _is_usable(clock: Clock, notes: _Notes) -> bool:
    if clock.offset is not None and clock.instant is None:
        notes.add(f"{clock} is beyond the calendar; not used")
        return False
    return True


def _resolve_clock(
    capture_clock: Clock, others: Sequence[Clock], satellites: Sequence[Clock], notes: _Notes
) -> ChosenTime:
    """The chosen wall clock as an instant: by its offset, or by one that agrees with it."""
    if capture_clock.instant is not None:
        for fix in satellites:
            if abs(fix.wall - capture_clock.instant) > _QUARTER_HOUR:
                notes.add(f"the satellite clock differs: {fix} UTC; {capture_clock} comes first")
        return _make_result(capture_clock.instant, capture_clock.source, notes)
    same = [o for o in others if o.offset and abs(o.wall - capture_clock.wall) <= _SAME_EXPOSURE]
    for other in same:
        if (other.source or "").startswith("exif"):
            resolved = _borrow_offset(capture_clock, other, notes)
            return _resolve_clock(resolved, others, satellites, notes)
    if resolved_time := _resolve_by_satellites(capture_clock, satellites, notes):
        return resolved_time
    if same:
        return _resolve_clock(_borrow_offset(capture_clock, same[0], notes), (), (), notes)
    for other in others:
        moment = other.instant
        if (
            moment is not None
            and _find_zone(capture_clock.wall, moment, _SAME_EXPOSURE) is not None
        ):
            notes.add(f"{capture_clock.tag} has no time zone; {other} is the same instant")
            return _make_result(moment, capture_clock.source, notes)
    return replace(_make_result(capture_clock.wall, capture_clock.source, notes), assumed_utc=True)


def _resolve_by_satellites(
    capture_clock: Clock, satellites: Sequence[Clock], notes: _Notes
) -> ChosenTime | None:
    """The instant by the first satellite time that fits a time zone; None if none does."""
    for fix in satellites:
        zone = _find_zone(capture_clock.wall, fix.wall, _MAX_FIX_DIFFERENCE)
        if zone is None or _is_midnight(fix):
            notes.add(_reject_fix(capture_clock, fix))
            continue
        notes.add(fix.note)
        if abs(capture_clock.wall - zone - fix.wall) <= _SAME_EXPOSURE:
            return _make_result(capture_clock.wall - zone, capture_clock.source, notes)
        return _make_result(fix.wall, fix.source, notes)
    return None


def _borrow_offset(capture_clock: Clock, other: Clock, notes: _Notes) -> Clock:
    """The chosen wall clock with the offset of another tag that has the same wall clock."""
    notes.add(f"{capture_clock.tag} has no time zone; that of {other.tag} fits")
    # Its own wall clock may be a second beyond the calendar in that zone; the other one is not.
    resolved = replace(capture_clock, offset=other.offset)
    return resolved if resolved.instant is not None else replace(resolved, wall=other.wall)


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
    """The time zone in which both are the same instant; None if there is no such zone."""
    zone = round((wall - utc) / _QUARTER_HOUR) * _QUARTER_HOUR
    if not _MIN_OFFSET <= zone <= _MAX_OFFSET or abs(wall - utc - zone) > tolerance:
        return None
    # Beyond the calendar's ends there is no instant to give.
    return zone if _subtract_offset(wall, zone) is not None else None


def _is_midnight(fix: Clock) -> bool:
    """Whether a fix has only a date: such receivers write midnight."""
    return (fix.wall.hour, fix.wall.minute, fix.wall.second) == (0, 0, 0)


def _reject_fix(capture_clock: Clock, fix: Clock) -> str:
    fits = _find_zone(capture_clock.wall, fix.wall, _MAX_FIX_DIFFERENCE) is not None
    why = "has only a date" if fits else "does not fit any time zone"
    for weeks in (_GPS_WEEK_ROLLOVER, 2 * _GPS_WEEK_ROLLOVER):
        if abs(abs(capture_clock.wall - fix.wall) - weeks) <= _MAX_OFFSET:
            why = f"is {weeks.days // 7} weeks off"
    return f"the satellite clock {why}: {fix} UTC; {capture_clock} comes first"


def _is_alone_credible(fix: Clock, modified: Clock | None, notes: _Notes) -> bool:
    """Choose a satellite clock if there is no camera time."""
    if fix.wall < _FIRST_FIX_TIME or fix.void:
        notes.add(f"the satellite clock had no fix: {fix} UTC; not used")
        return False
    if modified is None:
        return True
    ahead = fix.wall - modified.wall
    rolled = any(
        abs(ahead + weeks) <= _MAX_OFFSET for weeks in (_GPS_WEEK_ROLLOVER, 2 * _GPS_WEEK_ROLLOVER)
    )
    if ahead > _MAX_OFFSET or rolled:
        notes.add(_reject_fix(modified, fix))
        return False
    return True


def _report_difference(
    capture_clock: Clock, other: Clock, chosen: ChosenTime, notes: _Notes
) -> None:
    """Add a note if another time of the file differs."""
    if other.is_change:
        # Files are changed after the exposure, so only an unused offset is reported.
        if other.offset is not None and capture_clock.offset is None and chosen.assumed_utc:
            notes.add(f"the time zone of {other} belongs to another time; not used")
        return
    if abs(other.wall - capture_clock.wall) <= _REPORTED_DIFFERENCE:
        if capture_clock.offset is not None and other.offset not in (None, capture_clock.offset):
            notes.add(f"the time zone differs: {other}; {capture_clock} comes first")
        return
    if other.instant is not None and chosen.captured_at is not None and not chosen.assumed_utc:
        difference = abs(other.instant - chosen.captured_at.replace(tzinfo=None))
        if difference <= _REPORTED_DIFFERENCE:
            return
    notes.add(f"another time is {other}; {capture_clock} comes first")
