"""Calls for photos: locate, similar, and kept queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pinpoint_client import answers
from pinpoint_client.calls.call import (
    GEOJSON,
    ByteProgress,
    Call,
    Page,
    list_call,
    read_bytes,
    read_model,
    read_nothing,
)
from pinpoint_client.calls.photos import Photo, read_photos
from pinpoint_client.parameters import Id, to_form, to_path_segment


def locate(
    photo: Photo | Sequence[Photo], *, on_upload: ByteProgress | None = None, **parameters: Any
) -> Call[answers.Answer]:
    """Estimate the position of a photo, with evidence.

    Args:
        photo: Path or bytes of an image, or a list of them: photos of one place, which are one
            query.
        on_upload: Called with the bytes sent so far.
        parameters: `crop` (`x,y,w,h` in pixels of the upright image, as text or four numbers; a
            list with one value for each of several photos), `query_kind`, `source_kinds`,
            `sources`, `lat`, `lon`, `radius_m`, `bbox` (minimum longitude and latitude, maximum
            longitude and latitude), `polygon` (GeoJSON, text or dict), `country` (ISO 3166-1
            alpha-2 code, or a list of them), `datetime` (text as `start/end`, or a pair of times
            with None as an open end; both ends are included), `top`, `search_space` (`coordinates`
            ranks the coordinates that the bundle lists instead of the gallery), `verify` (number of
            candidates that are compared by local features; 0 disables it), `include` (`matches` for
            the positions of the inliers, `explain` for the explanation), `keep` (keep the answer
            without the photo, if the server allows it); the others of `POST /v1/locate`.

    Raises:
        BadPhotoError: The bytes are not an image that Pinpoint accepts.
    """
    return Call(
        method="POST",
        path="/v1/locate",
        read=read_model(lambda: answers.Answer),
        form=to_form(parameters),
        files=read_photos(photo),
        # A kept answer is stored at each attempt.
        is_repeatable=not parameters.get("keep"),
        on_upload=on_upload,
    )


def locate_features(
    photo: Photo | Sequence[Photo], **parameters: Any
) -> Call[answers.AnswerFeatures]:
    """Estimate the position of a photo as a GeoJSON FeatureCollection.

    Args:
        photo: As `locate`.
        parameters: As `locate`.
    """
    return Call(
        method="POST",
        path="/v1/locate",
        read=read_model(lambda: answers.AnswerFeatures),
        form=to_form(parameters),
        files=read_photos(photo),
        accept=GEOJSON,
        is_repeatable=not parameters.get("keep"),
    )


def match_picture(photo: Photo | Sequence[Photo], **parameters: Any) -> Call[bytes]:
    """Return the match picture as a PNG: a photo next to the gallery image that matches best.

    Args:
        photo: As `locate`.
        parameters: As `locate`.

    Raises:
        NotFoundError: No gallery image was compared with the photo.
        ForbiddenError: The key lacks the scope `read`.
    """
    return Call(
        method="POST",
        path="/v1/locate",
        read=read_bytes,
        form=to_form(parameters),
        files=read_photos(photo),
        accept="image/png",
        is_repeatable=True,
    )


def dossier(
    photo: Photo | Sequence[Photo], *, on_upload: ByteProgress | None = None, **parameters: Any
) -> Call[bytes]:
    """Estimate the position of a photo; return the answer as a dossier, a ZIP file.

    Args:
        photo: As `locate`.
        on_upload: As `locate`.
        parameters: As `locate`, without `include`; in addition `include_photo` (put the photo and
            the match pictures into the dossier).
    """
    return Call(
        method="POST",
        path="/v1/dossiers",
        read=read_bytes,
        form=to_form(parameters),
        files=read_photos(photo),
        accept="application/zip",
        is_repeatable=not parameters.get("keep"),
        on_upload=on_upload,
    )


def similar(
    photo: Photo | None = None, *, image_id: Id | None = None, **parameters: Any
) -> Call[answers.Similar]:
    """List gallery images that are similar to a photo or to another image.

    Args:
        photo: Path or bytes; alternative to `image_id`.
        image_id: A gallery image.
        parameters: Those of `locate`, except `top`, `search_space`, `verify`, `include` and `keep`;
            in addition `limit`, `per_group` and, with `image_id`, `include_self` and
            `exclude_group`.
    """
    return Call(
        method="POST",
        path="/v1/similar",
        read=read_model(lambda: answers.Similar),
        form=to_form({**parameters, "image_id": image_id}),
        files=None if photo is None else read_photos(photo),
        is_repeatable=True,
    )


def similar_features(
    photo: Photo | None = None, *, image_id: Id | None = None, **parameters: Any
) -> Call[answers.SimilarFeatures]:
    """List similar gallery images as a GeoJSON FeatureCollection.

    Args:
        photo: As `similar`.
        image_id: As `similar`.
        parameters: As `similar`.
    """
    return Call(
        method="POST",
        path="/v1/similar",
        read=read_model(lambda: answers.SimilarFeatures),
        form=to_form({**parameters, "image_id": image_id}),
        files=None if photo is None else read_photos(photo),
        accept=GEOJSON,
        is_repeatable=True,
    )


def search(photo: Photo | Sequence[Photo] | None = None, **parameters: Any) -> Call[answers.Search]:
    """List gallery images for text, photos, images, a point, or a mixture of them.

    Args:
        photo: Path or bytes, or a list of them.
        parameters: `text` (what the images show, for a bundle with a text encoder), `image_id`
            (gallery images), `point` (`LAT,LON` in degrees), `weights` of these parts
            (`text=0.7,photo=0.3`); the filters of `locate`, `crop`, `query_kind`, `limit`,
            `per_group`, `include_self` and `exclude_group`.
    """
    return Call(
        method="POST",
        path="/v1/search",
        read=read_model(lambda: answers.Search),
        form=to_form(parameters),
        files=None if photo is None else read_photos(photo),
        is_repeatable=True,
    )


def search_features(
    photo: Photo | Sequence[Photo] | None = None, **parameters: Any
) -> Call[answers.SimilarFeatures]:
    """List gallery images as a GeoJSON FeatureCollection.

    Args:
        photo: As `search`.
        parameters: As `search`.
    """
    return Call(
        method="POST",
        path="/v1/search",
        read=read_model(lambda: answers.SimilarFeatures),
        form=to_form(parameters),
        files=None if photo is None else read_photos(photo),
        accept=GEOJSON,
        is_repeatable=True,
    )


def kept_queries(*, limit: int = 100, cursor: str | None = None) -> Call[Page[answers.KeptQuery]]:
    """List kept queries, newest first.

    Args:
        limit: Maximum number of queries of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    return list_call(
        "/v1/queries", lambda: answers.KeptQuery, "queries", {"limit": limit, "cursor": cursor}
    )


def delete_kept_query(query_id: Id) -> Call[None]:
    """Delete a kept query before it expires."""
    path = f"/v1/queries/{to_path_segment(query_id)}"
    return Call(method="DELETE", path=path, read=read_nothing)


def quality_reports(
    *, limit: int = 100, cursor: str | None = None
) -> Call[Page[answers.ReportSummary]]:
    """List reports of evaluations and calibrations, newest first.

    Args:
        limit: Maximum number of reports of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    return list_call(
        "/v1/reports", lambda: answers.ReportSummary, "reports", {"limit": limit, "cursor": cursor}
    )


def quality_report(report_id: Id) -> Call[answers.QualityReport]:
    """Get a report with its reliability and the errors of its queries."""
    path = f"/v1/reports/{to_path_segment(report_id)}"
    return Call(method="GET", path=path, read=read_model(lambda: answers.QualityReport))
