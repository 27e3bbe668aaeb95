"""Exclusions: gallery images that must not be used for a query."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from pinpoint.ports import Database
from pinpoint.records import Exclusions


def resolve_excluded_ids(
    exclusions: Exclusions, *, organization_id: UUID, database: Database
) -> Exclusions:
    """Replace hashes, creators and sequences in exclusions by the ids of their rows.

    One read finds the rows of the photo, of its creator and of its sequence in the organization.
    Near-duplicates are not resolved, because only retrieval and evidence can detect them.

    Args:
        exclusions: The exclusions to resolve.
        organization_id: Organization of the gallery.
        database: Catalog; read only if there is something to resolve.
    """
    unresolved = (exclusions.hashes, exclusions.creators, exclusions.sequences)
    if not any(unresolved):
        return exclusions
    with database.read(organization_id) as reader:
        matching_ids = reader.ids_by(
            hashes=exclusions.hashes, creators=exclusions.creators, sequences=exclusions.sequences
        )
    ids = tuple(sorted({*exclusions.ids, *matching_ids}))
    return replace(exclusions, ids=ids, hashes=(), creators=(), sequences=())
