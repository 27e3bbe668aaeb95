"""Epipolar geometry or plane that correspondences agree on, and how far its inliers spread."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags
from pinpoint.nets.matching.settings import MatcherSettings
from pinpoint.records import GeometricMatch, LocalFeatures, TransformModel

_MIN_CORRESPONDENCES: Final = 8
"""Fewer points determine no fundamental matrix with a residual."""
_SEED: Final = 0


def estimate_geometry(
    query: LocalFeatures, image: LocalFeatures, pairs: NDArray[np.intp], settings: MatcherSettings
) -> GeometricMatch:
    """Inliers of the fundamental matrix or the homography with the most of them.

    Args:
        query: Features of the query image.
        image: Features of the gallery image.
        pairs: `[M, 2]` correspondences, indices into both, best first.
        settings: Threshold and effort of the robust estimator (USAC with MAGSAC++).
    """
    query_points = query.keypoints[pairs[:, 0]]
    image_points = image.keypoints[pairs[:, 1]]
    reduced = (
        query_points * _reduction(query, settings.longer_side_px),
        image_points * _reduction(image, settings.longer_side_px),
    )
    distinct = _select_distinct(*reduced)
    query_points, image_points = query_points[distinct], image_points[distinct]
    reduced = reduced[0][distinct], reduced[1][distinct]
    model, inliers = _estimate_best(*reduced, settings)
    query_points, image_points = query_points[inliers], image_points[inliers]
    return GeometricMatch(
        inliers=len(query_points),
        spread=min(
            measure_spread(query_points, query, settings.grid_cells),
            measure_spread(image_points, image, settings.grid_cells),
        ),
        model=model,
        query_points=query_points,
        image_points=image_points,
    )


def measure_spread(points: NDArray[np.float32], features: LocalFeatures, grid_cells: int) -> float:
    """Share of the cells of a regular grid over the image that contain a point, 0 to 1.

    Args:
        points: `[I, 2]` in pixels of the image.
        features: Give the size of the image.
        grid_cells: Rows and columns of the grid.
    """
    size = np.array([features.width_px, features.height_px])
    cells = np.clip((points + 0.5) / size * grid_cells, 0, grid_cells - 1).astype(int)
    return len(np.unique(cells, axis=0)) / grid_cells**2


def _reduction(features: LocalFeatures, longer_side_px: int) -> np.float32:
    """Factor from pixels of the image to pixels of the reduced image; at most 1."""
    longer = max(features.width_px, features.height_px)
    return np.float32(min(1.0, longer_side_px / longer))


def _select_distinct(
    query_points: NDArray[np.float32], image_points: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Indices of correspondences whose positions no better one uses, in either image.

    SIFT describes one position once per dominant orientation, which would count twice.
    """
    used: tuple[set[tuple[int, int]], set[tuple[int, int]]] = (set(), set())
    selected = []
    for index, ends in enumerate(zip(query_points, image_points, strict=True)):
        positions = [(round(float(x)), round(float(y))) for x, y in ends]
        if any(position in taken for position, taken in zip(positions, used, strict=True)):
            continue
        for position, taken in zip(positions, used, strict=True):
            taken.add(position)
        selected.append(index)
    return np.array(selected, np.intp)


def _estimate_best(
    query_points: NDArray[np.float32],
    image_points: NDArray[np.float32],
    settings: MatcherSettings,
) -> tuple[TransformModel | None, Flags]:
    """The model with more inliers, and its inliers `[M]`."""
    if len(query_points) < _MIN_CORRESPONDENCES:
        return None, np.zeros(len(query_points), bool)
    points = query_points.astype(np.float64), image_points.astype(np.float64)
    params = _make_params(settings)
    masks: dict[TransformModel, Flags] = {
        "fundamental": _to_flags(cv2.findFundamentalMat(*points, params)[1], len(points[0])),
        "homography": _to_flags(cv2.findHomography(*points, params)[1], len(points[0])),
    }
    best: TransformModel = max(masks, key=lambda model: int(masks[model].sum()))
    return best, masks[best]


def _make_params(settings: MatcherSettings) -> cv2.UsacParams:
    """MAGSAC++ with a fixed seed, in one thread."""
    params = cv2.UsacParams()
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.loMethod = cv2.LOCAL_OPTIM_SIGMA
    params.final_polisher = cv2.MAGSAC
    params.threshold = settings.threshold_px
    params.confidence = settings.confidence
    params.maxIterations = settings.iterations
    params.randomGeneratorState = _SEED
    params.isParallel = False
    return params


def _to_flags(mask: cv2.typing.MatLike | None, count: int) -> Flags:
    """A mask of OpenCV as flags; none if no model was estimated."""
    return np.zeros(count, bool) if mask is None else np.asarray(mask).ravel() != 0
