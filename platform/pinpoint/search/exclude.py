"""Exclusions: what stands in the gallery and must not help with this question."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from pinpoint.ports import Database
from pinpoint.records import Exclusions


def resolve(exclusions: Exclusions, *, organization_id: UUID, database: Database) -> Exclusions:
    """The same exclusions with every row that can be named beforehand named by its id.

    One read finds the photo's own rows, its creator's and its sequence's, within the organisation.
    Near-duplicates are left: only retrieval and evidence see them.

    Args:
        exclusions: What is to be kept out.
        organization_id: Whose gallery.
        database: Holds its rows; asked only where there is something to find.
    """
    asked = (exclusions.hashes, exclusions.creators, exclusions.sequences)
    if not any(asked):
        return exclusions
    with database.read(organization_id) as reader:
        found = reader.ids_by(
            hashes=exclusions.hashes, creators=exclusions.creators, sequences=exclusions.sequences
        )
    ids = tuple(sorted({*exclusions.ids, *found}))
    return replace(exclusions, ids=ids, hashes=(), creators=(), sequences=())
