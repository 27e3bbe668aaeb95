"""The option `--crop` of queries with a photo."""

from __future__ import annotations

from typing import Annotated

import typer

from pinpoint.errors import BadRequestError
from pinpoint.records import Crop

CropOption = Annotated[
    list[str],
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Region of the photo that is the query, in pixels of the upright image; "
        "with several photos, once for each.",
    ),
]


def read_crops(texts: list[str], num_photos: int) -> list[str]:
    """Check the values of the option.

    Args:
        texts: Values of the option, in the order of the photos.
        num_photos: Number of photos.

    Raises:
        BadRequestError: A value is not a crop, or there is not one for each photo.
    """
    if texts and len(texts) != num_photos:
        raise BadRequestError(
            f"--crop was given {len(texts)} times for {num_photos} photos; give none, or one for "
            "each photo"
        )
    for text in texts:
        try:
            Crop.parse(text)
        except ValueError as error:
            raise BadRequestError(f"--crop {text!r}: {error}") from error
    return texts
