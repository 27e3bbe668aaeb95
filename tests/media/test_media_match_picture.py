"""The match picture: size, odd shapes, many inliers, texts, and where the lines are."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pinpoint.media.match_picture import MAX_WIDTH_PX, MatchCaption, draw_match_picture
from pinpoint.records import GeometricMatch, Verification

CAPTION = MatchCaption(
    query_name="IMG 4711.jpg",
    image_id="5850ee6b-adcc-5e20-a130-d8416d2332ff",
    image_name="street/front.jpg",
    license="CC-BY-SA-4.0",
    attribution="A. Müller",
)


def _draw(query, image, num_inliers: int = 3, caption: MatchCaption = CAPTION, **result):
    rng = np.random.default_rng(0)
    points = [
        (rng.uniform(size=(num_inliers, 2)) * (pixels.shape[1], pixels.shape[0])).astype(np.float32)
        for pixels in (query, image)
    ]
    match = GeometricMatch(
        inliers=num_inliers,
        spread=0.3,
        model="fundamental",
        query_points=points[0],
        image_points=points[1],
    )
    verification = Verification(
        **{
            "inliers": num_inliers,
            "spread": 0.3,
            "verified": True,
            "false_match_rate": 0.0003,
            "status": "matched",
            **result,
        }
    )
    return draw_match_picture(query, image, match, verification, caption)


def _open(data: bytes) -> np.ndarray:
    picture = Image.open(BytesIO(data))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def _fill(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("query", "image"),
    [
        ((420, 420), (420, 420)),
        ((1, 1), (420, 420)),
        ((300, 400), (1, 900)),
        ((900, 1), (300, 400)),
        ((512, 3_000), (900, 512)),
        ((64, 64), (4_000, 3_000)),
        ((1, 4_000), (4_000, 1)),
    ],
)
def test_picture_of_any_two_shapes_fits(query, image):
    picture = _open(_draw(_fill(*query), _fill(*image)))
    assert picture.shape[1] <= MAX_WIDTH_PX
    assert 100 < picture.shape[0] <= 1_000


@pytest.mark.parametrize("num_inliers", [0, 1, 20, 3_000])
def test_picture_with_any_number_of_inliers_is_reproducible(num_inliers):
    images = _fill(300, 400), _fill(400, 300)
    status = {} if num_inliers else {"verified": False, "status": "no_texture"}
    assert _draw(*images, num_inliers, **status) == _draw(*images, num_inliers, **status)


def test_picture_has_a_line_for_each_inlier():
    pixels = _fill(300, 400)
    without, with_one = (_open(_draw(pixels, pixels, number)) for number in (0, 1))
    body = slice(64, 500)
    changed = (without[body] != with_one[body]).any(axis=2)
    assert changed.any(axis=0).sum() > 200, "the line crosses from one image to the other"
    assert changed.mean() < 0.05


def test_picture_shows_long_and_foreign_texts_in_one_line():
    caption = MatchCaption(
        query_name="п" * 500,
        image_id="0" * 36,
        image_name="x\ny\tz/" + "a" * 5_000,
        license=None,
        attribution=None,
    )
    pixels = _fill(300, 400)
    assert _open(_draw(pixels, pixels, caption=caption)).shape == _open(_draw(pixels, pixels)).shape


def test_picture_of_read_only_views():
    pixels = _fill(300, 400)[::-1, ::-1]
    pixels.flags.writeable = False
    _open(_draw(pixels, pixels))
