"""Answers that their callers asked to keep, without the photo; each expires.

A read ignores expired rows at once; `prune` deletes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, tuple_

from pinpoint.errors import NotFoundError
from pinpoint.records import Answer, KeptQuery, Point
from pinpoint.store.db.tables import kept_queries


def keep_query(
    connection: Connection, organization_id: UUID, answer: Answer, retention_days: float
) -> KeptQuery:
    """Insert an answer.

    Args:
        connection: Of the organization.
        organization_id: Owner of the row.
        answer: An answer with a point.
        retention_days: Days until it expires.

    Raises:
        ValueError: The answer has no point.
    """
    if answer.point is None:
        raise ValueError("an answer without a point cannot be kept")
    disc, query_id = answer.outer_disc, uuid4()
    connection.execute(
        insert(kept_queries).values(
            id=query_id,
            organization_id=organization_id,
            expires_at=func.now() + timedelta(days=retention_days),
            geom=func.ST_SetSRID(func.ST_MakePoint(answer.point.lon, answer.point.lat), 4326),
            radius_m=None if disc is None else disc.radius_m,
            probability=None if disc is None else disc.probability,
            calibrated=answer.calibrated,
            abstention_reason=answer.calibrated_result.abstention_reason,
            bundle=answer.bundle,
            is_coarse=answer.granularity != "exact",
        )
    )
    return _to_kept_query(
        connection.execute(_select_kept_queries().where(kept_queries.c.id == query_id)).one()
    )


def list_kept_queries(
    connection: Connection,
    organization_id: UUID,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[KeptQuery]:
    """List kept queries, newest first; `before` is time and id of the last one of a page."""
    statement = (
        _select_kept_queries()
        .where(
            kept_queries.c.organization_id == organization_id,
            kept_queries.c.expires_at > func.now(),
        )
        .order_by(kept_queries.c.created_at.desc(), kept_queries.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(
            tuple_(kept_queries.c.created_at, kept_queries.c.id) < tuple_(*before)
        )
    rows: Sequence[Row[tuple[object, ...]]] = connection.execute(statement).all()
    return [_to_kept_query(row) for row in rows]


def delete_kept_query(connection: Connection, organization_id: UUID, query_id: UUID) -> None:
    """Delete a kept query.

    Raises:
        NotFoundError: It does not exist, or it is expired.
    """
    deleted = connection.execute(
        delete(kept_queries).where(
            kept_queries.c.organization_id == organization_id,
            kept_queries.c.id == query_id,
            kept_queries.c.expires_at > func.now(),
        )
    )
    if not deleted.rowcount:
        raise NotFoundError(f"no kept query {query_id}")


def _select_kept_queries() -> Select[tuple[object, ...]]:
    return select(
        kept_queries.c.id,
        kept_queries.c.created_at,
        kept_queries.c.expires_at,
        func.ST_Y(kept_queries.c.geom).label("lat"),
        func.ST_X(kept_queries.c.geom).label("lon"),
        kept_queries.c.radius_m,
        kept_queries.c.probability,
        kept_queries.c.calibrated,
        kept_queries.c.abstention_reason,
        kept_queries.c.bundle,
    )


def _to_kept_query(row: Row[tuple[object, ...]]) -> KeptQuery:
    values = dict(row._mapping)
    point = Point(values.pop("lat"), values.pop("lon"))
    return KeptQuery(point=point, **values)
