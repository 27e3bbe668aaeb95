"""Checks that the index matches the encoder, and that one build answers a whole read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pinpoint.errors import IndexUnavailableError, ModelMismatchError
from pinpoint.ports import VectorIndex
from pinpoint.records import Contract, IndexInfo

T = TypeVar("T")


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


def read_consistently(
    index: VectorIndex, contract: Contract, read: Callable[[IndexInfo], T]
) -> tuple[IndexInfo, T]:
    """Result of a read, and the description of the one build that answered it.

    A rebuild may be swapped in between reading the build name and searching. The answer would then
    name one build and contain hits of another, so the name is checked again after the read.

    Raises:
        IndexUnavailableError: As `require_same_model`.
        ModelMismatchError: As `require_same_model`.
    """
    info = require_same_model(index, contract)
    while True:
        result = read(info)
        info_after = require_same_model(index, contract)
        if info_after.build == info.build:
            return info, result
        info = info_after
