"""Errors of the client: one class for each problem type of the API.

    PinpointError
    ├── BadRequestError             the request is invalid
    │   ├── InvalidRequestError     the request can be parsed but violates a rule
    │   ├── BadPhotoError           the bytes are not an accepted image
    │   ├── UnsupportedQueryError   the bundle in use cannot answer the query
    │   ├── BadManifestError        a manifest cannot be parsed
    │   └── TooLargeError           a limit of bytes, pixels, rows or files is exceeded
    ├── UnauthenticatedError        the key is missing, unknown, expired or revoked
    ├── ForbiddenError              the key may not do this
    ├── NotFoundError               the id does not exist in the organization of the key
    │   └── RemoteFileError         a URL is refused, or its file cannot be fetched
    ├── ConflictError               the object exists already, or is in the wrong state
    ├── PreconditionError           the object is not the version that the caller states
    ├── UnavailableError            the server or a component does not answer; try again later
    │   ├── DatabaseUnavailableError
    │   ├── IndexUnavailableError
    │   ├── BrokerUnavailableError
    │   ├── ReducedCapacityError    the server is overloaded
    │   └── RateLimitedError        a limit of the key is reached
    │       ├── QuotaExceededError
    │       └── AbnormalUsageError  the key is paused because of its usage
    ├── BadBundleError              weights and index of the server do not match
    │   └── ModelMismatchError
    ├── ConfigurationError          a setting of the server is missing or invalid
    └── StackError                  the stack of this machine does not run

Source of the problem format: RFC 9457; of the limit types: the IANA registry of HTTP problem types.
"""

from __future__ import annotations


class PinpointError(Exception):
    """Base class of all errors of the client.

    Args:
        message: The problem and its remedy; one or two sentences.
        reason: A stable identifier of the problem, `snake_case`.
        request_id: Id of the request, which the logs of the server contain; None without one.
        status: HTTP status; None without an answer.
        retry_after_s: Delay in seconds that the server requested before the next call.
    """

    reason = "error"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        request_id: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.status = status
        self.retry_after_s = retry_after_s
        if reason is not None:
            self.reason = reason

    @property
    def detail(self) -> str:
        """The problem and its remedy in words."""
        return self.message


class BadRequestError(PinpointError):
    """The request is invalid."""

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
    """A manifest cannot be parsed."""

    reason = "bad_manifest"


class TooLargeError(BadRequestError):
    """A limit is exceeded; the message names the limit."""

    reason = "too_large"


class UnauthenticatedError(PinpointError):
    """The key is missing, unknown, expired or revoked."""

    reason = "unauthenticated"


class ForbiddenError(PinpointError):
    """The key may not do this."""

    reason = "forbidden"


class NotFoundError(PinpointError):
    """The id does not exist in the organization of the key."""

    reason = "not_found"


class RemoteFileError(NotFoundError):
    """A URL is refused, or its file cannot be fetched."""

    reason = "remote_file"


class ConflictError(PinpointError):
    """The object exists already, or its state does not allow the operation."""

    reason = "conflict"


class PreconditionError(PinpointError):
    """The object is not the version that the caller states."""

    reason = "precondition_failed"


class UnavailableError(PinpointError):
    """The server or a component does not answer; the same call may work later."""

    reason = "unavailable"


class DatabaseUnavailableError(UnavailableError):
    """The database of the server does not answer."""

    reason = "database_unavailable"


class IndexUnavailableError(UnavailableError):
    """The vector index does not answer or is still loading."""

    reason = "index_unavailable"


class BrokerUnavailableError(UnavailableError):
    """The broker of the server does not accept tasks."""

    reason = "broker_unavailable"


class ReducedCapacityError(UnavailableError):
    """The server is overloaded."""

    reason = "temporary_reduced_capacity"


class RateLimitedError(UnavailableError):
    """A limit of the key is reached; `retry_after_s` is the delay until the next call."""

    reason = "rate_limited"
    policies: tuple[str, ...] = ()
    """Names of the violated policies."""


class QuotaExceededError(RateLimitedError):
    """A quota of the key is used up; `policies` names it."""

    reason = "quota_exceeded"


class AbnormalUsageError(RateLimitedError):
    """The key is paused because of its usage; `policies` names the violated policies."""

    reason = "abnormal_usage_detected"


class BadBundleError(PinpointError):
    """Weights and index of the server do not match."""

    reason = "bad_bundle"


class ModelMismatchError(BadBundleError):
    """The index was switched to another bundle during the call."""

    reason = "model_mismatch"


class ConfigurationError(PinpointError):
    """A setting of the server is missing or invalid."""

    reason = "bad_configuration"


class StackError(PinpointError):
    """The stack of this machine does not run, or is another one."""

    reason = "stack_error"
