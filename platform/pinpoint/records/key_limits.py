"""Limits of an API key, and how much of them is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LimitPolicy = Literal["requests", "photos", "bytes", "jobs"]
"""`jobs` limits the jobs that are open at the same time; the others count within a window."""
MisusePolicy = Literal["creator", "cell"]
MISUSE_POLICIES: Final[tuple[MisusePolicy, ...]] = ("creator", "cell")
"""Rules of misuse: many photos of one creator, and of one H3 cell."""
CountedPolicy = Literal["requests", "photos", "bytes"]
WINDOWS_S: Final[dict[CountedPolicy, int]] = {"requests": 60, "photos": 86_400, "bytes": 86_400}
"""Window of each counted policy, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits of one API key.

    None is the limit of the settings, and 0 is no limit. Limits in force are never None.
    """

    requests_per_minute: int | None = None
    photos_per_day: int | None = None
    bytes_per_day: int | None = None
    concurrent_jobs: int | None = None

    def get_quota(self, policy: LimitPolicy) -> int:
        """Quota of a policy; 0 without a limit."""
        quotas = {
            "requests": self.requests_per_minute,
            "photos": self.photos_per_day,
            "bytes": self.bytes_per_day,
            "jobs": self.concurrent_jobs,
        }
        return quotas[policy] or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUsage:
    """Usage of one counted policy by one key."""

    policy: CountedPolicy
    quota: int
    remaining: int
    window_s: int
    reset_s: int
    """Seconds until the window ends, or, if nothing remains, until one unit is free again."""
