"""Pages of an organization's images, in the order of source name, file name and id.

A page starts behind the last row of the page before (keyset), so rows that come or go in between
neither repeat nor hide others. One index holds each source's images of each state in this order
(`ix_images_listing`): a page reads as many rows as it shows, for each state that is asked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from pinpoint.records import ImageFilter, ImagePosition, Source

STATES: Final = ("pending", "indexed", "failed")
FILE_NAME: Final = """substring(i.external_id COLLATE "C", '[^/]*$')"""
"""As in the index, term by term: another expression would not be found there."""
MAX_BY_PREFIX: Final = 1_000
"""Images read of one id prefix at most; of six hex digits there is one among 16 million."""
_ROWS: Final = 2_000
"""Rows read at most in one statement, for each state."""
_LAST: Final = "\U0010ffff"

# The sources of a statement are few, so that those behind a full page cost little. `COLLATE "C"`
# compares bytes, as Python compares code points: the order is the same on every server.
PAGE = text(f"""
    SELECT p.id
      FROM unnest(CAST(:source_ids AS uuid[]), CAST(:after_names AS text[]),
                  CAST(:after_ids AS uuid[])) WITH ORDINALITY AS s(id, after_name, after_id, seat)
      CROSS JOIN unnest(CAST(:states AS text[])) AS t(state)
      CROSS JOIN LATERAL (
            SELECT i.id, {FILE_NAME} AS file_name
              FROM images i
             WHERE i.organization_id = :organization_id
               AND i.source_id = s.id AND i.state = t.state
               AND {FILE_NAME} >= :first AND {FILE_NAME} < :last
               AND ({FILE_NAME}, i.id) > (s.after_name, s.after_id)
               AND {FILE_NAME} LIKE ANY (CAST(:patterns AS text[]))
             ORDER BY {FILE_NAME}, i.id
             LIMIT :limit) AS p
     ORDER BY s.seat, p.file_name, p.id
     LIMIT :limit
""")

BY_PREFIX = text(f"""
    SELECT i.id, i.source_id, {FILE_NAME} AS file_name
      FROM images i
     WHERE i.organization_id = :organization_id AND i.id BETWEEN :low AND :high
       AND i.state = ANY (CAST(:states AS text[]))
       AND {FILE_NAME} LIKE ANY (CAST(:patterns AS text[]))
     ORDER BY i.id
     LIMIT :limit
""")


def list_ids(
    connection: Connection,
    organization_id: UUID,
    sources: Sequence[Source],
    wanted: ImageFilter,
    *,
    after: ImagePosition | None,
    limit: int,
) -> list[UUID]:
    """Ids of one page, in order.

    Args:
        connection: Of a unit of work in this organization.
        organization_id: Whose images.
        sources: Those that the filter lets through, in any order.
        wanted: File name, states and id prefix.
        after: Last row of the page before.
        limit: Rows of the page.
    """
    ordered = sorted(sources, key=lambda each: each.name)
    if after is not None:
        ordered = [each for each in ordered if each.name >= after.source]
    values: dict[str, Any] = {
        "organization_id": organization_id,
        "states": list(wanted.states or STATES),
        **_name_values(wanted.file_name),
    }
    if wanted.id_prefix is not None:
        return _ids_by_prefix(connection, ordered, wanted.id_prefix, values, after, limit)
    found: list[UUID] = []
    step = max(1, _ROWS // limit)
    for start in range(0, len(ordered), step):
        some = ordered[start : start + step]
        behind = [_start_of(each, after) for each in some]
        values |= {
            "source_ids": [each.id for each in some],
            "after_names": [name for name, _ in behind],
            "after_ids": [id_ for _, id_ in behind],
            "limit": limit - len(found),
        }
        found += connection.execute(PAGE, values).scalars()
        if len(found) == limit:
            break
    return found


def id_range(prefix: str) -> tuple[UUID, UUID]:
    """The lowest and the highest id that begin with these hex digits.

    Raises:
        ValueError: They are no hex digits, or more than 32.
    """
    if not prefix or len(prefix) > 32 or not set(prefix) <= set("0123456789abcdef"):
        raise ValueError(f"{prefix!r} does not begin an id")
    return UUID(hex=prefix.ljust(32, "0")), UUID(hex=prefix.ljust(32, "f"))


def _start_of(source: Source, after: ImagePosition | None) -> tuple[str, UUID]:
    """File name and id behind which a source's rows are wanted."""
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
    """A page of the few images whose ids begin alike, by a range of the primary key."""
    low, high = id_range(prefix)
    names = {each.id: each.name for each in sources}
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
    ordered = sorted(
        (names[row.source_id], row.file_name, row.id) for row in rows if row.source_id in names
    )
    if after is not None:
        start = (after.source, after.file_name, after.image_id)
        ordered = [each for each in ordered if each > start]
    return [id_ for _, _, id_ in ordered[:limit]]


def _name_values(pattern: str | None) -> dict[str, Any]:
    """A file name with `*` and `?` as patterns of LIKE and the range that they begin in.

    One name has two spellings where it has accents (NFC, and NFD from a Mac): both are found.
    """
    if pattern is None:
        return {"patterns": ["%"], "first": "", "last": _LAST}
    forms = sorted({unicodedata.normalize(form, pattern) for form in ("NFC", "NFD")} | {pattern})
    starts = [re.split(r"[*?]", form, maxsplit=1)[0] for form in forms]
    return {
        "patterns": [_as_like(form) for form in forms],
        "first": min(starts),
        "last": max(starts) + _LAST,
    }


def _as_like(pattern: str) -> str:
    """`*` and `?` in the words of LIKE, all else as it is."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")
