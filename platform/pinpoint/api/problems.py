"""RFC 9457 problem details for each error, and the HTTP status of each error class.

Each body is `application/problem+json` with `type`, `title`, `status`, `detail`, `reason` and
`request_id`; it never contains a stack trace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from pinpoint import deadline, errors, logs
from pinpoint.api.admission import OVERLOADED
from pinpoint.api.auth import CHALLENGES
from pinpoint.api.body_limits import BodyRejectedError
from pinpoint.api.methods import list_methods
from pinpoint.api.query_names import name_field

MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_PREFIX: Final = "urn:pinpoint:problem:"
REGISTERED_TYPE_PREFIX: Final = "https://iana.org/assignments/http-problem-types#"
"""Prefix of the types of draft-ietf-httpapi-ratelimit-headers-11."""
REGISTERED_TYPES: Final = {
    "quota_exceeded": "quota-exceeded",
    "abnormal_usage_detected": "abnormal-usage-detected",
    OVERLOADED: "temporary-reduced-capacity",
}
"""Registered problem types by our kind."""
RETRY_AFTER_S: Final = 5
MAX_FIELD_ERRORS: Final = 20
"""Maximum number of field errors in one problem."""

STATUS: Final[dict[type[errors.PinpointError], int]] = {
    errors.PinpointError: 500,
    errors.BadRequestError: 400,
    errors.InvalidRequestError: 422,
    errors.BadPhotoError: 422,
    errors.UnsupportedQueryError: 422,
    errors.BadManifestError: 422,
    errors.TooLargeError: 413,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.RemoteFileError: 422,
    errors.ConflictError: 409,
    errors.PreconditionError: 412,
    errors.QuotaExceededError: 429,
    errors.AbnormalUsageError: 429,
    errors.UnavailableError: 503,
    errors.DatabaseUnavailableError: 503,
    errors.IndexUnavailableError: 503,
    errors.BrokerUnavailableError: 503,
    errors.BadBundleError: 500,
    errors.ModelMismatchError: 503,
    errors.ConfigurationError: 500,
    errors.StackError: 503,
}
"""HTTP status by exact class; `tests/api/test_api_problems.py` checks completeness."""

TITLES: Final[dict[str, str]] = {
    "error": "An error occurred",
    "bad_request": "The request cannot be parsed",
    "bad_photo": "The photo cannot be used",
    "bad_manifest": "The manifest cannot be read",
    "unsupported_query": "The bundle in use cannot answer this query",
    "too_large": "A limit is exceeded",
    "unauthenticated": "Not authenticated",
    "forbidden": "Not allowed",
    "not_found": "Not found",
    "remote_file": "A URL is refused, or its file cannot be fetched",
    "conflict": "Conflict with the current state",
    "precondition_failed": "The object has another version",
    "quota_exceeded": "A limit of the key is used up",
    "abnormal_usage_detected": "The misuse rule refuses the answer",
    "overloaded": "Too many requests at once",
    "unavailable": "A component of the stack does not answer",
    "database_unavailable": "The database does not answer",
    "index_unavailable": "The index does not answer",
    "broker_unavailable": "The broker does not answer",
    "bad_bundle": "Weights and index do not match",
    "model_mismatch": "The index holds vectors of another bundle",
    "bad_configuration": "A setting is missing or wrong",
    "stack_error": "The embedded stack has a problem",
    "invalid_request": "The request violates a rule",
    "method_not_allowed": "The path does not support this method",
    "not_acceptable": "The path returns none of the accepted media types",
    "unsupported_media_type": "The body has the wrong content type",
    "range_not_satisfiable": "The file has no byte of the requested range",
    "request_timeout": "The request arrived too slowly",
    "internal": "Internal error",
}
"""Title of each problem type, by the last word of its URN; the README lists them."""

_KIND_BY_STATUS: Final[dict[int, str]] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
}

_log = logs.get_logger(__name__)


class FieldProblem(BaseModel):
    """One invalid field; its value is not repeated."""

    where: str = Field(examples=["body.radius_m"])
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 problem details."""

    type: str = Field(examples=["urn:pinpoint:problem:not_found"])
    title: str
    status: int
    detail: str = Field(description="Cause, location and remedy of the error.")
    reason: str = Field(
        description="A stable code, at least as specific as `type`.", examples=["not_found"]
    )
    request_id: str | None = Field(description="Id of the request in the server's log.")
    violated_policies: list[str] | None = Field(
        default=None,
        alias="violated-policies",
        description="Policies whose limit is used up, with status 429.",
        examples=[["requests"]],
    )
    errors: list[FieldProblem] | None = Field(
        default=None,
        description="Invalid fields, if the request did not match the documented schema; "
        f"at most {MAX_FIELD_ERRORS}.",
    )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI entries for the problem responses of a route."""
    return {
        status: {
            "description": "Problem details",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def build_type(kind: str) -> str:
    """Return the URI of a problem type: the registered one if there is one."""
    if kind in REGISTERED_TYPES:
        return REGISTERED_TYPE_PREFIX + REGISTERED_TYPES[kind]
    return PROBLEM_TYPE_PREFIX + kind


def problem_response(
    request: Request,
    kind: str,
    status: int,
    detail: str,
    *,
    reason: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> JSONResponse:
    """Create a problem response of type `kind` with the request's id."""
    body = {
        "type": build_type(kind),
        "title": TITLES[kind],
        "status": status,
        "detail": detail,
        "reason": reason or kind,
        "request_id": getattr(request.state, "request_id", None),
        **(extra or {}),
    }
    return JSONResponse(
        body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def problem_from_error(request: Request, error: errors.PinpointError) -> JSONResponse:
    """Convert a `PinpointError` to a problem response and log server-side errors."""
    status = STATUS[type(error)]
    headers: dict[str, str] = {}
    if status in (429, 503):
        retry_after_s = getattr(error, "retry_after_s", None) or RETRY_AFTER_S
        headers["Retry-After"] = str(math.ceil(retry_after_s))
    if isinstance(error, errors.UnavailableError):
        # No traceback: a hanging component causes hundreds of these, and they are slow.
        cause = error.__cause__
        _log.warning(
            "request postponed",
            reason=error.reason,
            detail=error.message,
            cause=None if cause is None else repr(cause)[:500],
        )
    elif status >= 500:
        _log.error("request failed", reason=error.reason, detail=error.message, exc_info=error)
    extra: dict[str, object] = {}
    if isinstance(error, errors.QuotaExceededError):
        extra["violated-policies"] = list(error.policies)
        request.app.state.meters.observe_limit_refusal(error.policies)
    response = problem_response(
        request,
        OVERLOADED if error.reason == OVERLOADED else type(error).reason,
        status,
        error.message,
        reason=error.reason,
        headers=headers,
        extra=extra,
    )
    if status == 401:
        for challenge in CHALLENGES:
            response.headers.append("WWW-Authenticate", challenge)
    return response


def make_internal_problem(request: Request) -> JSONResponse:
    """Create the problem response of an error that no other function here converts."""
    return problem_response(
        request,
        "internal",
        500,
        "an unexpected error; the server's log contains it under this request id",
    )


def make_late_problem(request: Request) -> JSONResponse:
    """Create the problem response of a request that has no answer after its time budget."""
    error = errors.UnavailableError(
        "the request took longer than its time budget; try again",
        reason=deadline.TIME_BUDGET_USED,
    )
    return problem_from_error(request, error)


def make_problem(
    request: Request, error: errors.PinpointError | RequestValidationError | ValidationError
) -> JSONResponse:
    """Convert an error that `protection` or a route raises to a problem response."""
    if isinstance(error, errors.PinpointError):
        return problem_from_error(request, error)
    return _problem_from_fields(request, error)


def _problem_from_fields(
    request: Request, error: RequestValidationError | ValidationError
) -> JSONResponse:
    body_field = getattr(request.scope.get("route"), "body_field", None)
    model = None if body_field is None else body_field.field_info.annotation
    field_errors = [
        field_error if "is_form" in field_error else name_field(field_error, model)
        for field_error in map(dict, error.errors())
    ]
    fields = [
        {
            "where": shorten(".".join(shorten(str(part), 80) for part in field_error["loc"]), 300),
            "message": shorten(str(field_error["msg"]).removeprefix("Value error, "), 300),
        }
        for field_error in field_errors[:MAX_FIELD_ERRORS]
    ]
    first = (
        fields[0]
        if fields
        else {"where": "request", "message": "does not match the documented schema"}
    )
    where = first["where"] or "request"
    num_omitted = len(field_errors) - len(fields)
    more = f" (and {num_omitted} more than the {len(fields)} errors shown)" if num_omitted else ""
    is_unparsable = any(map(_is_unparsable, field_errors))
    return problem_response(
        request,
        "bad_request" if is_unparsable else "invalid_request",
        400 if is_unparsable else 422,
        f"{where}: {first['message']}{more}; see /openapi.json for the schema",
        extra={"errors": fields},
    )


def _is_unparsable(field_error: Mapping[str, Any]) -> bool:
    """Whether a body is not JSON, or the text of a parameter or form field is not of its type.

    A value of the wrong type in a JSON body was parsed, so it violates a rule.
    """
    kind = str(field_error["type"])
    if field_error["loc"][:1] == ("body",) and not field_error.get("is_form"):
        return kind == "json_invalid"
    return kind.endswith("_parsing")


def describe_status(status: int) -> tuple[str, str]:
    """Return the kind and the title of the most common problem with a status."""
    kinds = {
        **{code: error.reason for error, code in reversed(STATUS.items())},
        **_KIND_BY_STATUS,
        422: "invalid_request",
        429: "quota_exceeded",
    }
    kind = kinds.get(status, "error")
    return kind, TITLES.get(kind, TITLES["error"])


def list_field_errors(error: ValidationError) -> list[Any]:
    """Return the field errors of a validation, without the input values."""
    return list(error.errors(include_url=False, include_context=False, include_input=False))


def shorten(text: str, max_length: int = 80) -> str:
    """Shorten text from a caller to at most `max_length` characters for a message."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def _problem_from_http(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, BodyRejectedError) and error.error is not None:
        return problem_from_error(request, error.error)
    kind = _KIND_BY_STATUS.get(
        error.status_code, "internal" if error.status_code >= 500 else "error"
    )
    detail = {
        404: "this path does not exist; see /openapi.json for all paths",
        405: f"this path does not support {request.method}; see /openapi.json",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(list_methods(request.app, request.url.path))
    return problem_response(request, kind, error.status_code, detail, headers=headers)


def install_handlers(app: FastAPI) -> None:
    """Answer each error of `app` with problem details.

    `RequestLogMiddleware` handles unexpected errors.
    """

    def handle_pinpoint_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, errors.PinpointError):
            raise error
        return problem_from_error(request, error)

    def handle_validation_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError | ValidationError):
            raise error
        return _problem_from_fields(request, error)

    def handle_http_exception(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        return _problem_from_http(request, error)

    app.add_exception_handler(errors.PinpointError, handle_pinpoint_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(HTTPException, handle_http_exception)
