"""Folders whose files belong to a source: each has a name that its files' ids begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pinpoint.errors import BadRequest, Conflict, NotFound
from pinpoint.records import SourceRoot
from pinpoint.store.tables import batch_items, batches, images, source_roots

_OPEN = ("received", "stored")
_PAGE = 1_000


def list_roots(connection: Connection, source_ids: Sequence[UUID]) -> dict[UUID, list[SourceRoot]]:
    """Roots of each of these sources, by name."""
    found: dict[UUID, list[SourceRoot]] = {}
    rows = connection.execute(
        select(source_roots.c.source_id, source_roots.c.name, source_roots.c.path)
        .where(source_roots.c.source_id.in_(source_ids))
        .order_by(source_roots.c.name)
    )
    for row in rows:
        found.setdefault(row.source_id, []).append(SourceRoot(name=row.name, path=row.path))
    return found


def add_root(
    connection: Connection, organization_id: UUID, source_id: UUID, root: SourceRoot
) -> None:
    """Add a root.

    Raises:
        Conflict: The source has a root of that name.
        BadRequest: The name is empty, or no plain folder name.
    """
    if not root.name.strip() or "/" in root.name or root.name in (".", ".."):
        raise BadRequest(f"{root.name!r} cannot name a root: give one folder name without a /")
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
        raise Conflict(f"the source has a root named {root.name!r} already") from error


def move_root(connection: Connection, source_id: UUID, name: str, path: str) -> int:
    """Say that a root's folder is somewhere else now; ids stay.

    Returns:
        How many images are kept by reference below it and are looked for at the new place.

    Raises:
        NotFound: The source has no root of that name.
    """
    row = connection.execute(
        select(source_roots.c.path)
        .where(source_roots.c.source_id == source_id, source_roots.c.name == name)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"the source has no root named {name!r}")
    connection.execute(
        update(source_roots)
        .where(source_roots.c.source_id == source_id, source_roots.c.name == name)
        .values(path=path)
    )
    before, after = f"{Path(row.path).as_uri()}/", f"{Path(path).as_uri()}/"
    waiting = select(batches.c.id).where(batches.c.source_id == source_id)
    connection.execute(
        update(batch_items)
        .where(
            batch_items.c.batch_id.in_(waiting),
            batch_items.c.state.in_(_OPEN),
            func.starts_with(batch_items.c.locator, before),
        )
        .values(locator=func.concat(after, func.substr(batch_items.c.locator, len(before) + 1)))
    )
    moved = connection.execute(
        update(images)
        .where(images.c.source_id == source_id, func.starts_with(images.c.locator, before))
        .values(locator=func.concat(after, func.substr(images.c.locator, len(before) + 1)))
    )
    return int(moved.rowcount)


def list_files(
    connection: Connection, mine: ColumnElement[bool], source_id: UUID, prefix: str
) -> Iterator[tuple[str, str | None]]:
    """External id and locator of every live file of a source whose id begins with `prefix`.

    By id, each once: the faces of a panorama have one file.
    """
    after = ""
    while True:
        rows = connection.execute(
            select(images.c.external_id, func.min(images.c.locator).label("locator"))
            .where(
                mine,
                images.c.source_id == source_id,
                images.c.state != "deleted",
                images.c.external_id.collate("C") > after,
                func.starts_with(images.c.external_id, prefix),
            )
            .group_by(images.c.external_id)
            .order_by(images.c.external_id.collate("C"))
            .limit(_PAGE)
        ).all()
        yield from ((row.external_id, row.locator) for row in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1].external_id
