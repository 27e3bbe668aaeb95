"""Erase: tombstones to the index, bytes out of the blob store, then the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from pinpoint.errors import IndexUnavailable, Unavailable
from pinpoint.fault_isolation import Failures, do_apart, raise_if_index_is_down
from pinpoint.ports import BlobStore, Closing, Ledger, VectorIndex

_CHUNK: Final = 512
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.2


def erase_images(
    ids: Sequence[UUID], *, ledger: Ledger, index: VectorIndex, blobs: BlobStore
) -> int:
    """Carry tombstones to index and blob store, then remove the rows; returns how many.

    An image that cannot be erased holds up no other; its error is raised in the end, and it stays
    for the next sweep.
    """
    done, failures = 0, Failures()

    def erase(some: Sequence[UUID]) -> None:
        nonlocal done
        with ledger.erasing(some) as (graves, locators):
            index.delete({grave.id: grave.version for grave in graves})
            for locator in locators:
                blobs.delete(locator)
        done += len(graves)

    def fail(image_id: UUID, error: Exception) -> None:
        raise_if_index_is_down(error, index)
        failures.note("erase", error, image=str(image_id))

    do_apart(ids, erase, fail)
    failures.raise_first()
    return done


def erase_organization(
    organization_id: UUID,
    *,
    closing: Closing,
    ledger: Ledger,
    index: VectorIndex,
    blobs: BlobStore,
    say: Callable[[str], None],
) -> int:
    """Erase an organisation: images, batches, items, audit, keys, index points, bytes.

    What is left is a row with its id, marked as erased, and the tombstones of its images, until
    the sweep takes these off. Safe to run again at any moment.

    Returns:
        How many images were erased.

    Raises:
        IndexUnavailable: The index does not answer; nothing was begun.
        Unavailable: A backup, or a worker that hangs, holds rows; the workers go on with the rest.
    """
    info = index.info()
    if not info.ready:
        raise IndexUnavailable(f"the index is not ready ({info.loading}); nothing was erased yet")
    buried = closing.close(organization_id)
    done, waited_since = 0, time.monotonic()
    while ids := closing.graves(organization_id, _CHUNK):
        erased = erase_images(ids, ledger=ledger, index=index, blobs=blobs)
        if erased:
            done, waited_since = done + erased, time.monotonic()
            say(f"erased {done} of {buried} images")
        elif time.monotonic() - waited_since > _PATIENCE_S:
            raise Unavailable(_held(organization_id))
        else:
            time.sleep(_PAUSE_S)
    if not closing.bytes_may_go():
        raise Unavailable(_held(organization_id))
    blobs.erase(organization_id)
    closing.finish()
    return buried


def _held(organization_id: UUID) -> str:
    return (
        "the organisation is closed, but a backup or a worker still holds rows of it; the workers "
        f"erase the rest. Afterwards `pinpoint orgs erase {organization_id}` compacts what is left"
    )
