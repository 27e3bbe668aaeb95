"""Claims: what the metadata of a query photo state about its capture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pinpoint.records.primitives import Point

C2paState = Literal["not_checked", "absent", "remote", "invalid", "valid", "trusted"]
"""State of a photo's C2PA manifest.

`not_checked`: it was not read. `absent`: the photo has none. `remote`: the photo names a URL, which
is never requested. `invalid`: a signature, a hash or the format is wrong. `valid`: everything
matches, and the signer is not on a trust list. `trusted`: everything matches, and the signer is on
the configured trust list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class C2paClaim:
    """What the C2PA manifest of a photo states (C2PA specification 2.2).

    A signature proves who signed the manifest and that it was not changed since. It does not prove
    that the position or time in it is correct.
    """

    state: C2paState
    state_reason: str | None = None
    """Why the manifest was not checked, not fetched or cannot be read; None otherwise."""
    failure_codes: tuple[str, ...] = ()
    """Failure codes of the C2PA specification; empty if everything matches."""
    data_hash_matches: bool | None = None
    """Whether the image is the one that was signed; None if the manifest has no such hash."""
    generator: str | None = None
    """Name and version of the program or device that made the manifest."""
    signer: str | None = None
    """Common name of the signing certificate."""
    signer_organization: str | None = None
    signed_at: datetime | None = None
    """Time of a time-stamp authority; None without a time stamp."""
    digital_source_types: tuple[str, ...] = ()
    """IPTC digital source types that actions of the photo or of its ingredients declare."""
    point: Point | None = None
    position_source: str | None = None
    """Label of the assertion; None without a usable position."""
    position_note: str | None = None
    """Why a position in the manifest is not usable; None without such a position."""
    captured_at: datetime | None = None
    time_source: str | None = None
    """Label of the assertion; None without a time."""
    time_assumed_utc: bool = False
    """Whether the time has no offset, so that it may be wrong by hours."""

    @property
    def declares_generative_ai(self) -> bool:
        """Whether a declared digital source type is that of a generative model."""
        return not GENERATIVE_SOURCE_TYPES.isdisjoint(self.digital_source_types)


GENERATIVE_SOURCE_TYPES: Final = frozenset(
    {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"}
)
"""IPTC digital source types of media from generative models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureClaim:
    """Position, time and heading that a photo's EXIF and XMP state; unverified."""

    point: Point | None = None
    position_source: str | None = None
    """`exif` or `xmp`; None without a usable position."""
    position_note: str | None = None
    """Why a position in the file is not usable; None without such a position."""
    captured_at: datetime | None = None
    time_source: str | None = None
    """One of `TIME_SOURCES`; None without a time."""
    time_assumed_utc: bool = False
    """Whether the time has no offset, so that it may be wrong by hours."""
    heading_deg: float | None = None
    c2pa: C2paClaim = C2paClaim(state="not_checked")
    """The photo's C2PA manifest; its position is compared separately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedClaim:
    """A claim, and how it relates to the answer."""

    photo: int
    """Number of the photo in the query, from 0."""
    claim: CaptureClaim
    distance_m: float | None = None
    """Distance of the claimed position from the answer's point; None without one of them."""
    inside_discs: tuple[bool, ...] = ()
    """Whether the position is inside each credible disc of the answer; empty without a distance."""
    inside_regions: tuple[bool, ...] = ()
    """Whether it is inside each credible region; empty without a posterior or a distance."""
    agrees: bool | None = None
    """None if there is nothing to compare: no claimed position, or no answer."""
    c2pa_distance_m: float | None = None
    """Distance of the position in the C2PA manifest from the answer's point."""
    c2pa_agrees: bool | None = None
    """As `agrees`, for the position in the C2PA manifest."""
