"""Pictures and collections: what the Panoramax API calls the images of `layer_images`.

A *picture* is an image, or all faces of one panorama (`is_panorama`). Its id is the id of its first
face: the front face if it is visible, else the first by name. If the panorama is not kept, each of
its faces is a picture.

A *collection* is a sequence of a source. The images of a source without a sequence form one
collection per day (UTC) of capture, and one more without a capture time. Its id is the column
`collection_id`, which the database computes from these values (`store.db.columns.COLLECTION_ID`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnCollection, ColumnElement, or_, select

from pinpoint.store.db.views import layer_images

_Columns = ColumnCollection[str, Any]


def is_picture(columns: _Columns) -> ColumnElement[bool]:
    """Whether an image is a picture or the first face of one.

    Args:
        columns: Columns of `layer_images` or of an alias of it, with the rows to test.
    """
    face = layer_images.alias("face")
    first_face = (
        select(face.c.id)
        .where(
            # All faces come from one file; the index of both columns contains them.
            face.c.source_id == columns.source_id,
            face.c.external_id == columns.external_id,
        )
        .order_by(*_face_order(face.c))
        .limit(1)
        .scalar_subquery()
    )
    return or_(~columns.is_panorama, columns.id == first_face)


def _face_order(columns: _Columns) -> list[ColumnElement[Any]]:
    """Order of the faces of one panorama."""
    return [
        (columns.cubemap_face == "front").desc().nulls_last(),
        columns.cubemap_face.collate("C"),
        columns.id,
    ]


def capture_order(columns: _Columns) -> list[ColumnElement[Any]]:
    """Order of the pictures of one collection: by capture time, then by file name."""
    return [
        columns.captured_at.asc().nulls_last(),
        columns.external_id.collate("C"),
        columns.id,
    ]
