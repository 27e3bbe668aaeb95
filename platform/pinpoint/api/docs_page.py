"""`/docs`: interactive documentation of the API, with Swagger UI from this origin.

The page needs no key, because it shows only the OpenAPI document, which is the same in every
installation and has no data of any organization. A key that a visitor enters stays in the memory of
the page. The policy allows no other host, so a key can be sent to this API only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from pinpoint.errors import NotFoundError

router = APIRouter(include_in_schema=False)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy. Inline styles are those that Swagger UI sets on its elements."""
FOLDER: Final = Path(__file__).resolve().parent / "swagger_ui"
_MEDIA_TYPES: Final = {
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
"""Files that the page loads."""
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pinpoint API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""


@router.get("/docs")
async def show_docs() -> Response:
    """Return the page."""
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(_PAGE, headers=headers)


@router.get("/docs/{name}")
async def get_docs_file(name: str) -> Response:
    """Return a file of the page."""
    media_type = _MEDIA_TYPES.get(name)
    if media_type is None:
        raise NotFoundError(f"the documentation page has no file {name[:80]!r}")
    headers = {"Cache-Control": "public, max-age=3600"}
    return FileResponse(FOLDER / name, media_type=media_type, headers=headers)
