"""Calls for the gallery: sources, images, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pinpoint_client import answers
from pinpoint_client.calls.call import (
    Call,
    Page,
    list_call,
    read_bytes,
    read_field,
    read_model,
    read_nothing,
)
from pinpoint_client.parameters import Id, to_form, to_json, to_path_segment

# --- sources ---------------------------------------------------------------------------------


def sources(*, limit: int = 100, cursor: str | None = None) -> Call[Page[answers.Source]]:
    """List sources by name.

    Args:
        limit: Maximum number of sources of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    query = {"limit": limit, "cursor": cursor}
    return list_call("/v1/sources", lambda: answers.Source, "sources", query)


def source(name_or_id: Id) -> Call[answers.Source]:
    """Return one source."""
    path = f"/v1/sources/{to_path_segment(name_or_id)}"
    return Call(
        method="GET", path=path, read=read_model(lambda: answers.Source), is_repeatable=True
    )


def add_source(
    name: str,
    kind: str,
    *,
    license: str | None = None,
    attribution: str | None = None,
    originals: str = "copy",
    image_access: str = "full",
    idempotency_key: str | None = None,
) -> Call[answers.Source]:
    """Add a source.

    Args:
        name: Its name.
        kind: `photo` or `street`.
        license: License of its images.
        attribution: Attribution of its images.
        originals: What is stored of an uploaded file: `copy` or `rendition`.
        image_access: What keys may see of its images: `none`, `thumbnail` or `full`.
        idempotency_key: With a key, the call is repeated after a lost answer.

    Raises:
        ConflictError: The name is taken.
    """
    body = {
        "name": name,
        "kind": kind,
        "license": license,
        "attribution": attribution,
        "originals": originals,
        "image_access": image_access,
    }
    return Call(
        method="POST",
        path="/v1/sources",
        read=read_model(lambda: answers.Source),
        body=body,
        idempotency_key=idempotency_key,
        is_repeatable=idempotency_key is not None,
    )


def set_image_access(source: Id, image_access: str) -> Call[answers.Source]:
    """Set what API keys may see of the images of a source: `none`, `thumbnail` or `full`."""
    return Call(
        method="PATCH",
        path=f"/v1/sources/{to_path_segment(source)}",
        read=read_model(lambda: answers.Source),
        body={"image_access": image_access},
        is_repeatable=True,
    )


def erase_source(name_or_id: Id) -> Call[int]:
    """Erase a source with its images; return the number of images."""
    path = f"/v1/sources/{to_path_segment(name_or_id)}"
    return Call(method="DELETE", path=path, read=read_field("images"))


# --- images ----------------------------------------------------------------------------------


def images(**filters: Any) -> Call[Page[answers.Image]]:
    """List images by file name and id.

    Args:
        filters: `source`, `source_kind`, `creator`, `sequence`, `camera` and `state` (one or a
            list), `attribute` (`NAME=VALUE`, one or a list), `file_name` (`*` matches any text, `?`
            one character), `id_prefix`, `cell` (ids of H3 cells); `lat`, `lon`, `radius_m`, `bbox`,
            `polygon` and `datetime` as in `locate`; `limit` (images of a page), `cursor`.
    """
    return list_call("/v1/images", lambda: answers.Image, "images", to_form(filters))


def image(image_id: Id) -> Call[answers.Image]:
    """Return one image."""
    path = f"/v1/images/{to_path_segment(image_id)}"
    return Call(method="GET", path=path, read=read_model(lambda: answers.Image), is_repeatable=True)


def update(image_id: Id, **fields: Any) -> Call[answers.Image]:
    """Update an image manually.

    Args:
        image_id: The image.
        fields: `lat` and `lon`, `captured_at`, `heading_deg`, `creator`, `sequence`, `license`;
            `clear` is a list of fields (`position`, `captured_at`, …) whose manual value is
            removed.
    """
    path = f"/v1/images/{to_path_segment(image_id)}"
    return Call(
        method="PATCH", path=path, read=read_model(lambda: answers.Image), body=to_json(fields)
    )


def update_images(rows: Sequence[Mapping[str, Any]]) -> Call[answers.ImageMetadata]:
    """Update many images manually; see `POST /v1/images/metadata`."""
    body = {"rows": to_json(list(rows))}
    return Call(
        method="POST",
        path="/v1/images/metadata",
        read=read_model(lambda: answers.ImageMetadata),
        body=body,
    )


def delete(image_id: Id) -> Call[None]:
    """Delete an image."""
    path = f"/v1/images/{to_path_segment(image_id)}"
    return Call(method="DELETE", path=path, read=read_nothing)


def thumbnail(image_id: Id) -> Call[bytes]:
    """Return a small JPEG of an image."""
    path = f"/v1/images/{to_path_segment(image_id)}/thumbnail"
    return Call(method="GET", path=path, read=read_bytes, accept="*/*", is_repeatable=True)


def image_file(image_id: Id, *, width: int | None = None, panorama: bool = False) -> Call[bytes]:
    """Return an image as a JPEG without metadata.

    Args:
        image_id: The image.
        width: Maximum width in pixels; None for the full size. An image is never enlarged.
        panorama: Whether to return the panorama that a face was cut from.

    Raises:
        NotFoundError: There is no such image, or its file is not stored or is missing.
        ConflictError: The file was modified since it was indexed, or cannot be decoded.
    """
    return Call(
        method="GET",
        path=f"/v1/images/{to_path_segment(image_id)}/file",
        read=read_bytes,
        query={"width": width, "panorama": "true" if panorama else None},
        accept="*/*",
        is_repeatable=True,
    )


# --- health ----------------------------------------------------------------------------------


def ready() -> Call[answers.Ready]:
    """Return the state of each component.

    Raises:
        UnavailableError: A component does not answer.
    """
    return Call(method="GET", path="/health/ready", read=read_model(lambda: answers.Ready))
