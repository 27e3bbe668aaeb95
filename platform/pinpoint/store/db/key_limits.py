"""Limits of API keys that differ from the settings, and the secret of the misuse rule's hashes.

All statements are functions that the API's role may call; only its operator routes write.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from pinpoint.errors import NotFoundError
from pinpoint.records.key_limits import KeyLimits
from pinpoint.store.db.database import Transactions


class KeyLimitStore:
    """Access to the table `key_limits`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, key_id: UUID) -> KeyLimits:
        """Limits that were set for a key.

        Raises:
            NotFoundError: No such key exists.
        """
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                text("SELECT * FROM tenant.key_limits(:key)"), {"key": key_id}
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"no key {key_id}")
        return KeyLimits(
            requests_per_minute=row.requests_per_minute,
            photos_per_day=row.photos_per_day,
            bytes_per_day=row.bytes_per_day,
            concurrent_jobs=row.concurrent_jobs,
        )

    def write(self, key_id: UUID, limits: KeyLimits) -> None:
        """Replace the limits of a key; `KeyLimits()` gives it those of the settings.

        Raises:
            NotFoundError: No such key exists, or it is revoked.
        """
        with self._transactions.begin() as unit:
            is_stored = unit.connection.execute(
                text("SELECT tenant.set_key_limits(:key, :requests, :photos, :bytes, :jobs)"),
                {
                    "key": key_id,
                    "requests": limits.requests_per_minute,
                    "photos": limits.photos_per_day,
                    "bytes": limits.bytes_per_day,
                    "jobs": limits.concurrent_jobs,
                },
            ).scalar_one()
        if not is_stored:
            raise NotFoundError(f"no key {key_id} in force")

    def read_hash_key(self) -> bytes:
        """Secret of the hashes of the misuse rule, 32 bytes."""
        with self._transactions.begin() as unit:
            value = unit.connection.execute(text("SELECT tenant.misuse_hash_key()")).scalar_one()
        return bytes(value)
