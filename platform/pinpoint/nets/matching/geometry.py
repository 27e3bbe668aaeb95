"""Epipolar geometry or plane that correspondences agree on, and how far its inliers spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags, Floats
from pinpoint.nets.matching.settings import MatcherSettings
from pinpoint.records import GeometricMatch, LocalFeatures, TransformModel

_MIN_CORRESPONDENCES: Final = 8
"""Fewer points determine no fundamental matrix with a residual."""
_SEED: Final = 0
_NEIGHBORS: Final = 6
"""Neighbors of a point that form triangles with it."""


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
        query_points * _reduction_factor(query, settings.longer_side_px),
        image_points * _reduction_factor(image, settings.longer_side_px),
    )
    distinct = _select_distinct(*reduced)
    query_points, image_points = query_points[distinct], image_points[distinct]
    reduced = reduced[0][distinct], reduced[1][distinct]
    model, inliers = _estimate_best(*reduced, settings)
    query_points, image_points = query_points[inliers], image_points[inliers]
    if measure_orientation(query_points, image_points) < settings.min_orientation:
        # A mirrored image, or correspondences that only happen to fit.
        model, query_points, image_points = None, query_points[:0], image_points[:0]
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


def measure_orientation(
    query_points: NDArray[np.float32], image_points: NDArray[np.float32]
) -> float:
    """Share of the triangles between neighbors that have one orientation in both images, 0 to 1.

    Close to 1 for two views of a scene, close to 0 if one image is mirrored: the epipolar
    constraint alone accepts a mirrored image.

    Args:
        query_points: `[I, 2]`.
        image_points: `[I, 2]`, in the same order; 0 for fewer than three points.
    """
    if len(query_points) < 3:
        return 0.0
    points, others = query_points.astype(np.float64), image_points.astype(np.float64)
    squared = np.square(points[:, None] - points[None, :]).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    neighbors = np.argsort(squared, axis=1, kind="stable")[:, : min(_NEIGHBORS, len(points) - 1)]
    first, second = np.triu_indices(neighbors.shape[1], 1)
    areas = [
        _cross_product(
            side[neighbors[:, first]] - side[:, None], side[neighbors[:, second]] - side[:, None]
        )
        for side in (points, others)
    ]
    return float((areas[0] * areas[1] > 0).mean())


def _cross_product(first: Floats, second: Floats) -> Floats:
    """Twice the signed area of triangles, from two sides `[..., 2]`."""
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0], np.float64)


def _reduction_factor(features: LocalFeatures, longer_side_px: int) -> np.float32:
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
        if any(
            position in used_positions
            for position, used_positions in zip(positions, used, strict=True)
        ):
            continue
        for position, used_positions in zip(positions, used, strict=True):
            used_positions.add(position)
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
        "fundamental": _estimate_inliers(cv2.findFundamentalMat, points, params),
        "homography": _estimate_inliers(cv2.findHomography, points, params),
    }
    best: TransformModel = max(masks, key=lambda model: int(masks[model].sum()))
    return best, masks[best]


def _estimate_inliers(
    estimate: Callable[..., tuple[object, cv2.typing.MatLike | None]],
    points: tuple[Floats, Floats],
    params: cv2.UsacParams,
) -> Flags:
    """Inliers `[M]` of one model; none if no model was estimated."""
    none = np.zeros(len(points[0]), bool)
    try:
        _, mask = estimate(*points, params)
    except cv2.error:
        # OpenCV 5.0 raises an internal assertion for degenerate points (such as all on one line)
        # instead of returning no model.
        return none
    return none if mask is None else np.asarray(mask).ravel() != 0


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
