"""What API keys may see of the images of a source: nothing, the thumbnail, or the whole file."""

from __future__ import annotations

from typing import Final, Literal

from pinpoint.errors import ForbiddenError
from pinpoint.records import Caller, Image

IMAGE_ACCESS: Final = "image_access"
"""Reason of a refused thumbnail or file."""


def has_image_access(image: Image, caller: Caller, level: Literal["thumbnail", "full"]) -> bool:
    """Whether a caller may see the thumbnail or the whole file of an image; the operator may."""
    allowed = ("full",) if level == "full" else ("thumbnail", "full")
    return caller.key_id is None or image.image_access in allowed


def check_image_access(image: Image, caller: Caller, level: Literal["thumbnail", "full"]) -> None:
    """Check that a caller may see the thumbnail or the whole file of an image.

    Raises:
        ForbiddenError: The source of the image does not permit it.
    """
    if not has_image_access(image, caller, level):
        raise ForbiddenError(
            f"the source of image {image.id} permits API keys `{image.image_access}` of its images",
            reason=IMAGE_ACCESS,
        )
