"""Lines about the claims of query photos, next to an answer that does not depend on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pinpoint.cli import output


def describe_claims(claims: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for the metadata and one for the C2PA manifest of each photo that has them.

    Args:
        claims: `claims` of an answer.
    """
    for claim in claims:
        photo = f"photo {claim['photo'] + 1}, " if len(claims) > 1 else ""
        if metadata := _describe_capture(claim):
            yield f"{photo}metadata claim: {metadata}"
        manifest = claim["c2pa"]
        if manifest["state"] != "absent":
            yield f"{photo}C2PA: {_describe_manifest(manifest)}"


def _describe_manifest(manifest: dict[str, Any]) -> str:
    """State, signer and content of a manifest."""
    state = manifest["state"].replace("_", " ")
    reasons = [manifest["state_reason"], *manifest["failure_codes"]]
    if manifest["data_hash_matches"] is False:
        reasons.append("the image was changed after it was signed")
    if named_reasons := ", ".join(reason for reason in reasons if reason):
        state = f"{state} ({named_reasons})"
    signers = [manifest["signer"], manifest["signer_organization"]]
    parts = [state]
    if signer := ", ".join(name for name in signers if name):
        parts.append(f"signed by {signer}")
    if manifest["generator"]:
        parts.append(f"made by {manifest['generator']}")
    if manifest["declares_generative_ai"]:
        parts.append("declares generative AI")
    return "; ".join([*parts, *filter(None, [_describe_capture(manifest)])])


def _describe_capture(claim: dict[str, Any]) -> str:
    """Claimed position and time; empty without both."""
    parts = []
    if (point := claim["point"]) is not None:
        parts.append(f"{point['lat']:.5f}, {point['lon']:.5f}")
        if claim["distance_m"] is not None:
            parts.append(f"{output.format_length(claim['distance_m'])} from the point")
        if claim["agrees"] is not None:
            parts.append("agrees" if claim["agrees"] else "disagrees")
    elif claim["position_note"]:
        parts.append(f"no usable position ({claim['position_note']})")
    if claim["captured_at"] is not None:
        zone = "?" if claim["time_assumed_utc"] else "UTC"
        parts.append(f"{claim['captured_at'][:16].replace('T', ' ')} {zone}")
    return " · ".join(parts)
