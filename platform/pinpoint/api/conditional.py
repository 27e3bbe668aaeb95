"""Entity tags: conditional requests for one resource (RFC 9110, sections 8.8 and 13)."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final

from fastapi import Header, Request, Response
from pydantic import BaseModel

from pinpoint.errors import BadRequestError, PreconditionError

IfNoneMatch = Annotated[
    str | None,
    Header(
        description="Entity tags (`ETag`) that the client has; 304 without a body if the resource "
        "still has one of them.",
        examples=['"0f343b0931126a20f133d67c2b018a3b"'],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        description="Entity tag (`ETag`) of the state that the change is meant for; 412 if the "
        "resource has another state.",
        examples=['"0f343b0931126a20f133d67c2b018a3b"'],
    ),
]
REVALIDATE: Final = "private, no-cache"
"""Only the client itself may keep the response, and must ask each time whether it is current."""
NOT_MODIFIED_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The client has this state"}
}
_ENTITY_TAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_TAG_LIST: Final = re.compile(
    r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"(?:[ \t]*,[ \t]*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")*'
)


def is_not_modified(request: Request, etag: str) -> bool:
    """Whether the client has this version, by `If-None-Match` (weak comparison).

    Args:
        request: The request.
        etag: Strong entity tag of the current version, with its quotes.
    """
    header = ", ".join(request.headers.getlist("if-none-match"))
    return header.strip() == "*" or etag in (tag for _, tag in _ENTITY_TAG.findall(header))


def make_etag(resource: BaseModel) -> str:
    """Make the strong entity tag of a resource from its JSON representation."""
    return f'"{hashlib.sha256(resource.model_dump_json().encode()).hexdigest()[:32]}"'


def make_conditional_response(
    request: Request, response: Response, resource: BaseModel
) -> Response | None:
    """Add `ETag` to a response, and return a response 304 if the client has this version."""
    etag = make_etag(resource)
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = REVALIDATE
    if not is_not_modified(request, etag):
        return None
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": REVALIDATE})


def check_if_match(header: str | None, resource: BaseModel) -> None:
    """Check `If-Match` (strong comparison); without the header every state is accepted.

    Raises:
        BadRequestError: The header is not a list of entity tags.
        PreconditionError: The resource has another state.
    """
    if header is None or header.strip() == "*":
        return
    if not _TAG_LIST.fullmatch(header.strip()):
        raise BadRequestError("If-Match must be `*` or a list of entity tags with their quotes")
    tags = [tag for weak, tag in _ENTITY_TAG.findall(header) if not weak]
    if make_etag(resource) not in tags:
        raise PreconditionError(
            "the resource has another state than `If-Match` names; read it again"
        )
