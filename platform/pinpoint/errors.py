"""Errors that Pinpoint raises deliberately, by cause.

    PinpointError
    ├── BadRequestError             the request cannot be parsed
    │   ├── InvalidRequestError     the request can be parsed but violates a rule
    │   ├── BadPhotoError           the bytes are not an accepted image
    │   ├── UnsupportedQueryError   the bundle in use cannot answer the query
    │   ├── BadManifestError        a manifest row or file cannot be parsed
    │   └── TooLargeError           a limit of bytes, pixels, rows or files is exceeded
    ├── UnauthenticatedError        the key is missing, unknown or revoked
    ├── ForbiddenError              the key lacks the scope
    ├── NotFoundError               the id does not exist in the caller's organization
    │   └── RemoteFileError         a URL is refused, or its file cannot be fetched
    ├── ConflictError               the object exists already, or is in the wrong state
    ├── PreconditionError           the object is not the version that the caller states
    ├── QuotaExceededError          a limit of the key is used up; try again later
    │   └── AbnormalUsageError      the misuse rule refuses the answer
    ├── UnavailableError            a component does not answer; try again later
    │   ├── DatabaseUnavailableError
    │   ├── IndexUnavailableError
    │   └── BrokerUnavailableError
    ├── BadBundleError              weights, contract and index do not match
    │   └── ModelMismatchError      the index holds vectors of another contract
    ├── ConfigurationError          a setting is missing or wrong
    └── StackError                  the embedded stack cannot be started, stopped or found

HTTP status, exit codes and retries are not defined here: three tables of the entry points map the
tree (`pinpoint.api.problems`, `pinpoint.cli.exit_codes`, `pinpoint_workers.retries`).
"""

from __future__ import annotations

import os
import re
from typing import Final


class PinpointError(Exception):
    """Base class of all errors.

    Args:
        message: The problem, its location and the remedy; one or two sentences for a user.
        reason: A stable machine-readable identifier of the problem, `snake_case`.
    """

    reason = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class BadRequestError(PinpointError):
    """The request cannot be parsed; a subclass states a more exact cause."""

    reason = "bad_request"


class InvalidRequestError(BadRequestError):
    """The request can be parsed, but a value, a name or a combination violates a rule."""

    reason = "invalid_request"


class BadPhotoError(BadRequestError):
    """The bytes are not an accepted image."""

    reason = "bad_photo"


class UnsupportedQueryError(BadRequestError):
    """The bundle in use cannot answer a query of this form; the message has the remedy."""

    reason = "unsupported_query"


class BadManifestError(BadRequestError):
    """A manifest cannot be parsed; the message names the line."""

    reason = "bad_manifest"


class TooLargeError(BadRequestError):
    """A limit is exceeded; the message names the limit and the setting."""

    reason = "too_large"


class UnauthenticatedError(PinpointError):
    """A required key is missing, unknown or revoked."""

    reason = "unauthenticated"


class ForbiddenError(PinpointError):
    """The key is valid but lacks the scope."""

    reason = "forbidden"


class NotFoundError(PinpointError):
    """The id does not exist in this organization."""

    reason = "not_found"


class RemoteFileError(NotFoundError):
    """A URL is refused, or its file cannot be fetched; the reason is the error code of the file."""

    reason = "remote_file"


class ConflictError(PinpointError):
    """The object exists already, or its state does not allow the operation."""

    reason = "conflict"


class PreconditionError(PinpointError):
    """The object is not the version that the caller states."""

    reason = "precondition_failed"


class QuotaExceededError(PinpointError):
    """A limit of the API key is used up.

    Args:
        message: As of `PinpointError`.
        policies: Names of the violated policies.
        retry_after_s: When enough is free again, seconds.
    """

    reason = "quota_exceeded"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        policies: tuple[str, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason)
        self.policies, self.retry_after_s = policies, retry_after_s


class AbnormalUsageError(QuotaExceededError):
    """The misuse rule refuses the answer: too many photos of one creator or of one place."""

    reason = "abnormal_usage_detected"


class UnavailableError(PinpointError):
    """A component does not answer; the same call may work later."""

    reason = "unavailable"
    retry_after_s: float | None = None
    """Delay in seconds that the server requested before the next call; None if it gave none."""


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL does not answer, or its schema revision differs from the code's."""

    reason = "database_unavailable"


class IndexUnavailableError(UnavailableError):
    """The vector index does not answer or is still loading."""

    reason = "index_unavailable"


class BrokerUnavailableError(UnavailableError):
    """The broker does not accept tasks; stored rows remain and their tasks are sent later."""

    reason = "broker_unavailable"


class BadBundleError(PinpointError):
    """Weights, contract and index do not match."""

    reason = "bad_bundle"


class ModelMismatchError(BadBundleError):
    """The index holds vectors of another contract; it may have been switched just now."""

    reason = "model_mismatch"


class ConfigurationError(PinpointError):
    """A setting is missing or invalid."""

    reason = "bad_configuration"


class StackError(PinpointError):
    """The embedded stack cannot be started, stopped or found."""

    reason = "stack_error"


_ERRNO_PREFIX: Final = re.compile(r"\[Errno -?\d+\]\s*")
_CAUSE_TEXTS: Final = (
    ("connection refused", "it refuses the connection"),
    ("no such file or directory", "nothing listens there"),
    ("name or service not known", "no machine of that name is known"),
    ("no address associated", "no machine of that name is known"),
    ("temporary failure in name resolution", "its name cannot be looked up"),
    ("timed out", "no answer in time"),
    ("timeout", "no answer in time"),
    ("password authentication failed", "it refuses user name or password"),
    ("certificate", "its TLS certificate is not valid"),
    ("unsupported protocol", "the address must begin with http:// or https://"),
    ("missing an 'http", "the address must begin with http:// or https://"),
    ("disconnected", "it closed the connection"),
    ("connection reset", "it closed the connection"),
    ("starting up", "it is starting"),
    ("shutting down", "it is shutting down"),
)


def describe_cause(error: BaseException) -> str:
    """Describe why a connection or a file failed, in words for a user.

    Texts of libraries contain numbers, class names and advice for programmers; none of these reach
    a message. The original error remains the cause, for the logs.

    Args:
        error: Error of a library or the operating system.

    Returns:
        A few words without a final period.
    """
    text = str(error)
    lowered = f"{text} {type(error).__name__}".lower()
    for pattern, words in _CAUSE_TEXTS:
        if pattern in lowered:
            return words
    if isinstance(error, OSError) and error.errno:
        words = os.strerror(error.errno)
        return words[:1].lower() + words[1:]
    first = _ERRNO_PREFIX.sub("", next(iter(text.strip().splitlines()), "")).strip().rstrip(".")
    return first or "it gave no reason"
