"""Which build of the index answers, and whether its vectors are those of the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pinpoint.errors import IndexUnavailable, OtherContract
from pinpoint.ports import VectorIndex
from pinpoint.records import Contract, IndexInfo

T = TypeVar("T")


def fitting(index: VectorIndex, contract: Contract) -> IndexInfo:
    """What the index says of itself, once it is known to hold vectors of this bundle.

    Raises:
        IndexUnavailable: It is still loading.
        OtherContract: Its vectors are another bundle's, and similarity to them means nothing.
    """
    info = index.info()
    if not info.ready:
        raise IndexUnavailable(
            f"the index is loading ({info.loading or 'no progress known'}); try again shortly"
        )
    if info.contract is not None and info.contract != contract.digest:
        raise OtherContract(
            f"the index was built for bundle {info.contract}, but this encoder is"
            f" {contract.digest} ({contract.name}); `pinpoint bundles use` changes the index"
        )
    return info


def of_one_build(
    index: VectorIndex, contract: Contract, ask: Callable[[IndexInfo], T]
) -> tuple[IndexInfo, T]:
    """What the index finds, and the build that it was found in.

    A rebuild may be swapped in between asking for the build's name and asking for hits: an answer
    would then name one build and show hits of another. So the name is asked for again afterwards.

    Raises:
        IndexUnavailable: As `fitting`, and so `OtherContract`.
    """
    info = fitting(index, contract)
    while True:
        found = ask(info)
        after = fitting(index, contract)
        if after.build == info.build:
            return info, found
        info = after
