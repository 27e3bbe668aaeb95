"""`/v1/images/metadata`: corrections of many images in one request."""

from __future__ import annotations

from fastapi import APIRouter

from pinpoint.api import problems
from pinpoint.api.dependencies import AppServices, IngestCaller
from pinpoint.api.v1.schemas.image_metadata import ImageMetadataIn, ImageMetadataOut
from pinpoint.records import AuditEntry

router = APIRouter(prefix="/v1/images/metadata", tags=["images"])


@router.post(
    "",
    operation_id="update_images",
    summary="Correct many images",
    responses=problems.problem_responses(400, 401, 403, 422, 503),
)
def update_images(
    caller: IngestCaller, services: AppServices, body: ImageMetadataIn
) -> ImageMetadataOut:
    """Set or clear manual values of up to 1,000 images in one transaction.

    Each row has a status. A repeated request changes nothing: its rows are `unchanged`.
    """
    corrections = [row.correction() for row in body.rows]
    with services.database.write(caller.organization_id) as catalog:
        results = catalog.update_images(corrections)
        num_updated = sum(len(result.image_ids) for result in results if result.status == "updated")
        catalog.log_access(
            AuditEntry(operation="update_images", key_id=caller.key_id, num_rows=num_updated)
        )
    return ImageMetadataOut.of(results)
