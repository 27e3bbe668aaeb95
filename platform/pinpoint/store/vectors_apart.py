"""Upserts that continue when the index rejects some of the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pinpoint import logs
from pinpoint.errors import BadBundle, BadRequest, OtherContract
from pinpoint.records import IndexPoint

_log = logs.get(__name__)


def upsert_apart(
    upsert: Callable[[Sequence[IndexPoint]], None], points: Sequence[IndexPoint]
) -> int:
    """Write points; points that the index rejects are skipped and logged.

    Returns:
        Number of points written.

    Raises:
        OtherContract: The index is for another contract.
        IndexUnavailable: The index does not answer.
    """
    if not points:
        return 0
    try:
        upsert(points)
    except OtherContract:
        raise
    except (BadRequest, BadBundle) as error:
        if len(points) == 1:
            _log.error("point left out", image=str(points[0].id), exc_info=error)
            return 0
        half = len(points) // 2
        return upsert_apart(upsert, points[:half]) + upsert_apart(upsert, points[half:])
    return len(points)
