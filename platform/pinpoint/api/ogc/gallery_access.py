"""Opens the layers of a caller's organization with the time limit for statements of callers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from pinpoint.bootstrap import Services
from pinpoint.ports import GalleryReader
from pinpoint.records import Caller


def open_gallery(services: Services, caller: Caller) -> AbstractContextManager[GalleryReader]:
    """Open a read-only transaction in the caller's organization."""
    timeout_s = services.settings.api.layer_timeout_s
    return services.gallery.read(caller.organization_id, timeout_s=timeout_s)
