"""Pictures and collections: what the Panoramax API calls the images of `layer_images`.

A *picture* is an image, or all faces of one panorama. Its id is the id of its first face: the front
face if it is visible, else the first by name. All visible images of a source with one
`panorama_id` are faces of one panorama, also if each face has a file of its own.

A *collection* is a sequence of a source. The images of a source without a sequence form one
collection per day (UTC) of capture, and one more without a capture time. Its id is the column
`collection_id`, which the database computes from these values (`store.db.columns.COLLECTION_ID`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnCollection, ColumnElement, or_, select

from pinpoint.store.db.views import layer_images

Columns = ColumnCollection[str, Any]


def is_picture(columns: Columns) -> ColumnElement[bool]:
    """Whether an image stands for a picture: it has no panorama, or is the first face of its own.

    Args:
        columns: Columns of `layer_images` or of an alias of it, with the rows to test.
    """
    face = layer_images.alias("face")
    first_face = (
        select(face.c.id)
        .where(
            face.c.source_id == columns.source_id,
            face.c.panorama_id == columns.panorama_id,
        )
        .order_by(*face_order(face.c))
        .limit(1)
        .scalar_subquery()
    )
    return or_(columns.panorama_id.is_(None), columns.id == first_face)


def face_order(columns: Columns) -> list[ColumnElement[Any]]:
    """Order of the faces of one panorama; the first one stands for the picture."""
    return [
        (columns.cubemap_face == "front").desc().nulls_last(),
        columns.cubemap_face.collate("C").asc().nulls_first(),
        columns.external_id.collate("C"),
        columns.id,
    ]


def capture_order(columns: Columns) -> list[ColumnElement[Any]]:
    """Order of the pictures of one collection: by capture time, then by file name."""
    return [
        columns.captured_at.asc().nulls_last(),
        columns.external_id.collate("C"),
        columns.id,
    ]
