"""The misuse rule: one key that locates many photos of one creator, or of one narrow place.

Redis holds, for 48 hours at most, a count for each pair of a key and a hash. The hash is an
HMAC-SHA-256 of the creator's name or of the H3 cell; its secret is in PostgreSQL. Neither names nor
positions are stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import AbnormalUsageError, UnavailableError
from pinpoint.geo.cells import cells_of
from pinpoint.limit_settings import LimitSettings
from pinpoint.records import Point
from pinpoint.records.key_limits import MisusePolicy
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.limits.counters import LimitCounters

WINDOW_S: Final = 86_400
_log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misuse:
    """Rules that one query exceeds."""

    policies: tuple[MisusePolicy, ...]
    is_new: bool
    """Whether a rule is exceeded for the first time within a day by this key and subject."""
    is_refused: bool
    retry_after_s: float

    def to_error(self) -> AbnormalUsageError:
        """The error of a refused query; it does not say how many photos the rule permits."""
        return AbnormalUsageError(
            "this key located unusually many photos of one creator or of one place within a day; "
            "ask the operator of this installation",
            policies=self.policies,
            retry_after_s=self.retry_after_s,
        )


class MisuseRule:
    """Counts located photos by creator and by place. Thread-safe.

    Args:
        counters: Counters that all processes share.
        store: Has the secret of the hashes.
        settings: Action and maxima of the rule.
    """

    def __init__(
        self, counters: LimitCounters, store: KeyLimitStore, settings: LimitSettings
    ) -> None:
        self._counters, self._store, self._settings = counters, store, settings

    @property
    def is_on(self) -> bool:
        """Whether photos are counted at all."""
        return self._settings.misuse_action != "off"

    @cached_property
    def _hash_key(self) -> bytes:
        return self._store.read_hash_key()

    def count_photos(
        self, key_id: UUID, creators: Mapping[str, int], point: Point | None, num_photos: int
    ) -> Misuse | None:
        """Count the photos of one query whose answer is known.

        Args:
            key_id: API key of the caller.
            creators: Number of photos by creator, as in their metadata.
            point: The located point; None without one.
            num_photos: Number of photos of the query.

        Returns:
            The exceeded rules; None if there is none, the rule is off, or Redis does not answer.
        """
        if not self.is_on:
            return None
        settings = self._settings
        subjects: list[tuple[MisusePolicy, str, int, int]] = [
            ("creator", _normalize(name), settings.misuse_photos_per_creator, count)
            for name, count in creators.items()
        ]
        if point is not None:
            cells = cells_of(point)
            cell = cells.r7 if settings.misuse_cell_resolution == 7 else cells.r9
            subjects.append(("cell", str(cell), settings.misuse_photos_per_cell, num_photos))
        exceeded: set[MisusePolicy] = set()
        is_new, retry_after_s = False, 0.0
        try:
            for policy, subject, limit, cost in subjects:
                name = f"{key_id}:{policy}:{self._hash_subject(policy, subject)}"
                if not limit or self._counters.take(
                    name, limit=limit, window_s=WINDOW_S, cost=cost
                ):
                    continue
                exceeded.add(policy)
                window = self._counters.read(name, window_s=WINDOW_S)
                retry_after_s = max(retry_after_s, window.compute_wait_s(limit, cost))
                is_new |= self._counters.take(f"{name}:reported", limit=1, window_s=WINDOW_S)
        except UnavailableError as error:
            _log.warning("misuse rule not checked", detail=error.message)
        if not exceeded:
            return None
        return Misuse(
            policies=tuple(sorted(exceeded)),
            is_new=is_new,
            is_refused=settings.misuse_action == "refuse",
            retry_after_s=max(1.0, retry_after_s),
        )

    def _hash_subject(self, policy: MisusePolicy, subject: str) -> str:
        return hmac.new(self._hash_key, f"{policy}:{subject}".encode(), hashlib.sha256).hexdigest()


def _normalize(name: str) -> str:
    """Name of a creator without differences of case and spaces."""
    return " ".join(name.casefold().split())
