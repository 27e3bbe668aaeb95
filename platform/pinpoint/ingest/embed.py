"""Embed: encodes images to vectors; an image that cannot be encoded fails alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadBundleError, ConfigurationError, UnavailableError
from pinpoint.ports import Encoder
from pinpoint.records import Embedded, Pixels, Rejected, SourceKind

_log = logs.get_logger(__name__)
_NOT_CAUSED_BY_IMAGES = (UnavailableError, BadBundleError, ConfigurationError)


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """An image that needs a vector."""

    item_id: UUID
    file: str
    image_id: UUID
    sha256: str
    kind: SourceKind
    pixels: Pixels


def embed_images(
    images: Sequence[ToEmbed], encoder: Encoder
) -> tuple[list[Embedded], dict[UUID, Rejected]]:
    """Encode images; returns vectors, and the rejections of items that cannot be encoded."""
    vectors: list[Embedded] = []
    failures: dict[UUID, Rejected] = {}
    for kind in sorted({image.kind for image in images}):
        of_kind = [image for image in images if image.kind == kind]
        try:
            vectors += _encode_batch(of_kind, kind, encoder)
        except _NOT_CAUSED_BY_IMAGES:
            raise
        except Exception as error:  # a tower may raise anything; retry the images one by one
            _log.warning("batch not encoded, trying one by one", error=str(error))
            for image in of_kind:
                try:
                    vectors += _encode_batch([image], kind, encoder)
                except _NOT_CAUSED_BY_IMAGES:
                    raise
                except Exception:
                    _log.exception("image not encoded", image=str(image.image_id))
                    failures[image.item_id] = Rejected(
                        file=image.file,
                        error_stage="embed",
                        error_code="not_encoded",
                        error_message="the network cannot encode the image; the workers' log "
                        "contains the error",
                    )
    return vectors, failures


def _encode_batch(images: Sequence[ToEmbed], kind: SourceKind, encoder: Encoder) -> list[Embedded]:
    # Logged before the work, so that the log includes images of a worker that is killed.
    _log.info("encoding", images=len(images), kind=kind)
    by_channel = encoder.encode_channels([image.pixels for image in images], kind)
    return [
        Embedded(
            image_id=image.image_id,
            sha256=image.sha256,
            vectors={channel: rows[number] for channel, rows in by_channel.items()},
        )
        for number, image in enumerate(images)
    ]
