"""Manual corrections of many images in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    Uuid,
    and_,
    cast,
    column,
    func,
    or_,
    select,
    tuple_,
    update,
    values,
)

from pinpoint.errors import InvalidRequestError
from pinpoint.records import CorrectionResult, ImageCorrection, Layer, LayerName, limits
from pinpoint.store.catalog.corrections import (
    apply_update,
    check_layers,
    compute_columns,
    mark_changed,
)
from pinpoint.store.catalog.layer_json import layers_of_row
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.tables import images, sources

MAX_CORRECTIONS: Final = 1_000
"""Maximum number of corrections in one transaction."""

_Layers = dict[LayerName, Layer]


def correct_images(
    connection: Connection,
    corrections: Sequence[ImageCorrection],
    own_rows: Callable[[Any], ColumnElement[bool]],
) -> tuple[list[CorrectionResult], list[UUID]]:
    """Apply corrections in their order; a correction that cannot be applied changes nothing.

    An external id names all faces of a panorama. A repeated correction leaves its images as they
    are, with their version.

    Args:
        connection: Connection of the unit of work.
        corrections: At most `MAX_CORRECTIONS`.
        own_rows: Condition on the rows of a table that belong to the organization.

    Returns:
        A result for each correction, and the ids of the changed images.

    Raises:
        InvalidRequestError: There are too many corrections.
    """
    if len(corrections) > MAX_CORRECTIONS:
        raise InvalidRequestError(f"at most {MAX_CORRECTIONS} corrections in one request")
    rows = _lock_images(connection, corrections, own_rows)
    by_external_id: dict[tuple[str, str], list[UUID]] = {}
    for row in rows:
        by_external_id.setdefault((row.source_name, row.external_id), []).append(row.id)
    stored = {row.id: layers_of_row(row) for row in rows}
    current = dict(stored)
    results = []
    for correction in corrections:
        image_ids = _find_targets(correction, stored, by_external_id)
        results.append(_apply_correction(correction, image_ids, current))
    changed = sorted(image_id for image_id in stored if current[image_id] != stored[image_id])
    panoramas = {row.id: row.panorama_id for row in rows}
    _write_columns(
        connection,
        {image_id: compute_columns(current[image_id], panoramas[image_id]) for image_id in changed},
    )
    return results, changed


def _write_columns(connection: Connection, rows: dict[UUID, dict[str, Any]]) -> None:
    """Write the derived columns of images in one statement.

    The triggers that count images of cells run once for each statement, so one statement for each
    image takes 20 times longer.
    """
    if not rows:
        return
    names = list(next(iter(rows.values())))
    corrected = values(
        column("id", Uuid),
        *(column(name, Text if name == "geog" else images.c[name].type) for name in names),
        name="corrected",
    ).data([(image_id, *(row[name] for name in names)) for image_id, row in rows.items()])
    new_values = {
        # A column of VALUES without any value has the type text.
        name: func.ST_GeogFromText(corrected.c.geog)
        if name == "geog"
        else cast(corrected.c[name], images.c[name].type)
        for name in names
    }
    connection.execute(
        update(images).where(images.c.id == corrected.c.id).values(**new_values, **mark_changed())
    )


def _lock_images(
    connection: Connection,
    corrections: Sequence[ImageCorrection],
    own_rows: Callable[[Any], ColumnElement[bool]],
) -> list[Row[Any]]:
    """Rows of all images that the corrections name.

    They are locked in the order of their ids, so that two requests cannot wait for each other.
    """
    ids = [c.image_id for c in corrections if c.image_id is not None]
    names = sorted({(c.source, c.external_id) for c in corrections if c.source and c.external_id})
    named = [is_any_of(images.c.id, ids)]
    if names:
        named.append(tuple_(sources.c.name, images.c.external_id).in_(names))
    return list(
        connection.execute(
            select(
                images,
                sources.c.name.label("source_name"),
                func.ST_X(images.c.geom).label("lon"),
                func.ST_Y(images.c.geom).label("lat"),
            )
            .join(sources, and_(sources.c.id == images.c.source_id, sources.c.erased_at.is_(None)))
            .where(own_rows(images), images.c.state != "deleted", or_(*named))
            .order_by(images.c.id)
            .with_for_update(of=images)
        )
    )


def _find_targets(
    correction: ImageCorrection,
    stored: dict[UUID, _Layers],
    by_external_id: dict[tuple[str, str], list[UUID]],
) -> list[UUID]:
    if correction.image_id is not None:
        return [correction.image_id] if correction.image_id in stored else []
    return by_external_id.get((correction.source or "", correction.external_id or ""), [])


def _apply_correction(
    correction: ImageCorrection, image_ids: list[UUID], current: dict[UUID, _Layers]
) -> CorrectionResult:
    """Change the layers in `current` and return the result; a rejection changes nothing."""
    if not image_ids:
        return _reject_correction("not_found", "there is no image with this id")
    if len(image_ids) > 1 and correction.update.heading_deg is not None:
        return _reject_correction(
            "bad_row",
            f"{len(image_ids)} faces of a panorama have this external id, each with a heading of "
            "its own: give the id of one image",
            image_ids,
        )
    try:
        _check_texts(correction)
        changed = {
            image_id: apply_update(current[image_id], correction.update) for image_id in image_ids
        }
        for layers in changed.values():
            check_layers(layers)
    except InvalidRequestError as error:
        return _reject_correction(error.reason, error.message, image_ids)
    is_changed = any(current[image_id] != changed[image_id] for image_id in image_ids)
    current.update(changed)
    return CorrectionResult(
        status="updated" if is_changed else "unchanged", image_ids=tuple(image_ids)
    )


def _check_texts(correction: ImageCorrection) -> None:
    """Raise `InvalidRequestError` for a text that does not fit its column."""
    for name in ("creator", "sequence", "license"):
        try:
            limits.check_text(name, getattr(correction.update, name))
        except limits.UnstorableError as error:
            raise InvalidRequestError(error.detail, reason=error.reason) from error


def _reject_correction(code: str, message: str, image_ids: Sequence[UUID] = ()) -> CorrectionResult:
    return CorrectionResult(
        status="rejected",
        image_ids=tuple(image_ids),
        error_code=code,
        error_message=message,
    )
