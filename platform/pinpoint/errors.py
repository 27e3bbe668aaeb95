"""Every error Pinpoint raises on purpose, and whose fault it is.

    PinpointError
    ├── BadRequest            the caller sent something we cannot use
    │   ├── BadPhoto          the bytes are no image we accept
    │   ├── BadManifest       a manifest row or file cannot be read
    │   └── TooLarge          over a stated limit of bytes, pixels, rows or files
    ├── NotAuthenticated      no key, or an unknown or revoked one
    ├── NotAllowed            the key lacks the scope
    ├── NotFound              no such id, or another organisation's: the caller cannot tell
    ├── Conflict              the thing exists already, or is in the wrong state
    ├── Unavailable           a part of the stack does not answer; try again later
    │   ├── DatabaseUnavailable
    │   ├── IndexUnavailable
    │   └── BrokerUnavailable
    ├── BadBundle             weights and contract do not match each other, or the index
    │   └── OtherContract     the index holds vectors of another contract than was said
    ├── Misconfigured         a setting is missing or wrong
    └── StackError            the embedded stack cannot be started, stopped or found

No HTTP, no exit codes and no retries here: three tables at the doors translate the tree
(`pinpoint.api.problems`, `pinpoint.cli.exits`, `pinpoint_workers.retries`).
"""

from __future__ import annotations

import os
import re
from typing import Final


class PinpointError(Exception):
    """Root of the tree.

    Args:
        message: What was wrong, where, and what to do; one sentence or two, fit for a user.
        reason: A stable machine-readable word for the same thing, `snake_case`.
    """

    reason = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class BadRequest(PinpointError):
    """The caller sent something that cannot be used as it is."""

    reason = "bad_request"


class BadPhoto(BadRequest):
    """The bytes are not an image that Pinpoint accepts."""

    reason = "bad_photo"


class BadManifest(BadRequest):
    """A manifest cannot be read; the message names the line."""

    reason = "bad_manifest"


class TooLarge(BadRequest):
    """Over a stated limit; the message names the limit and the setting."""

    reason = "too_large"


class NotAuthenticated(PinpointError):
    """No key was given where one is needed, or the key is unknown or revoked."""

    reason = "not_authenticated"


class NotAllowed(PinpointError):
    """The key is good but lacks the scope."""

    reason = "not_allowed"


class NotFound(PinpointError):
    """Nothing under that id that this organisation may see."""

    reason = "not_found"


class Conflict(PinpointError):
    """The thing exists already, or its state does not allow this."""

    reason = "conflict"


class Unavailable(PinpointError):
    """A part of the stack does not answer; the same call may work later."""

    reason = "unavailable"
    retry_after_s: float | None = None
    """When the server that said so wants to be asked again, in seconds; None where it did not."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer, or its schema is not at this code's revision."""

    reason = "database_unavailable"


class IndexUnavailable(Unavailable):
    """The vector index does not answer or is still loading."""

    reason = "index_unavailable"


class BrokerUnavailable(Unavailable):
    """The broker does not take jobs; what was stored stays stored and is sent later."""

    reason = "broker_unavailable"


class BadBundle(PinpointError):
    """Weights, contract and index do not fit together."""

    reason = "bad_bundle"


class OtherContract(BadBundle):
    """The index holds vectors of another contract; it may have been switched a moment ago."""

    reason = "other_contract"


class Misconfigured(PinpointError):
    """A setting is missing or has no usable value."""

    reason = "misconfigured"


class StackError(PinpointError):
    """The embedded stack cannot be started, stopped or found."""

    reason = "stack_error"


_ERRNO: Final = re.compile(r"\[Errno -?\d+\]\s*")
_CAUSES: Final = (
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
    """Why a connection or a file did not work, in words fit for a user.

    Libraries put numbers, class names and advice for programmers into their texts; none of these
    reach a message. The original stays the cause of ours, for the logs.

    Args:
        error: Of a library or the operating system.

    Returns:
        A few words without a final period.
    """
    text = str(error)
    lowered = f"{text} {type(error).__name__}".lower()
    for sign, words in _CAUSES:
        if sign in lowered:
            return words
    if isinstance(error, OSError) and error.errno:
        words = os.strerror(error.errno)
        return words[:1].lower() + words[1:]
    first = _ERRNO.sub("", next(iter(text.strip().splitlines()), "")).strip().rstrip(".")
    return first or "it gave no reason"
