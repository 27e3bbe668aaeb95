"""Pages of an organization's images, ordered by source name, file name and id.

Keyset pagination: a page starts after the last row of the previous page, so concurrent inserts and
deletions neither repeat nor hide other rows. One index holds each source's images of each state in
this order (`ix_images_listing`): a page reads as many rows as it shows, for each requested state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from pinpoint.iteration import batched
from pinpoint.records import ImageFilter, ImagePosition, Source
from pinpoint.store.gallery.image_conditions import name_spellings, to_like_pattern

STATES: Final = ("pending", "indexed", "failed")
FILE_NAME_SQL: Final = """substring(i.external_id COLLATE "C", '[^/]*$')"""
"""Identical to the expression of the index; PostgreSQL would not use the index for another one."""
MAX_BY_PREFIX: Final = 1_000
"""Maximum number of images read for one id prefix; six hex digits match one among 16 million."""
_MAX_STATEMENT_ROWS: Final = 2_000
"""Maximum number of rows read by one statement, for each state."""
_LAST_CHARACTER: Final = "\U0010ffff"

# Each statement covers few sources, so sources beyond a full page cost little. `COLLATE "C"`
# compares bytes, as Python compares code points: the order is the same on every server.
PAGE = text(f"""
    SELECT p.id
      FROM unnest(CAST(:source_ids AS uuid[]), CAST(:after_names AS text[]),
                  CAST(:after_ids AS uuid[])) WITH ORDINALITY AS s(id, after_name, after_id, rank)
      CROSS JOIN unnest(CAST(:states AS text[])) AS t(state)
      CROSS JOIN LATERAL (
            SELECT i.id, {FILE_NAME_SQL} AS file_name
              FROM visible_images i
             WHERE i.organization_id = :organization_id
               AND i.source_id = s.id AND i.state = t.state
               AND {FILE_NAME_SQL} >= :first AND {FILE_NAME_SQL} < :last
               AND ({FILE_NAME_SQL}, i.id) > (s.after_name, s.after_id)
               AND {FILE_NAME_SQL} LIKE ANY (CAST(:patterns AS text[]))
             ORDER BY {FILE_NAME_SQL}, i.id
             LIMIT :limit) AS p
     ORDER BY s.rank, p.file_name, p.id
     LIMIT :limit
""")

BY_PREFIX = text(f"""
    SELECT i.id, i.source_id, {FILE_NAME_SQL} AS file_name
      FROM visible_images i
     WHERE i.organization_id = :organization_id AND i.id BETWEEN :low AND :high
       AND i.state = ANY (CAST(:states AS text[]))
       AND {FILE_NAME_SQL} LIKE ANY (CAST(:patterns AS text[]))
     ORDER BY i.id
     LIMIT :limit
""")


def list_ids(
    connection: Connection,
    organization_id: UUID,
    sources: Sequence[Source],
    image_filter: ImageFilter,
    *,
    after: ImagePosition | None,
    limit: int,
) -> list[UUID]:
    """List the ids of one page, in order.

    Args:
        connection: Connection of a unit of work in this organization.
        organization_id: Organization of the images.
        sources: Sources that match the filter, in any order.
        image_filter: File name, states and id prefix.
        after: Last row of the previous page.
        limit: Maximum number of rows of the page.
    """
    ordered = sorted(sources, key=lambda source: source.name)
    if after is not None:
        ordered = [source for source in ordered if source.name >= after.source]
    values: dict[str, Any] = {
        "organization_id": organization_id,
        "states": list(image_filter.states or STATES),
        **_name_parameters(image_filter.file_name),
    }
    if image_filter.id_prefix is not None:
        return _ids_by_prefix(connection, ordered, image_filter.id_prefix, values, after, limit)
    ids: list[UUID] = []
    sources_per_statement = max(1, _MAX_STATEMENT_ROWS // limit)
    for chunk in batched(ordered, sources_per_statement):
        starts = [_start_after(source, after) for source in chunk]
        values |= {
            "source_ids": [source.id for source in chunk],
            "after_names": [name for name, _ in starts],
            "after_ids": [id_ for _, id_ in starts],
            "limit": limit - len(ids),
        }
        ids += connection.execute(PAGE, values).scalars()
        if len(ids) == limit:
            break
    return ids


def id_range(prefix: str) -> tuple[UUID, UUID]:
    """Compute the lowest and the highest id that begin with these hex digits.

    Raises:
        ValueError: The prefix has other characters than hex digits, or more than 32.
    """
    if not prefix or len(prefix) > 32 or not set(prefix) <= set("0123456789abcdef"):
        raise ValueError(f"{prefix!r} is not the beginning of an id")
    return UUID(hex=prefix.ljust(32, "0")), UUID(hex=prefix.ljust(32, "f"))


def _start_after(source: Source, after: ImagePosition | None) -> tuple[str, UUID]:
    """File name and id after which the rows of a source begin."""
    if after is None or source.name != after.source:
        return "", UUID(int=0)
    return after.file_name, after.image_id


def _ids_by_prefix(
    connection: Connection,
    sources: Sequence[Source],
    prefix: str,
    values: dict[str, Any],
    after: ImagePosition | None,
    limit: int,
) -> list[UUID]:
    """List a page of the few images with an id prefix, by a range of the primary key."""
    low, high = id_range(prefix)
    names = {source.id: source.name for source in sources}
    rows = connection.execute(
        BY_PREFIX,
        {
            "organization_id": values["organization_id"],
            "states": values["states"],
            "patterns": values["patterns"],
            "low": low,
            "high": high,
            "limit": MAX_BY_PREFIX,
        },
    )
    positions = sorted(
        (names[row.source_id], row.file_name, row.id) for row in rows if row.source_id in names
    )
    if after is not None:
        start = (after.source, after.file_name, after.image_id)
        positions = [source for source in positions if source > start]
    return [id_ for _, _, id_ in positions[:limit]]


def _name_parameters(pattern: str | None) -> dict[str, Any]:
    """Convert a file name with `*` and `?` to LIKE patterns and the range of their prefixes."""
    if pattern is None:
        return {"patterns": ["%"], "first": "", "last": _LAST_CHARACTER}
    forms = name_spellings(pattern)
    starts = [re.split(r"[*?]", form, maxsplit=1)[0] for form in forms]
    return {
        "patterns": [to_like_pattern(form) for form in forms],
        "first": min(starts),
        "last": max(starts) + _LAST_CHARACTER,
    }
