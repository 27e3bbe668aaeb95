"""Fit centers and PCAs with scikit-learn; the same numbers give the same bytes.

Letters: R patch features, N images, C channels, L channels after the local PCA, M centers, A width
of the aggregated vector, D dimensions after the PCA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.aggregated_bundles import unwritten_weights
from pinpoint.nets.bundle.specs import AggregationSpec, VocabularyNote
from pinpoint.training.vocabulary.config import VocabularyConfig

_MAX_ITERATIONS: Final = 100
_FULL_PCA_SIDE: Final = 1_500
"""Up to this side the decomposition is exact; a larger one takes minutes and most of it is unused,
so it is approximated (Halko et al., "Finding structure with randomness", 2011)."""
_MIN_VARIANCE: Final = 1e-6
"""Share of the largest variance below which a component is noise of the arithmetic."""


def fit_vocabulary(features: Floats32, config: VocabularyConfig) -> dict[str, Floats32]:
    """Local PCA, if there is one, and centers by k-means.

    Args:
        features: Patch features at unit length, `[R, C]`.
        config: Settings.

    Returns:
        `local_mean [C]` and `local_components [L, C]` if L is set, and `centers [M, L or C]`.

    Raises:
        BadRequestError: There are fewer features than centers or than channels L.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    needed = max(config.num_centers, config.local_dim or 1)
    if len(features) < needed or (config.local_dim or 1) > features.shape[1]:
        raise BadRequestError(
            f"{len(features)} patch features of {features.shape[1]} channels are not enough for "
            f"{config.num_centers} centers and {config.local_dim or 'no'} local dimensions"
        )
    tensors: dict[str, Floats32] = {}
    # Threads add their sums in any order, which changes the last bits and then the assignments.
    with threadpool_limits(limits=1):
        if config.local_dim is not None:
            local = PCA(config.local_dim, svd_solver="covariance_eigh").fit(features)
            tensors["local_mean"] = local.mean_.astype(np.float32)
            tensors["local_components"] = local.components_.astype(np.float32)
            features = local.transform(features).astype(np.float32)
        centers = KMeans(
            config.num_centers, n_init=1, max_iter=_MAX_ITERATIONS, random_state=config.seed
        ).fit(features)
    tensors["centers"] = centers.cluster_centers_.astype(np.float32)
    return tensors


def fit_projection(
    vectors: Floats32, dimensions: int, seed: int, *, allow_fewer: bool = False
) -> dict[str, Floats32]:
    """PCA of aggregated vectors.

    Args:
        vectors: `[N, A]` at unit length.
        dimensions: D, below N and at most A.
        seed: Of the approximation.
        allow_fewer: Whether D becomes smaller if the vectors span fewer dimensions, because images
            are copies.

    Returns:
        `mean [A]`, `components [D, A]` and `variances [D]`.

    Raises:
        BadRequestError: The vectors span fewer dimensions, or none.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    is_small = min(vectors.shape) <= _FULL_PCA_SIDE
    with threadpool_limits(limits=1):
        pca = PCA(dimensions, svd_solver="full" if is_small else "randomized", random_state=seed)
        pca.fit(vectors)
    variances = pca.explained_variance_
    spanned = int((variances > _MIN_VARIANCE * variances[0]).sum())
    if not variances[0] > 0 or (spanned < dimensions and not allow_fewer):
        raise BadRequestError(
            f"the {len(vectors)} images span only {spanned} dimensions, not {dimensions}, because "
            f"some of them are copies; state --dimensions {max(spanned, 1)} or fewer"
        )
    return {
        "mean": pca.mean_.astype(np.float32),
        "components": pca.components_[:spanned].astype(np.float32),
        "variances": variances[:spanned].astype(np.float32),
    }


def describe_aggregation(
    tensors: Mapping[str, Floats32],
    config: VocabularyConfig,
    *,
    feature_dim: int,
    license: str,
    note: VocabularyNote | None = None,
) -> AggregationSpec:
    """The contract's part about learned tensors, `vlad` with or without a PCA.

    Args:
        tensors: From `fit_vocabulary` and `fit_projection`.
        config: Settings.
        feature_dim: C.
        license: License of the learned numbers.
        note: Provenance.
    """
    components: NDArray[Any] | None = tensors.get("components")
    num_centers, center_dim = tensors["centers"].shape
    return AggregationSpec(
        kind="vlad",
        layer=config.layer,
        feature_dim=feature_dim,
        local_dim=center_dim if "local_mean" in tensors else None,
        num_centers=num_centers,
        whitening_power=None if components is None else config.whitening_power,
        dim=num_centers * center_dim if components is None else len(components),
        weights=unwritten_weights(license),
        vocabulary=note,
    )


def to_torch(tensors: Mapping[str, Floats32]) -> dict[str, torch.Tensor]:
    """The same numbers for a network or a file."""
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in tensors.items()}
