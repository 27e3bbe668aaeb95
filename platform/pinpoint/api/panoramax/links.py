"""Absolute URLs and links of the Panoramax API; its clients accept no relative ones."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request

from pinpoint.api.v1.media_types import JSON
from pinpoint.records import CollectionItem, ItemReference

JPEG: Final = "image/jpeg"
MAP_TILE: Final = "application/vnd.mapbox-vector-tile"
API_PATH: Final = "/api"

_SCHEMES: Final = ("http", "https")


class Links:
    """Builds the links of one answer.

    Args:
        request: The request; its host is that of the links. A proxy with TLS states the scheme in
            `X-Forwarded-Proto`, which affects only the links of this answer.
    """

    def __init__(self, request: Request) -> None:
        stated = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        scheme = stated if stated in _SCHEMES else request.url.scheme
        self._origin = f"{scheme}://{request.url.netloc}"

    def api(self, path: str = "", **query: object) -> str:
        """URL below `/api`; a query value of None is omitted."""
        return self._make_url(API_PATH + path, query)

    def collection(self, collection_id: UUID) -> str:
        """URL of a collection."""
        return self.api(f"/collections/{collection_id}")

    def item(self, item: CollectionItem | ItemReference) -> str:
        """URL of an item."""
        return self.api(f"/collections/{item.collection_id}/items/{item.id}")

    def image(self, image_id: UUID | str, name: str, **query: object) -> str:
        """URL below `/v1/images/{image_id}`."""
        return self._make_url(f"/v1/images/{image_id}/{name}", query)

    def root(self) -> dict[str, Any]:
        """Link to the landing page."""
        return make_link("root", self.api(), JSON)

    def _make_url(self, path: str, query: dict[str, object]) -> str:
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self._origin}{path}{'?' if given else ''}{urlencode(given, doseq=True)}"


def make_link(rel: str, href: str, media_type: str, **fields: object) -> dict[str, Any]:
    """A STAC link; a field of None is omitted."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"rel": rel, "href": href, "type": media_type, **given}
