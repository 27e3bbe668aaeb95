"""Values of a dossier as short texts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pinpoint.api.v1.schemas.candidates import ChannelOut
from pinpoint.api.v1.schemas.verification import VerificationOut


def format_lat_lon(lat: float, lon: float) -> str:
    """Format a position: `48.85660°, 2.35220°`."""
    return f"{lat:.5f}°, {lon:.5f}°"


def format_degrees(angle_deg: float) -> str:
    """Format an angle: `12.3°`."""
    return f"{angle_deg:.1f}°"


def format_utc(time: datetime) -> str:
    """Format a time in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_channels(channels: Mapping[str, ChannelOut]) -> str:
    """Format scores and ranks: `image 0.912 (0), gps 0.420 (–)`."""
    return ", ".join(
        f"{name} {channel.score:.3f} ({'–' if channel.rank is None else channel.rank})"
        for name, channel in channels.items()
    )


def format_match(verification: VerificationOut | None) -> str:
    """Format a comparison by local features: `31, verified`."""
    if verification is None:
        return ""
    if verification.status in ("image_unavailable", "time_budget_used"):
        return verification.status.replace("_", " ")
    return f"{verification.inliers}{', verified' if verification.verified else ''}"


def shorten_text(text: str, max_chars: int = 100) -> str:
    """Cut a longer text."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
