"""Response schemas of claims: what query photos state about themselves."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from pinpoint.api.v1.schemas.basics import LatLon
from pinpoint.records import Answer, ComparedClaim
from pinpoint.records.claims import C2paState


class ClaimAreaOut(BaseModel):
    """Whether the claimed position is inside a stated area."""

    probability: float = Field(description="Probability of the disc or region.")
    inside: bool


class C2paOut(BaseModel):
    """The C2PA manifest of a photo; never used for the answer."""

    state: C2paState = Field(
        description="`valid`: signature and hashes match. `trusted`: the signer is also on the "
        "server's trust list. `invalid`: something does not match or cannot be read. `absent`: no "
        "manifest. `remote`: only a URL, which is not requested. `not_checked`: see `state_reason`."
    )
    state_reason: str | None
    failure_codes: list[str] = Field(description="Failure codes of the C2PA specification.")
    data_hash_matches: bool | None = Field(
        description="Whether the image is the one that was signed; null without such a hash."
    )
    generator: str | None = Field(description="Program or device that made the manifest.")
    signer: str | None = Field(description="Common name of the signing certificate.")
    signer_organization: str | None
    signed_at: datetime | None = Field(description="Time of a time-stamp authority.")
    digital_source_types: list[str] = Field(
        description="IPTC digital source types that actions of the photo or of its ingredients "
        "declare, such as `digitalCapture`."
    )
    declares_generative_ai: bool = Field(
        description="A digital source type is `trainedAlgorithmicMedia` or "
        "`compositeWithTrainedAlgorithmicMedia`."
    )
    point: LatLon | None = Field(description="Claimed position; null without a usable one.")
    position_source: str | None = Field(description="Label of the assertion.")
    position_note: str | None = Field(description="Why a position in the manifest is not usable.")
    captured_at: datetime | None
    time_source: str | None = Field(description="Label of the assertion.")
    time_assumed_utc: bool = Field(
        description="The claimed time has no offset from UTC and may be wrong by hours."
    )
    distance_m: float | None = Field(
        description="Distance of the claimed position from the answer's point."
    )
    agrees: bool | None = Field(description="As `agrees` of the claim, for this position.")

    @classmethod
    def of(cls, compared: ComparedClaim) -> C2paOut:
        """Convert the C2PA part of one claim."""
        claim = compared.claim.c2pa
        return cls(
            state=claim.state,
            state_reason=claim.state_reason,
            failure_codes=list(claim.failure_codes),
            data_hash_matches=claim.data_hash_matches,
            generator=claim.generator,
            signer=claim.signer,
            signer_organization=claim.signer_organization,
            signed_at=claim.signed_at,
            digital_source_types=list(claim.digital_source_types),
            declares_generative_ai=claim.declares_generative_ai,
            point=claim.point and LatLon(lat=claim.point.lat, lon=claim.point.lon),
            position_source=claim.position_source,
            position_note=claim.position_note,
            captured_at=claim.captured_at,
            time_source=claim.time_source,
            time_assumed_utc=claim.time_assumed_utc,
            distance_m=compared.c2pa_distance_m,
            agrees=compared.c2pa_agrees,
        )


class ClaimOut(BaseModel):
    """Position, time and heading in the metadata of a photo; never used for the answer."""

    photo: int = Field(description="Number of the photo in the query, from 0.")
    point: LatLon | None = Field(description="Claimed position; null without a usable one.")
    position_source: str | None = Field(description="`exif` or `xmp`.")
    position_note: str | None = Field(description="Why a position in the file is not usable.")
    captured_at: datetime | None
    time_source: str | None
    time_assumed_utc: bool = Field(
        description="The claimed time has no offset from UTC and may be wrong by hours."
    )
    heading_deg: float | None
    distance_m: float | None = Field(
        description="Distance of the claimed position from the answer's point."
    )
    inside_discs: list[ClaimAreaOut]
    inside_regions: list[ClaimAreaOut] = Field(description="Empty without a posterior.")
    agrees: bool | None = Field(
        description="True if the claimed position is inside the area of the highest probability, "
        "or within 1,000 m of the point; that area is the credible region, or the credible disc "
        "of an answer that is not calibrated. Null without a claimed position, without a point, "
        "and if the point is only a guess (`abstention_reason`)."
    )
    c2pa: C2paOut

    @classmethod
    def of(cls, compared: ComparedClaim, answer: Answer) -> ClaimOut:
        """Convert one claim of an answer."""
        claim, posterior = compared.claim, answer.calibrated_result.posterior
        regions = () if posterior is None else posterior.credible_regions
        return cls(
            photo=compared.photo,
            point=claim.point and LatLon(lat=claim.point.lat, lon=claim.point.lon),
            position_source=claim.position_source,
            position_note=claim.position_note,
            captured_at=claim.captured_at,
            time_source=claim.time_source,
            time_assumed_utc=claim.time_assumed_utc,
            heading_deg=claim.heading_deg,
            distance_m=compared.distance_m,
            inside_discs=[
                ClaimAreaOut(probability=disc.probability, inside=inside)
                for disc, inside in zip(answer.credible_discs, compared.inside_discs, strict=False)
            ],
            inside_regions=[
                ClaimAreaOut(probability=region.probability, inside=inside)
                for region, inside in zip(regions, compared.inside_regions, strict=False)
            ],
            agrees=compared.agrees,
            c2pa=C2paOut.of(compared),
        )
