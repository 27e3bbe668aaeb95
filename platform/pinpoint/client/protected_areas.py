"""Methods of the client for protected areas and for what keys may see of a source's images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from pinpoint.client.transport import HttpTransport, Json, to_path_segment

_PATH = "/v1/protected-areas"


class ProtectedAreas:
    """Part of `Client`: one method per route; areas are GeoJSON Features."""

    _transport: HttpTransport

    def protected_areas(self) -> Iterator[Json]:
        """Iterate over all protected areas, page by page."""
        cursor = None
        while True:
            page: Json = self._transport.call("GET", _PATH, query={"cursor": cursor})
            yield from page["features"]
            if page["next"] is None:
                return
            (cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]

    def protected_area(self, area_id: str | UUID) -> Json:
        """Return one protected area."""
        area: Json = self._transport.call("GET", f"{_PATH}/{to_path_segment(area_id)}")
        return area

    def create_protected_area(
        self, geometry: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> Json:
        """Protect an area.

        Args:
            geometry: GeoJSON Polygon or MultiPolygon.
            properties: `name`, `granularity` (`radius`, `city`, `country` or `refuse`), `purpose`,
                and for `radius` `min_radius_m`; `whole_installation` for the operator.

        Raises:
            ConflictError: The name is taken.
        """
        body = {"type": "Feature", "geometry": geometry, "properties": properties}
        area: Json = self._transport.call("POST", _PATH, body=body)
        return area

    def replace_protected_area(
        self, area_id: str | UUID, geometry: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> Json:
        """Replace all values of a protected area; see `create_protected_area`."""
        body = {"type": "Feature", "geometry": geometry, "properties": properties}
        area: Json = self._transport.call("PUT", f"{_PATH}/{to_path_segment(area_id)}", body=body)
        return area

    def delete_protected_area(self, area_id: str | UUID) -> None:
        """Delete a protected area."""
        self._transport.call("DELETE", f"{_PATH}/{to_path_segment(area_id)}")

    def set_image_access(self, source: str | UUID, image_access: str) -> Json:
        """Set what API keys may see of the images of a source: `none`, `thumbnail` or `full`."""
        changed: Json = self._transport.call(
            "PATCH", f"/v1/sources/{to_path_segment(source)}", body={"image_access": image_access}
        )
        return changed
