"""Answers of requests with `Idempotency-Key`, stored in the transaction that creates.

Protocol: one transaction locks the key, creates, stores the answer and commits. A crash before the
commit leaves neither the creation nor the key, a crash after it leaves both. The lock is of the
transaction, so it never outlives its process.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from pinpoint.errors import ConflictError, InvalidRequestError
from pinpoint.records import IdempotentRequest, StoredAnswer
from pinpoint.store.db.idempotency_tables import idempotency_keys

KEY_IN_USE = "idempotency_key_in_use"
KEY_REUSED = "idempotency_key_reused"


class IdempotentRequests:
    """Keys and answers of one organization, in one transaction.

    Args:
        connection: Connection of the transaction.
        organization_id: The organization.
    """

    def __init__(self, connection: Connection, organization_id: UUID) -> None:
        self._connection, self._organization_id = connection, organization_id

    def find_answer(self, request: IdempotentRequest) -> StoredAnswer | None:
        """Lock the key of a request until the end of the transaction and find its answer.

        Returns:
            The answer of an earlier request with this key; None if there is none.

        Raises:
            ConflictError: A request with this key is running (`idempotency_key_in_use`).
            InvalidRequestError: The key belongs to another request (`idempotency_key_reused`).
        """
        lock = f"{self._organization_id} {request.caller_id} {request.route} {request.key}"
        is_locked = self._connection.execute(
            select(func.pg_try_advisory_xact_lock(func.hashtextextended(lock, 0)))
        ).scalar_one()
        if not is_locked:
            raise ConflictError(
                "a request with this Idempotency-Key is still running; repeat it later",
                reason=KEY_IN_USE,
            )
        row = self._connection.execute(
            select(idempotency_keys).where(
                self._is_key(request), idempotency_keys.c.expires_at > func.now()
            )
        ).one_or_none()
        if row is None:
            return None
        if row.fingerprint != request.fingerprint:
            raise InvalidRequestError(
                "this Idempotency-Key was used for another request; a new request needs a new key",
                reason=KEY_REUSED,
            )
        return StoredAnswer(status=row.status, headers=row.headers, body=bytes(row.body))

    def store_answer(self, request: IdempotentRequest, answer: StoredAnswer, ttl_s: float) -> None:
        """Store the answer of a request whose key is locked, and delete expired answers.

        Args:
            request: The request.
            answer: Its answer.
            ttl_s: Seconds until the answer expires.
        """
        self._connection.execute(
            delete(idempotency_keys).where(
                idempotency_keys.c.organization_id == self._organization_id,
                idempotency_keys.c.expires_at <= func.now(),
            )
        )
        self._connection.execute(
            insert(idempotency_keys).values(
                organization_id=self._organization_id,
                caller_id=request.caller_id,
                route=request.route,
                key_sha256=_hash_key(request),
                fingerprint=request.fingerprint,
                status=answer.status,
                headers=dict(answer.headers),
                body=answer.body,
                expires_at=func.now() + timedelta(seconds=ttl_s),
            )
        )

    def _is_key(self, request: IdempotentRequest) -> ColumnElement[bool]:
        return and_(
            idempotency_keys.c.organization_id == self._organization_id,
            idempotency_keys.c.caller_id == request.caller_id,
            idempotency_keys.c.route == request.route,
            idempotency_keys.c.key_sha256 == _hash_key(request),
        )


def _hash_key(request: IdempotentRequest) -> bytes:
    return hashlib.sha256(request.key.encode()).digest()
