"""Methods of the client for queries: locate, similar and kept queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pinpoint.client.photos import Photo, read_photos
from pinpoint.client.transport import HttpTransport, Json, to_form, to_path_segment

Id = str | UUID

_JSON: Final = "application/json"
_GEOJSON: Final = "application/geo+json"


class PhotoQueries:
    """Part of the client: one method per route of queries."""

    _transport: HttpTransport

    def locate(
        self, photo: Photo | Sequence[Photo], *, geojson: bool = False, **parameters: Any
    ) -> Json:
        """Estimate the position of a photo, with evidence.

        Args:
            photo: Path or bytes of an image, or a list of them: photos of one place, which are one
                query.
            geojson: Return a GeoJSON FeatureCollection of point, regions, candidates and evidence.
            parameters: `crop` (`x,y,w,h` in pixels of the upright image, as text or four numbers;
                a list with one value for each of several photos), `query_kind`, `source_kinds`,
                `sources`, `lat`, `lon`, `radius_m`, `bbox` (minimum longitude and latitude,
                maximum longitude and latitude), `polygon` (GeoJSON Polygon, MultiPolygon, Feature
                or FeatureCollection, text or dict), `country` (ISO 3166-1 alpha-2 code, or a list
                of them), `datetime` (text as `start/end`, or a pair of times with None as an open
                end; both ends are included), `top`, `search_space` (`coordinates` ranks the
                coordinates that the bundle lists instead of the gallery), `verify` (number of
                candidates that are compared by local features; 0 disables it), `include`
                (`matches` for the positions of the inliers, `explain` for the explanation), `keep`
                (keep the answer without the photo, if the server allows it).

        Raises:
            BadPhotoError: The bytes are not an image that Pinpoint accepts.
        """
        answer: Json = self._transport.call(
            "POST",
            "/v1/locate",
            form=to_form(parameters),
            files=read_photos(photo),
            accept=_GEOJSON if geojson else _JSON,
        )
        return answer

    def match_picture(self, photo: Photo | Sequence[Photo], **parameters: Any) -> bytes:
        """Return the match picture as a PNG: a photo next to the gallery image that matches best.

        Args:
            photo: As `locate`.
            parameters: As `locate`.

        Raises:
            NotFoundError: No gallery image was compared with the photo.
            ForbiddenError: The key lacks the scope `read`.
        """
        response = self._transport.send(
            "POST",
            "/v1/locate",
            data=to_form(parameters),
            files=read_photos(photo),
            headers={"Accept": "image/png"},
        )
        return response.content

    def similar(
        self,
        photo: Photo | None = None,
        *,
        image_id: Id | None = None,
        geojson: bool = False,
        **parameters: Any,
    ) -> Json:
        """List gallery images that are similar to a photo or to another image.

        Args:
            photo: Path or bytes; alternative to `image_id`.
            image_id: A gallery image.
            geojson: Return a GeoJSON FeatureCollection of the images.
            parameters: Those of `locate`, except `top`, `search_space`, `verify`, `include` and
                `keep`; in addition `limit`, `per_group` and, with `image_id`, `include_self` and
                `exclude_group`.
        """
        form = to_form({**parameters, "image_id": image_id})
        files = None if photo is None else read_photos(photo)
        accept = _GEOJSON if geojson else _JSON
        result: Json = self._transport.call(
            "POST", "/v1/similar", form=form, files=files, accept=accept
        )
        return result

    def search(
        self,
        *,
        text: str | Sequence[str] | None = None,
        photo: Photo | Sequence[Photo] | None = None,
        image_id: Id | Sequence[Id] | None = None,
        point: str | None = None,
        weights: str | None = None,
        geojson: bool = False,
        **parameters: Any,
    ) -> Json:
        """List gallery images for text, photos, images, a point, or a mixture of them.

        Args:
            text: What the images show, for a bundle with a text encoder.
            photo: Path or bytes, or a list of them.
            image_id: Gallery images.
            point: `LAT,LON` in degrees.
            weights: Weights of the parts text, photo, image and point: `text=0.7,photo=0.3`.
            geojson: Return a GeoJSON FeatureCollection of the images.
            parameters: The filters of `locate`, `crop`, `query_kind`, `limit`, `per_group`,
                `include_self` and `exclude_group`.
        """
        parts = {"text": text, "image_id": image_id, "point": point, "weights": weights}
        result: Json = self._transport.call(
            "POST",
            "/v1/search",
            form=to_form({**parameters, **parts}),
            files=None if photo is None else read_photos(photo),
            accept=_GEOJSON if geojson else _JSON,
        )
        return result

    def kept_queries(self, *, limit: int = 100, cursor: str | None = None) -> Json:
        """List a page of kept queries, newest first: `{"queries": [...], "next": …}`.

        Args:
            limit: Maximum number of queries of the page.
            cursor: Value of `cursor` in the link `next` of the previous page.
        """
        query = {"limit": limit, "cursor": cursor}
        page: Json = self._transport.call("GET", "/v1/queries", query=query)
        return page

    def delete_kept_query(self, query_id: Id) -> None:
        """Delete a kept query before it expires."""
        self._transport.call("DELETE", f"/v1/queries/{to_path_segment(query_id)}")
