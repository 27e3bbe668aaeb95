"""Draws the two images of the documentation from the demo: its map, and one answer with citations.

Run `pinpoint demo` first, then `python docs/hooks/draw_images.py .pinpoint-demo demo-out`.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from PIL import Image

from pinpoint import connect
from pinpoint_client.answers import Citation

IMAGES = Path(__file__).resolve().parents[1] / "images"
QUERY = "demo/*/queries/images/*/us-avon*/query-street-00-0.jpg"
COLUMNS = 6


def draw_answer(home: Path, target: Path) -> None:
    """Draw the query photo and the first cited images of both source kinds.

    Args:
        home: Home of a running demo.
        target: PNG file.
    """
    os.environ["PINPOINT_HOME"] = str(home)
    query = next(home.glob(QUERY))
    with connect() as client:
        answer = client.locate(query)
        cited = [image for images in answer.citations.values() for image in images[:5]]
        pixels = [
            Image.open(io.BytesIO(client.thumbnail(image.image_id))).convert("RGB")
            for image in cited
        ]
    figure, axes = plt.subplots(2, COLUMNS, figsize=(11.5, 5.0))
    for axis in axes.flat:
        axis.axis("off")
    point = answer.point
    position = "none" if point is None else f"{point.lat:.3f}, {point.lon:.3f}"
    _show(
        axes[0][0],
        Image.open(query),
        f"query photo\nanswer {position}",
    )
    for row, kind in enumerate(answer.citations):
        of_kind = [
            (c, p) for c, p in zip(cited, pixels, strict=True) if c in answer.citations[kind]
        ]
        for axis, (citation, image) in zip(axes[row][1:], of_kind, strict=False):
            _show(axis, image, _describe(kind, citation))
    figure.text(
        0.01, 0.02, "Synthetic planet, not the Earth. Cities: GeoNames (CC BY 4.0).", fontsize=8
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(target, dpi=110)


def _describe(kind: str, citation: Citation) -> str:
    place = citation.nearest_place.name
    return f"{kind}, {citation.role}\n{place}, {citation.distance_m / 1_000:.1f} km"


def _show(axis: Any, image: Image.Image, title: str) -> None:
    axis.imshow(image, interpolation="nearest")
    axis.set_title(title, fontsize=8)


def shrink(path: Path) -> None:
    """Reduce a PNG to 128 colors."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(128)
    small.save(path, optimize=True)


if __name__ == "__main__":
    home, out = Path(sys.argv[1]), Path(sys.argv[2])
    IMAGES.mkdir(exist_ok=True)
    draw_answer(home, IMAGES / "answer.png")
    (IMAGES / "demo-map.png").write_bytes((out / "map.png").read_bytes())
    for name in ("answer.png", "demo-map.png"):
        shrink(IMAGES / name)
