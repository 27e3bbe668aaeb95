"""Conversion of problem answers (RFC 9457) and of failed connections to errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx

from pinpoint_client import errors

_PREFIXES: Final = (
    "urn:pinpoint:problem:",
    "https://iana.org/assignments/http-problem-types#",
)
_BAD_REQUEST_TYPES: Final = (
    "method_not_allowed",
    "not_acceptable",
    "range_not_satisfiable",
    "unsupported_media_type",
)
_ERRNO_PREFIX: Final = re.compile(r"\[Errno -?\d+\]\s*")
_CAUSE_TEXTS: Final = (
    ("connection refused", "it refuses the connection"),
    ("name or service not known", "no machine of that name is known"),
    ("no address associated", "no machine of that name is known"),
    ("temporary failure in name resolution", "its name cannot be looked up"),
    ("timed out", "no answer in time"),
    ("timeout", "no answer in time"),
    ("certificate", "its TLS certificate is not valid"),
    ("wrong_version_number", "it does not speak https"),
    ("wrong version number", "it does not speak https"),
    ("disconnected", "it closed the connection"),
    ("connection reset", "it closed the connection"),
)


def error_from_response(response: httpx.Response) -> errors.PinpointError:
    """Convert a problem answer to an error; its body must have been read.

    Args:
        response: An answer with a status from 400.

    Returns:
        An error whose class follows from the problem type; `UnavailableError` if the answer is
        that of a proxy or of another server.
    """
    try:
        body = response.json()
    except ValueError:
        body = None
    problem_type = _read_problem_type(body)
    retry_after_s = _parse_retry_after(response.headers.get("Retry-After", ""))
    if problem_type is None or not isinstance(body, dict):
        return errors.UnavailableError(
            f"{response.request.url} answered {response.status_code} and is not a Pinpoint API; "
            "check the address of the server",
            status=response.status_code,
            retry_after_s=retry_after_s,
        )
    request_id = body.get("request_id")
    message = str(body.get("detail") or body.get("title") or problem_type)
    if response.status_code >= 500 and request_id:
        message = f"{message} (request {request_id})"
    error = _find_error_class(problem_type, response.status_code)(
        message,
        reason=str(body.get("reason") or problem_type),
        request_id=None if request_id is None else str(request_id),
        status=response.status_code,
        retry_after_s=retry_after_s,
    )
    if isinstance(error, errors.RateLimitedError):
        error.policies = tuple(str(policy) for policy in body.get("violated-policies") or ())
    return error


def invalid_server_error(server: str) -> errors.BadRequestError:
    """Error for text that is not the address of a server."""
    return errors.BadRequestError(
        f"{server!r} is not a server URL; give it as http://HOST:PORT or https://HOST"
    )


def describe_cause(error: BaseException) -> str:
    """Describe why a connection or a file failed, in a few words without a final period."""
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


def _read_problem_type(body: Any) -> str | None:
    """Last word of the problem type; None if the body is no problem of a Pinpoint API."""
    if not isinstance(body, dict):
        return None
    for prefix in _PREFIXES:
        if str(body.get("type", "")).startswith(prefix):
            # The registry of problem types writes hyphens.
            return str(body["type"]).removeprefix(prefix).replace("-", "_")
    return None


def _find_error_class(problem_type: str, status: int) -> type[errors.PinpointError]:
    if problem_type in _BAD_REQUEST_TYPES:
        return errors.BadRequestError
    for error_class in _iterate_error_classes(errors.PinpointError):
        if error_class.reason == problem_type:
            return error_class
    if status == 429:
        return errors.RateLimitedError
    return errors.UnavailableError if status == 503 else errors.PinpointError


def _iterate_error_classes(
    root: type[errors.PinpointError],
) -> Iterator[type[errors.PinpointError]]:
    yield root
    for child in root.__subclasses__():
        yield from _iterate_error_classes(child)


def _parse_retry_after(text: str) -> float | None:
    """Parse Retry-After as whole seconds; its other form, a date, is ignored."""
    return float(text) if text.isascii() and text.isdigit() else None
