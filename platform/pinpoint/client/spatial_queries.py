"""Methods of the client for spatial queries: neighbors of points, coverage and gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from pinpoint.client.transport import HttpTransport, Json, to_path_segment
from pinpoint.iteration import batched

_GEOJSON: Final = "application/geo+json"
_POINTS_PER_REQUEST: Final = 10_000
_NEIGHBORS_PER_REQUEST: Final = 200_000


class SpatialQueries:
    """Part of `Client`: queries for positions instead of photos."""

    _transport: HttpTransport

    def neighbors(
        self,
        image_id: str | UUID,
        *,
        radius_m: float = 250.0,
        source_kinds: Sequence[str] = (),
        limit: int = 20,
    ) -> list[Json]:
        """List images near an image with `distance_m`, nearest first."""
        query = {"radius_m": radius_m, "source_kind": list(source_kinds) or None, "limit": limit}
        neighbors: list[Json] = self._transport.call(
            "GET", f"/v1/images/{to_path_segment(image_id)}/neighbors", query=query
        )["neighbors"]
        return neighbors

    def neighbors_of_points(
        self,
        points: Sequence[tuple[float, float]],
        *,
        radius_m: float = 250.0,
        limit_per_kind: int = 5,
        source_kinds: Sequence[str] = (),
    ) -> list[Json]:
        """Find the nearest images of points, for each source kind.

        Args:
            points: Latitude and longitude of each point, degrees; any number of points.
            radius_m: Maximum geodesic distance.
            limit_per_kind: Maximum number of images of each source kind for each point.
            source_kinds: Source kinds; empty for all.

        Returns:
            For each point `lat`, `lon` and `neighbors` with `distance_m` and `bearing_deg`.
        """
        size = max(1, min(_POINTS_PER_REQUEST, _NEIGHBORS_PER_REQUEST // limit_per_kind))
        results: list[Json] = []
        for chunk in batched(points, size):
            body = {
                "points": [{"lat": lat, "lon": lon} for lat, lon in chunk],
                "radius_m": radius_m,
                "limit_per_kind": limit_per_kind,
                "source_kinds": list(source_kinds),
            }
            results += self._transport.call("POST", "/v1/neighbors", body=body)["results"]
        return results

    def coverage(self, **filters: Any) -> Json:
        """List a page of H3 cells with their images by source kind: `{"cells": […], "next": …}`.

        Args:
            filters: `resolution` (3 to 7), `bbox`, `polygon` (GeoJSON), `source` and
                `source_kind` (one or a list), `min_images`, `limit`, `cursor`.
        """
        page: Json = self._transport.call("GET", "/v1/coverage", query=filters)
        return page

    def gaps(self, **filters: Any) -> Json:
        """List a page of H3 cells with images of exactly one source kind.

        Args:
            filters: Those of `coverage` except `source_kind`; in addition `missing_kind`.
        """
        page: Json = self._transport.call("GET", "/v1/gaps", query=filters)
        return page

    def iterate_cells(
        self, path: str, filters: Mapping[str, Any], *, geojson: bool
    ) -> Iterator[Json]:
        """Read all pages of `/v1/coverage` or `/v1/gaps`.

        Args:
            path: One of these paths.
            filters: Those of `coverage` or `gaps`.
            geojson: Whether to read Features with boundaries instead of cells.
        """
        headers = {"Accept": _GEOJSON} if geojson else {}
        parameters: Mapping[str, Any] | None = {
            name: value for name, value in filters.items() if value is not None
        }
        while True:
            response = self._transport.send("GET", path, params=parameters, headers=headers)
            page = response.json()
            yield from page["features" if geojson else "cells"]
            if "next" not in response.links:
                return
            path, parameters = response.links["next"]["url"], None
