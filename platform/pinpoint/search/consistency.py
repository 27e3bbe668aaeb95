"""Checks that the index matches the encoder, and that one build answers a whole read."""

from __future__ import annotations

from collections.abc import Iterator

from pinpoint.errors import IndexUnavailableError, ModelMismatchError
from pinpoint.ports import VectorIndex
from pinpoint.records import Contract, IndexInfo


def require_same_model(index: VectorIndex, contract: Contract) -> IndexInfo:
    """Description of the index, after checking that its vectors are from this bundle.

    Raises:
        IndexUnavailableError: The index is still loading.
        ModelMismatchError: The vectors are from another bundle, so similarities have no meaning.
    """
    info = index.info()
    if not info.ready:
        raise IndexUnavailableError(
            f"the index is loading ({info.loading or 'progress unknown'}); try again shortly"
        )
    if info.contract is not None and info.contract != contract.digest:
        raise ModelMismatchError(
            f"the index was built for bundle {info.contract}, but this encoder is"
            f" {contract.digest} ({contract.name}); `pinpoint bundles activate` changes the index"
        )
    return info


def consistent_snapshots(index: VectorIndex, contract: Contract) -> Iterator[IndexInfo]:
    """Descriptions of the index, until one build has answered all reads of a loop's body.

    A rebuild may be swapped in between reading the build name and searching. The answer would then
    name one build and contain hits of another, so the name is checked again after the body. If it
    changed, the body runs again. Usually it runs once.

        for snapshot in consistent_snapshots(index, contract):
            hits = index.search(...)

    Raises:
        IndexUnavailableError: As `require_same_model`.
        ModelMismatchError: As `require_same_model`.
    """
    snapshot = require_same_model(index, contract)
    while True:
        yield snapshot
        snapshot_after = require_same_model(index, contract)
        if snapshot_after.build == snapshot.build:
            return
        snapshot = snapshot_after
