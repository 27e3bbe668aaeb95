"""Pages of an organization's images, ordered by file name and id.

Keyset pagination: a page starts after the last row of the previous page, so concurrent inserts and
deletions neither repeat nor hide other rows. The indexes `ix_images_organization_id_file_name` and
`ix_images_source_id_file_name` hold the images in this order: without a filter, and with one that
many images match, a page reads about as many rows as it shows, at any depth. Other filters use
indexes of their own and sort the matches.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select, text, tuple_

from pinpoint.records import ImageFilter, ImagePosition
from pinpoint.store.db.views import visible_images
from pinpoint.store.gallery.image_conditions import image_conditions

_IMAGE_COLUMNS = [column for column in visible_images.c if column.name not in ("geog", "geom")]

PLAN_SETTINGS: Final = text("""
    SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
           set_config('max_parallel_workers_per_gather', '0', true)
""")
"""Settings of the transaction of a page. The best plan depends on the values of the filter, and to
start parallel workers takes longer than to read a page (measured: 80 ms)."""


def select_images(organization_id: UUID) -> Select[Any]:
    """Images that users may see, with name, license and attribution of their source."""
    # The views isolate tenants for the API; the owner (CLI, worker) needs the predicate as well.
    return select(*_IMAGE_COLUMNS).where(visible_images.c.organization_id == organization_id)


def select_image_page(
    organization_id: UUID, image_filter: ImageFilter, *, limit: int, after: ImagePosition | None
) -> Select[Any]:
    """Select the images after a position, in order.

    Args:
        organization_id: Organization of the images.
        image_filter: Filter of the list.
        limit: Maximum number of rows.
        after: Last row of the previous page; None for the first page.
    """
    key = (visible_images.c.file_name, visible_images.c.id)
    statement = select_images(organization_id).where(
        *image_conditions(visible_images.c, image_filter)
    )
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(after.file_name, after.image_id))
    return statement.order_by(*key).limit(limit)
