"""Decides for every error class of Pinpoint whether a worker retries the task."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final
from uuid import UUID

from pinpoint import errors, logs

_log = logs.get_logger(__name__)

RETRY: Final[dict[type[errors.PinpointError], bool]] = {
    errors.PinpointError: False,
    errors.BadRequestError: False,
    errors.InvalidRequestError: False,
    errors.BadPhotoError: False,
    errors.UnsupportedQueryError: False,
    errors.BadManifestError: False,
    errors.TooLargeError: False,
    errors.UnauthenticatedError: False,
    errors.ForbiddenError: False,
    errors.NotFoundError: False,
    errors.RemoteFileError: False,
    errors.ConflictError: False,
    errors.PreconditionError: False,
    errors.QuotaExceededError: True,
    errors.AbnormalUsageError: False,
    errors.UnavailableError: True,
    errors.DatabaseUnavailableError: True,
    errors.IndexUnavailableError: True,
    errors.BrokerUnavailableError: True,
    errors.BadBundleError: False,
    errors.ModelMismatchError: True,
    errors.ConfigurationError: False,
    errors.StackError: False,
}

Task = Callable[[list[UUID]], None]


def retryable_task(run: Task) -> Callable[[list[str]], None]:
    """Decorate a function over ids as a task.

    A retryable error is logged, and the recovery task sends the work again once the queue is empty.
    A retry by Celery would keep the task in the broker as a second source of truth. Any other error
    is logged with its traceback; the lease expires, and the attempt counts.
    """

    @wraps(run)
    def task(ids: list[str]) -> None:
        try:
            run([UUID(row_id) for row_id in ids])
        except errors.PinpointError as error:
            if not RETRY[type(error)]:
                _log.exception("task failed", task=run.__name__, reason=error.reason)
                raise
            _log.warning(
                "task postponed", task=run.__name__, reason=error.reason, detail=error.message
            )

    return task
