"""Embed: pictures become vectors, and one bad picture costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import BadBundle, Misconfigured, Unavailable
from pinpoint.ports import Encoder
from pinpoint.records import Embedded, Pixels, Rejected, SourceKind

_log = logs.get(__name__)
_NO_FAULT_OF_A_PICTURE = (Unavailable, BadBundle, Misconfigured)


@dataclass(frozen=True, slots=True)
class ToEmbed:
    """A picture that needs a vector."""

    item_id: UUID
    file: str
    image_id: UUID
    sha256: str
    kind: SourceKind
    pixels: Pixels


def embed(
    pictures: Sequence[ToEmbed], encoder: Encoder
) -> tuple[list[Embedded], dict[UUID, Rejected]]:
    """Vectors, and for items with a picture that cannot be encoded the reason."""
    vectors: list[Embedded] = []
    failures: dict[UUID, Rejected] = {}
    for kind in sorted({picture.kind for picture in pictures}):
        chosen = [picture for picture in pictures if picture.kind == kind]
        try:
            vectors += _encode(chosen, kind, encoder)
        except _NO_FAULT_OF_A_PICTURE:
            raise
        except Exception as error:  # a tower may raise anything; the pictures are tried one by one
            _log.warning("batch not encoded, trying one by one", error=str(error))
            for picture in chosen:
                try:
                    vectors += _encode([picture], kind, encoder)
                except _NO_FAULT_OF_A_PICTURE:
                    raise
                except Exception:
                    _log.exception("picture not encoded", image=str(picture.image_id))
                    failures[picture.item_id] = Rejected(
                        file=picture.file,
                        stage="embed",
                        reason="not_encoded",
                        detail="the network cannot encode the picture; the log of the workers "
                        "names the error",
                    )
    return vectors, failures


def _encode(pictures: Sequence[ToEmbed], kind: SourceKind, encoder: Encoder) -> list[Embedded]:
    # Said before the work, so that what a killed worker encoded in vain is counted too.
    _log.info("encoding", images=len(pictures), kind=kind)
    rows = encoder.encode([picture.pixels for picture in pictures], kind)
    return [
        Embedded(image_id=picture.image_id, sha256=picture.sha256, vector=row)
        for picture, row in zip(pictures, rows, strict=True)
    ]
