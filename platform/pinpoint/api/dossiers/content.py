"""Everything that goes into a dossier, collected before its files are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from pinpoint.api.dossiers.archive import compute_sha256
from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.api.v1.schemas.dossiers import (
    DossierImageOut,
    DossierPhotoOut,
    DossierQueryOut,
    OmissionReason,
)
from pinpoint.media.sniff import HEAD_BYTES, sniff_format
from pinpoint.search.context import QueryPhoto

_PHOTO_SUFFIXES: Final = {
    "avif": ".avif",
    "heic": ".heic",
    "jpeg": ".jpg",
    "png": ".png",
    "tiff": ".tif",
    "webp": ".webp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierImages:
    """JPEG thumbnails and PNG match pictures by image id, and why others are omitted."""

    thumbnails: Mapping[UUID, bytes] = field(default_factory=dict)
    thumbnail_omissions: Mapping[UUID, OmissionReason] = field(default_factory=dict)
    match_pictures: Mapping[UUID, bytes] = field(default_factory=dict)
    match_omissions: Mapping[UUID, OmissionReason] = field(default_factory=dict)

    def list_entries(self) -> list[DossierImageOut]:
        """Describe the files of each image, the most important images first."""
        parts = (
            self.thumbnails,
            self.thumbnail_omissions,
            self.match_pictures,
            self.match_omissions,
        )
        return [
            DossierImageOut(
                image_id=image_id,
                thumbnail=thumbnail_path(image_id) if image_id in self.thumbnails else None,
                thumbnail_omission=self.thumbnail_omissions.get(image_id),
                match_picture=match_path(image_id) if image_id in self.match_pictures else None,
                match_picture_omission=self.match_omissions.get(image_id),
            )
            for image_id in dict.fromkeys(image_id for part in parts for image_id in part)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierContent:
    """What `build_dossier` writes."""

    created_at: datetime
    code_version: str
    answer: AnswerOut
    """With matches and, if the caller may see it, with the explanation; without timings."""
    query: DossierQueryOut
    photos: Sequence[QueryPhoto]
    settings: Mapping[str, float | int | None]
    images: DossierImages


def thumbnail_path(image_id: UUID) -> str:
    """Path of a thumbnail in a dossier."""
    return f"thumbnails/{image_id}.jpg"


def match_path(image_id: UUID) -> str:
    """Path of a match picture in a dossier."""
    return f"matches/{image_id}.png"


def list_photo_entries(
    photos: Sequence[QueryPhoto], *, include_photo: bool
) -> list[DossierPhotoOut]:
    """Describe the query photos; their names keep no folder."""
    return [
        DossierPhotoOut(
            photo=number,
            file_name=_clean_name(photo.file),
            sha256=compute_sha256(photo.data),
            size_bytes=len(photo.data),
            crop=None if photo.crop is None else str(photo.crop),
            path=_photo_path(number, photo.data) if include_photo else None,
        )
        for number, photo in enumerate(photos)
    ]


def _clean_name(name: str) -> str:
    """Last part of a path, as text that UTF-8 can express."""
    text = name.encode("utf-8", errors="replace").decode()
    return text.replace("\\", "/").rpartition("/")[2]


def _photo_path(number: int, data: bytes) -> str:
    kind = sniff_format(data[:HEAD_BYTES])
    return f"photos/{number}{_PHOTO_SUFFIXES.get(kind or '', '.bin')}"
