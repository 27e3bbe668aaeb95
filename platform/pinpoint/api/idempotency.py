"""`Idempotency-Key`: a creating request that is repeated creates nothing again.

As in draft-ietf-httpapi-idempotency-key-header-07. `@idempotent` on a route is all that it needs:
with the header, everything that the route writes and the answer are one transaction
(`ports.Database.write_once`). A repetition gets the stored answer, until it expires. An error
stores nothing, so the same key may be used again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile

from pinpoint.http_headers import IDEMPOTENCY_KEY_HEADER
from pinpoint.records import Caller, IdempotentRequest, StoredAnswer

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services

REPLAYED_HEADER: Final = "Idempotency-Replayed"
"""`true` if the answer is that of an earlier request."""
KEY_PATTERN: Final = r'^("[!#-Z^-~]{1,255}"|[!#-Z^-~]{1,255})$'
"""1 to 255 printable ASCII characters without blanks, quotes, brackets and backslashes."""
_STORED_HEADERS: Final = ("content-type", "location", "etag")
_READ_BYTES: Final = 1 << 20

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with its `Idempotency-Key`; without the header the key is None."""

    request: Request
    key: str | None
    json: bytes
    """The body of a JSON request; empty for others."""


async def read_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY_HEADER,
            pattern=KEY_PATTERN,
            description="Optional. A new random key, such as a UUID, for each creation. A repeated "
            "request with this key creates nothing and gets the same answer.",
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> KeyedRequest:
    """Read the header, as plain text or as a string of RFC 9651 with quotes."""
    key = None if idempotency_key is None else idempotency_key.strip('"')
    is_json = request.scope["route"].body_field is not None
    body = await request.body() if key is not None and is_json else b""
    return KeyedRequest(request, key, body)


def idempotent(endpoint: Endpoint) -> Endpoint:
    """Declare a route as repeatable by `Idempotency-Key`; put it below the decorator of the route.

    The endpoint must be synchronous. All stores of the services take part in the transaction.
    """
    if inspect.iscoroutinefunction(endpoint):
        raise TypeError("an idempotent route is a synchronous function")

    @functools.wraps(endpoint)
    def answer_once(*arguments: Any, keyed_request: KeyedRequest, **options: Any) -> Any:
        if keyed_request.key is None:
            return endpoint(*arguments, **options)
        request = keyed_request.request
        services: Services = request.app.state.services
        caller: Caller = request.state.caller
        identity = _identify(keyed_request, caller, options)
        with services.database.write_once(caller.organization_id) as answers:
            stored = answers.find_answer(identity)
            if stored is not None:
                return _make_response(stored, {REPLAYED_HEADER: "true"})
            answer = _to_answer(request, endpoint(*arguments, **options), options)
            answers.store_answer(identity, answer, services.settings.api.idempotency_ttl_s)
        return _make_response(answer)

    signature = inspect.signature(endpoint)
    parameter = inspect.Parameter(
        "keyed_request",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[KeyedRequest, Depends(read_key)],
    )
    answer_once.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), parameter]
    )
    return answer_once  # type: ignore[return-value]


def is_idempotent(dependencies: list[Any]) -> bool:
    """Whether a route with these dependencies is declared as repeatable."""
    return read_key in dependencies


def _identify(
    keyed_request: KeyedRequest, caller: Caller, options: dict[str, Any]
) -> IdempotentRequest:
    request = keyed_request.request
    digest = hashlib.sha256()
    for part in (request.url.path, request.url.query, _canonical_json(keyed_request.json)):
        _add_part(digest, part.encode())
    for form in options.values():
        if isinstance(form, FormData):
            _add_form(digest, form)
    return IdempotentRequest(
        caller_id=caller.key_id or caller.organization_id,
        route=f"{request.method} {request.scope['route'].path}",
        key=str(keyed_request.key),
        fingerprint=digest.digest(),
    )


def _canonical_json(body: bytes) -> str:
    return json.dumps(json.loads(body), sort_keys=True) if body else ""


def _add_form(digest: Any, form: FormData) -> None:
    """Add fields and files of a form; its boundary, which differs in each request, is left out."""
    for name, value in form.multi_items():
        _add_part(digest, name.encode())
        if isinstance(value, UploadFile):
            _add_part(digest, (value.filename or "").encode())
            file_digest = hashlib.sha256()
            while part := value.file.read(_READ_BYTES):
                file_digest.update(part)
            value.file.seek(0)
            _add_part(digest, file_digest.digest())
        else:
            _add_part(digest, value.encode())


def _add_part(digest: Any, part: bytes) -> None:
    # With their lengths, so that two different lists of parts never have the same digest.
    digest.update(len(part).to_bytes(8, "big") + part)


def _to_answer(request: Request, result: Any, options: dict[str, Any]) -> StoredAnswer:
    route = request.scope["route"]
    response = (
        result
        if isinstance(result, Response)
        else JSONResponse(jsonable_encoder(result), status_code=route.status_code or 200)
    )
    # Headers that the route set on the response of its parameters.
    set_headers = [option.headers for option in options.values() if isinstance(option, Response)]
    headers = {
        name: value
        for name_values in (*set_headers, response.headers)
        for name, value in name_values.items()
        if name in _STORED_HEADERS
    }
    return StoredAnswer(status=response.status_code, headers=headers, body=bytes(response.body))


def _make_response(answer: StoredAnswer, headers: dict[str, str] | None = None) -> Response:
    return Response(
        answer.body, status_code=answer.status, headers={**answer.headers, **(headers or {})}
    )
