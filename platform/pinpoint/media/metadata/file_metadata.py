"""Merges EXIF, XMP and IPTC of one opened image into `RawMetadata`.

docs/reference/metadata.md has the order of precedence and its reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from PIL import Image

from pinpoint.media.metadata.blocks import Blocks, collect_blocks
from pinpoint.media.metadata.exif import Exif, read_exif
from pinpoint.media.metadata.iptc import read_iptc_clocks
from pinpoint.media.metadata.positions import choose_position
from pinpoint.media.metadata.raw_metadata import RawMetadata, Scalar, limit_warnings
from pinpoint.media.metadata.times import ChosenTime, Clock, choose_time
from pinpoint.media.metadata.xmp import Xmp, read_xmp
from pinpoint.records import TIME_SOURCES

T = TypeVar("T")

_HEADING_DIFFERENCE_DEG: Final = 10.0
"""Difference above which two headings of one file are reported."""


def read_raw_metadata(image: Image.Image) -> RawMetadata:
    """Metadata of an opened image. EXIF has precedence over XMP."""
    blocks = collect_blocks(image)
    exifs = [read_exif(block) for block in blocks.exif]
    xmps = [read_xmp(*packet) for packet in blocks.xmp]
    both: list[Exif | Xmp] = [*exifs, *xmps]
    position, position_notes = choose_position(
        [exif.position for exif in exifs] + [p for xmp in xmps for p in xmp.positions]
    )
    time = _choose_time(both, read_iptc_clocks(blocks.iptc))
    heading, magnetic, heading_notes = _choose_heading(exifs, xmps)
    attributes = _collect_damage(blocks, exifs, xmps)
    if magnetic:
        attributes["heading_reference"] = "magnetic"
    if any(xmp.equirectangular for xmp in xmps):
        attributes["projection"] = "equirectangular"
    several = [f"the file has {len(exifs)} EXIF blocks; all were read"] if len(exifs) > 1 else []
    return RawMetadata(
        lat=position.lat,
        lon=position.lon,
        position_source=position.source if position.whole or position.partial else "none",
        position_note=position.note[:150],
        position_partial=position.partial and not position.whole,
        captured_at=time.captured_at,
        time_source=time.source,
        time_assumed_utc=time.assumed_utc,
        warnings=limit_warnings([*position_notes, *time.warnings, *heading_notes, *several]),
        heading_deg=heading,
        pose_heading_deg=_first_known([xmp.pose_heading_deg for xmp in xmps]),
        focal_length_35mm_mm=_first_known([exif.focal_length_35mm_mm for exif in exifs]),
        altitude_m=_first_known([block.altitude_m for block in both]),
        camera=_first_known([exif.camera for exif in exifs]),
        creator=_first_known([block.creator for block in both]),
        sphere=_first_known([xmp.sphere for xmp in xmps]),
        attributes=attributes,
    )


def _collect_damage(
    blocks: Blocks, exifs: Sequence[Exif], xmps: Sequence[Xmp]
) -> dict[str, Scalar]:
    """Attributes that report unreadable blocks."""
    damage = {
        "exif_damaged": _first_known([*(exif.damaged for exif in exifs), blocks.damaged]),
        "xmp_damaged": _first_known([xmp.damaged for xmp in xmps]),
    }
    return {name: text for name, text in damage.items() if text is not None}


def _choose_time(blocks: Sequence[Exif | Xmp], iptc: Sequence[Clock]) -> ChosenTime:
    """The time by the order of `TIME_SOURCES`; its warnings include unreadable times."""
    clocks = [clock for block in blocks for clock in block.clocks]
    clocks = sorted((*clocks, *iptc), key=_rank_clock)
    # EXIF and XMP often repeat one fix.
    fixes = {
        b.satellite.wall.replace(microsecond=0): b.satellite for b in blocks[::-1] if b.satellite
    }
    time = choose_time(clocks, list(fixes.values())[::-1])
    notes = [note for block in blocks for note in block.notes]
    return ChosenTime(
        captured_at=time.captured_at,
        source=time.source,
        assumed_utc=time.assumed_utc,
        warnings=(*time.warnings, *notes),
    )


def _rank_clock(clock: Clock) -> int:
    return len(TIME_SOURCES) if clock.source is None else TIME_SOURCES.index(clock.source)


def _choose_heading(
    exifs: Sequence[Exif], xmps: Sequence[Xmp]
) -> tuple[float | None, bool, list[str]]:
    """Degrees, whether they are magnetic, and a warning if a drone's gimbal heading differs."""
    written = next((exif for exif in exifs if exif.heading_deg is not None), None)
    gimbal = _first_known([xmp.gimbal_heading_deg for xmp in xmps])
    heading = _first_known(
        [
            written.heading_deg if written else None,
            *(xmp.heading_deg for xmp in xmps),
            gimbal,
            *(xmp.pose_heading_deg for xmp in xmps),
        ]
    )
    notes = []
    if heading is not None and gimbal is not None:
        difference_deg = abs((heading - gimbal + 180.0) % 360.0 - 180.0)
        if difference_deg > _HEADING_DIFFERENCE_DEG:
            notes.append(
                f"the gimbal's heading is {gimbal:.0f} degrees; the image direction of "
                f"{heading:.0f} degrees comes first"
            )
    return heading, bool(written and written.heading_magnetic), notes


def _first_known(values: Sequence[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
