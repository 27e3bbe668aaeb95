"""Lengths as text for people."""

from __future__ import annotations


def format_length(meters: float) -> str:
    """Format a length with its unit: `85 m`, `1.2 km`, `340 km`."""
    if meters < 1_000:
        return f"{meters:.0f} m"
    length_km = meters / 1_000
    return f"{length_km:.1f} km" if length_km < 100 else f"{length_km:.0f} km"
