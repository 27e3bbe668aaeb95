"""The street views of Panoramax as gallery images, with their pixels; tests skip without them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np
from PIL import Image as PillowImage

from pinpoint.records import Image, Pixels, Point
from shared_data import shared_data

_NAMESPACE = UUID("5b0e2f0c-2f0a-4a44-8f57-0d8a3c1f7a11")
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def read_gallery() -> list[Image]:
    """204 faces of 51 panoramas; `uri` is the path of the file."""
    folder = shared_data() / "street" / "panoramax"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return [
            make_image(
                row["file"],
                (float(row["latitude"]), float(row["longitude"])),
                uri=str(folder / row["file"]),
                panorama=row["panorama"],
                sequence=row["sequence"],
            )
            for row in csv.DictReader(file)
        ]


def make_image(
    name: str,
    position: tuple[float, float],
    *,
    uri: str | None = None,
    panorama: str | None = None,
    sequence: str | None = None,
) -> Image:
    """A gallery row; only its name, position and groups matter."""
    return Image(
        id=uuid5(_NAMESPACE, name),
        source_id=_NAMESPACE,
        source="panoramax",
        source_kind="street",
        external_id=f"panoramax/{name}",
        cubemap_face=None,
        panorama_id=panorama,
        point=Point(lat=position[0], lon=position[1]),
        captured_at=None,
        heading_deg=None,
        field_of_view_deg=None,
        altitude_m=None,
        camera=None,
        creator=None,
        sequence=sequence,
        license="Etalab-2.0",
        attribution="Panoramax contributors",
        sha256="",
        format="JPEG",
        width_px=420,
        height_px=420,
        uri=uri,
        state="indexed",
        error_message=None,
        version=1,
        attributes={},
        created_at=_CREATED,
        updated_at=_CREATED,
    )


class FilePixels:
    """`ports.GalleryPixels` over trusted files; a missing file is omitted."""

    def read(self, uri: str, images: Sequence[Image]) -> dict[UUID, Pixels]:
        if not Path(uri).is_file():
            return {}
        pixels = np.asarray(PillowImage.open(uri).convert("RGB"))
        return {image.id: pixels for image in images}
