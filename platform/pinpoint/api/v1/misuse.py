"""Applies the misuse rule to the answer of a query, before it is returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pinpoint import logs
from pinpoint.api.metrics import Meters
from pinpoint.api.v1.query_audit import repeat_for_photos
from pinpoint.bootstrap import Services
from pinpoint.records import Answer, AuditEntry, Caller
from pinpoint.search.context import QueryPhoto

_log = logs.get_logger(__name__)


def check_misuse(
    answer: Answer,
    photos: Sequence[QueryPhoto],
    creators: Mapping[str, int],
    caller: Caller,
    services: Services,
    meters: Meters | None = None,
) -> None:
    """Count the photos of a query; report misuse, and refuse the answer if the settings say so.

    Args:
        answer: The answer, which was not returned yet.
        photos: Photos of the query.
        creators: Number of photos by creator, as in their metadata.
        caller: The caller; the operator has no limits.
        services: The services.
        meters: Counts the photos; None in a worker, which has no meters.

    Raises:
        AbnormalUsageError: The answer is refused.
    """
    if caller.key_id is None:
        return
    misuse = services.misuse_rule.count_photos(caller.key_id, creators, answer.point, len(photos))
    if misuse is None:
        return
    if meters is not None:
        meters.observe_misuse(misuse.policies)
    if misuse.is_new or misuse.is_refused:
        _log.warning("misuse detected", key_id=str(caller.key_id), policies=misuse.policies)
        with services.database.write(caller.organization_id) as catalog:
            entry = AuditEntry(
                operation="detect_misuse",
                key_id=caller.key_id,
                status="refused" if misuse.is_refused else "succeeded",
                bundle=answer.bundle,
                index_build=answer.index_build,
            )
            catalog.log_access(*repeat_for_photos(entry, photos))
    if misuse.is_refused:
        raise misuse.to_error()
