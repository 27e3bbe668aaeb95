"""Erase: writes tombstones to the index, deletes blobs, then deletes the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from pinpoint.errors import IndexUnavailableError, UnavailableError
from pinpoint.fault_isolation import Failures, process_with_bisection, raise_if_index_down
from pinpoint.ports import (
    BlobStore,
    FeatureCache,
    IngestRepository,
    TenantDeletion,
    VectorIndex,
)

_CHUNK: Final = 512
_MAX_WAIT_S: Final = 60.0
_PAUSE_S: Final = 0.2


def erase_stored_images(
    ids: Sequence[UUID],
    *,
    repository: IngestRepository,
    index: VectorIndex,
    blobs: BlobStore,
    features: FeatureCache,
) -> int:
    """Delete images from the index and the stores, then their rows; returns their number.

    Their local features leave the cache of this host; those of other hosts expire.

    An image that cannot be erased does not block the others. Its error is raised at the end, and
    the next recovery run tries it again.
    """
    num_erased, failures = 0, Failures()

    def erase_chunk(chunk_ids: Sequence[UUID]) -> None:
        nonlocal num_erased
        with repository.lock_pending_deletions(chunk_ids) as (deletions, uris):
            index.write_tombstones({deletion.id: deletion.version for deletion in deletions})
            for uri in uris:
                blobs.delete(uri)
            features.delete(deletion.id for deletion in deletions)
        num_erased += len(deletions)

    def record_failure(image_id: UUID, error: Exception) -> None:
        raise_if_index_down(error, index)
        failures.note("erase", error, image=str(image_id))

    process_with_bisection(ids, erase_chunk, record_failure)
    failures.raise_first()
    return num_erased


def erase_organization(
    organization_id: UUID,
    *,
    tenant_deletion: TenantDeletion,
    repository: IngestRepository,
    index: VectorIndex,
    blobs: BlobStore,
    features: FeatureCache,
    on_message: Callable[[str], None],
) -> int:
    """Erase an organization: images, batches, items, audit log, keys, index points, blobs.

    A row with its id, marked as erased, remains, and so do the tombstones of its images until
    recovery deletes them. Can be repeated at any time.

    Returns:
        The number of erased images.

    Raises:
        IndexUnavailableError: The index does not respond; nothing was changed.
        UnavailableError: A backup or a hung worker locks rows; the workers erase the rest later.
    """
    info = index.info()
    if not info.ready:
        raise IndexUnavailableError(f"the index is not ready ({info.loading}); nothing was erased")
    num_images = tenant_deletion.close(organization_id)
    num_erased, waited_since = 0, time.monotonic()
    while ids := tenant_deletion.pending_deletions(organization_id, _CHUNK):
        erased = erase_stored_images(
            ids, repository=repository, index=index, blobs=blobs, features=features
        )
        if erased:
            num_erased, waited_since = num_erased + erased, time.monotonic()
            on_message(f"erased {num_erased} of {num_images} images")
        elif time.monotonic() - waited_since > _MAX_WAIT_S:
            raise UnavailableError(_describe_locked_rows(organization_id))
        else:
            time.sleep(_PAUSE_S)
    if not tenant_deletion.blob_deletion_allowed():
        raise UnavailableError(_describe_locked_rows(organization_id))
    blobs.erase(organization_id)
    tenant_deletion.finish()
    return num_images


def _describe_locked_rows(organization_id: UUID) -> str:
    return (
        "the organization is closed, but a backup or a worker still locks some of its rows; the "
        f"workers delete them. Then run `pinpoint orgs delete {organization_id}` to compact the "
        "rest"
    )
