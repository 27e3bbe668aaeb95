"""Root folders of sources: the ids of a root's files begin with the name of the root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pinpoint.errors import ConflictError, InvalidRequestError, NotFoundError
from pinpoint.records import SourceRoot
from pinpoint.store.db.tables import batch_items, batches, images, source_roots

_OPEN_STATES = ("received", "stored")
_PAGE_ROWS = 1_000


def list_roots(connection: Connection, source_ids: Sequence[UUID]) -> dict[UUID, list[SourceRoot]]:
    """List the roots of these sources, by name."""
    roots: dict[UUID, list[SourceRoot]] = {}
    rows = connection.execute(
        select(source_roots.c.source_id, source_roots.c.name, source_roots.c.path)
        .where(source_roots.c.source_id.in_(source_ids))
        .order_by(source_roots.c.name)
    )
    for row in rows:
        roots.setdefault(row.source_id, []).append(SourceRoot(name=row.name, path=row.path))
    return roots


def add_root(
    connection: Connection, organization_id: UUID, source_id: UUID, root: SourceRoot
) -> None:
    """Add a root to a source.

    Raises:
        ConflictError: The source already has a root with this name.
        InvalidRequestError: The name is empty, or not a plain folder name.
    """
    if not root.name.strip() or "/" in root.name or root.name in (".", ".."):
        raise InvalidRequestError(
            f"{root.name!r} cannot name a root: give one folder name without a /"
        )
    try:
        with connection.begin_nested():
            connection.execute(
                insert(source_roots),
                {
                    "id": uuid4(),
                    "organization_id": organization_id,
                    "source_id": source_id,
                    "name": root.name,
                    "path": root.path,
                },
            )
    except IntegrityError as error:
        raise ConflictError(f"the source has a root named {root.name!r} already") from error


def move_root(connection: Connection, source_id: UUID, name: str, path: str) -> int:
    """Change the path of a root; ids stay.

    Returns:
        Number of images that are stored by reference below it and now resolve to the new path.

    Raises:
        NotFoundError: The source has no root with this name.
    """
    row = connection.execute(
        select(source_roots.c.path)
        .where(source_roots.c.source_id == source_id, source_roots.c.name == name)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"the source has no root named {name!r}")
    connection.execute(
        update(source_roots)
        .where(source_roots.c.source_id == source_id, source_roots.c.name == name)
        .values(path=path)
    )
    old_prefix, new_prefix = f"{Path(row.path).as_uri()}/", f"{Path(path).as_uri()}/"
    waiting = select(batches.c.id).where(batches.c.source_id == source_id)
    connection.execute(
        update(batch_items)
        .where(
            batch_items.c.batch_id.in_(waiting),
            batch_items.c.status.in_(_OPEN_STATES),
            func.starts_with(batch_items.c.uri, old_prefix),
        )
        .values(uri=func.concat(new_prefix, func.substr(batch_items.c.uri, len(old_prefix) + 1)))
    )
    moved = connection.execute(
        update(images)
        .where(images.c.source_id == source_id, func.starts_with(images.c.uri, old_prefix))
        .values(uri=func.concat(new_prefix, func.substr(images.c.uri, len(old_prefix) + 1)))
    )
    return int(moved.rowcount)


def list_catalog_files(
    connection: Connection, is_own: ColumnElement[bool], source_id: UUID, prefix: str
) -> Iterator[tuple[str, str | None]]:
    """List external id and URI of every live file with an id that begins with `prefix`.

    Ordered by id, each once: the faces of a panorama share one file.
    """
    after = ""
    while True:
        rows = connection.execute(
            select(images.c.external_id, func.min(images.c.uri).label("uri"))
            .where(
                is_own,
                images.c.source_id == source_id,
                images.c.state != "deleted",
                images.c.external_id.collate("C") > after,
                func.starts_with(images.c.external_id, prefix),
            )
            .group_by(images.c.external_id)
            .order_by(images.c.external_id.collate("C"))
            .limit(_PAGE_ROWS)
        ).all()
        yield from ((row.external_id, row.uri) for row in rows)
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1].external_id
