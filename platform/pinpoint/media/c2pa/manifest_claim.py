"""The claim of a C2PA manifest as the child sends it; the parent checks every value again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from pinpoint.media.checks import RejectedFileError, check_position
from pinpoint.media.metadata.raw_metadata import MAX_TEXT
from pinpoint.records import C2paClaim, Point

MAX_CODES: Final = 16
MAX_SOURCE_TYPES: Final = 8

_CODE_PATTERN: Final = r"^[A-Za-z0-9._-]{1,64}$"

ClaimText = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Code = Annotated[str, msgspec.Meta(pattern=_CODE_PATTERN)]
FailureCodes = Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_CODES)]
SourceTypes = Annotated[tuple[Code, ...], msgspec.Meta(max_length=MAX_SOURCE_TYPES)]
AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]


class ManifestClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of `C2paClaim`; the position is not checked yet, and one coordinate may be missing."""

    state: Literal["absent", "remote", "invalid", "valid", "trusted"]
    state_reason: ClaimText | None = None
    failure_codes: FailureCodes = ()
    data_hash_matches: bool | None = None
    generator: ClaimText | None = None
    signer: ClaimText | None = None
    signer_organization: ClaimText | None = None
    signed_at: AwareTime | None = None
    digital_source_types: SourceTypes = ()
    lat: float | None = None
    lon: float | None = None
    position_source: Code | None = None
    position_note: ClaimText | None = None
    captured_at: AwareTime | None = None
    time_source: Code | None = None
    time_assumed_utc: bool = False


def encode_claim(claim: ManifestClaim) -> dict[str, object]:
    """Plain values for msgpack."""
    values: dict[str, object] = msgspec.to_builtins(claim)
    return values


def decode_claim(values: object) -> C2paClaim:
    """The claim from a child's message, with every value checked.

    Raises:
        ValueError: A value has the wrong type or size; the child is not trusted.
    """
    claim = msgspec.convert(values, ManifestClaim)
    point, note = None, claim.position_note
    try:
        point = Point(*check_position(claim.lat, claim.lon, note or "", partial=note is not None))
        note = None
    except RejectedFileError as refused:
        note = None if refused.reason == "no_position" else refused.detail
    return C2paClaim(
        state=claim.state,
        state_reason=claim.state_reason,
        failure_codes=claim.failure_codes,
        data_hash_matches=claim.data_hash_matches,
        generator=claim.generator,
        signer=claim.signer,
        signer_organization=claim.signer_organization,
        signed_at=_to_utc(claim.signed_at),
        digital_source_types=claim.digital_source_types,
        point=point,
        position_source=claim.position_source if point else None,
        position_note=note,
        captured_at=_to_utc(claim.captured_at),
        time_source=claim.time_source if claim.captured_at else None,
        time_assumed_utc=claim.time_assumed_utc,
    )


def _to_utc(moment: datetime | None) -> datetime | None:
    try:
        return moment and moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time is beyond the calendar") from error
