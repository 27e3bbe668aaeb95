"""Upserts that continue when the index rejects some of the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pinpoint import logs
from pinpoint.errors import BadBundleError, BadRequestError, ModelMismatchError
from pinpoint.records import IndexPoint

_log = logs.get_logger(__name__)


def upsert_skipping_rejected(
    upsert: Callable[[Sequence[IndexPoint]], None], points: Sequence[IndexPoint]
) -> int:
    """Write points; points that the index rejects are skipped and logged.

    Returns:
        Number of points written.

    Raises:
        ModelMismatchError: The index is for another contract.
        IndexUnavailableError: The index does not answer.
    """
    if not points:
        return 0
    try:
        upsert(points)
    except ModelMismatchError:
        raise
    except (BadRequestError, BadBundleError) as error:
        if len(points) == 1:
            _log.error("point skipped", image=str(points[0].id), exc_info=error)
            return 0
        half = len(points) // 2
        return upsert_skipping_rejected(upsert, points[:half]) + upsert_skipping_rejected(
            upsert, points[half:]
        )
    return len(points)
