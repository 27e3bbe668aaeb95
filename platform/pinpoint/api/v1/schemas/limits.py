"""Schemas of limits: those of a key, and what is left of the caller's."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.records import Scope
from pinpoint.records.key_limits import CountedPolicy, KeyLimits, LimitUsage

MAX_QUOTA = 10**15
"""Maximum of a limit: Redis adds integers exactly up to 2^53."""
Quota = Annotated[int, Field(ge=0, le=MAX_QUOTA)]


class KeyLimitsIn(BaseModel):
    """Limits of a key. Null or absent: the limit of the settings; 0: no limit."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Quota | None = Field(default=None, examples=[600])
    photos_per_day: Quota | None = Field(default=None, examples=[1000])
    bytes_per_day: Quota | None = None
    concurrent_jobs: Quota | None = None

    def to_limits(self) -> KeyLimits:
        """Convert to the record."""
        return KeyLimits(**self.model_dump())


class LimitsOut(BaseModel):
    """Limits in force; 0: no limit."""

    requests_per_minute: int
    photos_per_day: int
    bytes_per_day: int
    concurrent_jobs: int

    @classmethod
    def of(cls, limits: KeyLimits) -> LimitsOut:
        """Convert limits in force."""
        return cls(
            requests_per_minute=limits.get_quota("requests"),
            photos_per_day=limits.get_quota("photos"),
            bytes_per_day=limits.get_quota("bytes"),
            concurrent_jobs=limits.get_quota("jobs"),
        )


class KeyLimitsOut(BaseModel):
    """Limits of a key: those that were set for it, and those in force."""

    overrides: KeyLimitsIn
    limits: LimitsOut

    @classmethod
    def of(cls, overrides: KeyLimits, limits: KeyLimits) -> KeyLimitsOut:
        """Convert both."""
        return cls(
            overrides=KeyLimitsIn(
                requests_per_minute=overrides.requests_per_minute,
                photos_per_day=overrides.photos_per_day,
                bytes_per_day=overrides.bytes_per_day,
                concurrent_jobs=overrides.concurrent_jobs,
            ),
            limits=LimitsOut.of(limits),
        )


class LimitUsageOut(BaseModel):
    """What is left of one limit."""

    policy: CountedPolicy
    quota: int
    remaining: int
    window_s: int = Field(description="Length of the sliding window, seconds.")
    reset_s: int = Field(
        description="Seconds until the window ends, or, if nothing remains, until one unit is free."
    )

    @classmethod
    def of(cls, usage: LimitUsage) -> LimitUsageOut:
        """Convert one usage."""
        return cls(
            policy=usage.policy,
            quota=usage.quota,
            remaining=usage.remaining,
            window_s=usage.window_s,
            reset_s=usage.reset_s,
        )


class OwnLimitsOut(BaseModel):
    """Scopes and limits of the caller, and what is left of them."""

    scopes: list[Scope] = Field(description="All scopes of the key, those of its role included.")
    limits: LimitsOut
    usage: list[LimitUsageOut] = Field(
        description="One entry for each limit that counts within a window; empty if the counters "
        "do not answer."
    )
