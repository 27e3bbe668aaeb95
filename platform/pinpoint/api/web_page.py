"""`/` in a browser: the web page, and its files below `/web`.

The page and its files need no key, because they are the same in every installation and have no data
of any organization. A key that a visitor enters stays in the memory of the page, and the policy
allows no other host, so the key can be sent to this API only. `/` answers programs with JSON.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from pinpoint import __version__
from pinpoint.api.conditional import is_not_modified
from pinpoint.api.dependencies import AppServices
from pinpoint.api_settings import ApiSettings
from pinpoint.errors import NotFoundError

router = APIRouter(tags=["health"])
files_router = APIRouter(include_in_schema=False)

PAGE_FOLDER: Final = Path(__file__).resolve().parent / "web" / "static"
_SECURITY_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def make_policy(settings: ApiSettings) -> str:
    """Make the Content-Security-Policy: no inline scripts or styles, and no host but the allowed.

    Images of the API need the key in a header, so the page loads them itself and shows them by
    `blob:` URLs. The stylesheet of MapLibre has icons as `data:` URLs. Only the operator's settings
    of the background map add hosts.
    """
    hosts = "".join(f" {origin}" for origin in settings.basemap_origins)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' blob: data:{hosts}; connect-src 'self'{hosts}; worker-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; object-src 'none'"
    )


def security_headers(settings: ApiSettings) -> dict[str, str]:
    """Headers of each response of the page.

    The browser asks for a changed file by ETag at each use, so that an upgrade is seen at once.
    """
    policy = {"Content-Security-Policy": make_policy(settings), "Cache-Control": "no-cache"}
    return _SECURITY_HEADERS | policy


class AboutOut(BaseModel):
    """Name, version and links of this API."""

    name: str
    version: str
    openapi: str
    docs: str
    ready: str
    keyless: bool = Field(
        description="Whether programs and pages on this machine may call the API without a key."
    )


@router.get(
    "/",
    operation_id="about",
    summary="Name and version; the web page in a browser",
    response_model=AboutOut,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def about(
    services: AppServices, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """Return name, version and links; a browser (`Accept: text/html`) gets the web page."""
    headers = {"Vary": "Accept"}
    if prefers_html(accept):
        headers |= security_headers(services.settings.api)
        return FileResponse(
            PAGE_FOLDER / "index.html", media_type=_MEDIA_TYPES[".html"], headers=headers
        )
    document = AboutOut(
        name="pinpoint",
        version=__version__,
        openapi="/openapi.json",
        docs="/docs",
        ready="/health/ready",
        keyless=services.settings.api.allow_keyless,
    )
    return JSONResponse(document.model_dump(), headers=headers)


@files_router.get("/web/{path:path}")
async def get_web_file(path: str, request: Request, services: AppServices) -> Response:
    """Return a file of the page."""
    file = _list_files().get(path)
    if file is None:
        raise NotFoundError(f"the web page has no file {path[:80]!r}")
    headers = security_headers(services.settings.api)
    return send_file(request, file, _MEDIA_TYPES[file.suffix], headers)


def send_file(request: Request, file: Path, media_type: str, headers: dict[str, str]) -> Response:
    """Return a file or a range of it, or 304 if the client has this version.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    response = FileResponse(file, media_type=media_type, headers=headers, stat_result=file.stat())
    etag = response.headers["etag"]
    if is_not_modified(request, etag):
        return Response(status_code=304, headers=headers | {"ETag": etag})
    return response


def prefers_html(accept: str) -> bool:
    """Whether an `Accept` header names HTML; only browsers do so by themselves."""
    return "text/html" in accept.lower()


@cache
def _list_files() -> dict[str, Path]:
    """Files by their path below `/web`; no other path reaches the disk."""
    return {
        path.relative_to(PAGE_FOLDER).as_posix(): path
        for path in PAGE_FOLDER.rglob("*")
        if path.is_file() and path.suffix in _MEDIA_TYPES
    }
