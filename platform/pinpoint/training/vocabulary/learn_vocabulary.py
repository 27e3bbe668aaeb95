"""Learn a vocabulary from pixels, without a stack and without positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from pinpoint.arrays import Floats32
from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.bundle.specs import AggregationSpec, VocabularyNote, VocabularySource
from pinpoint.progress import StageProgressCallback
from pinpoint.records import Pixels
from pinpoint.training.vocabulary.config import (
    UNSTATED_LICENSE,
    VocabularyConfig,
    choose_dimensions,
)
from pinpoint.training.vocabulary.fitting import (
    describe_aggregation,
    fit_projection,
    fit_vocabulary,
    to_torch,
)
from pinpoint.training.vocabulary.patch_features import PatchFeatureSource

_MAX_SAMPLED_FEATURES: Final = 65_536
"""R: more patch features move the centers less than another seed does."""
_FEATURES_PER_IMAGE: Final = range(8, 129)
"""K: fewer waste a forward pass, more are nearly the same patches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedVocabulary:
    """A part of a contract and the tensors of its file, for `write_aggregated_bundle`."""

    spec: AggregationSpec
    tensors: dict[str, torch.Tensor]


def count_samples(images: int) -> int:
    """K: patch features that are sampled from each of N images."""
    per_image = _MAX_SAMPLED_FEATURES // max(images, 1)
    return max(_FEATURES_PER_IMAGE.start, min(per_image, _FEATURES_PER_IMAGE.stop - 1))


def learn_from_pixels(
    load_images: Callable[[], Iterable[Pixels]],
    tower: Bundle,
    config: VocabularyConfig,
    *,
    sources: tuple[VocabularySource, ...],
    device: str = "auto",
    on_progress: StageProgressCallback = lambda stage, completed, total: None,
) -> LearnedVocabulary:
    """Learn centers, and a PCA if the config has one.

    Without positions there is no recall to choose by, so only one vocabulary is learned. Images are
    read twice and never held together; in memory are 65,536 patch features and, for the
    PCA, the vectors.

    Args:
        load_images: Reads the images; each call gives the same images in the same order.
        tower: Bundle of the tower.
        config: Settings.
        sources: Names, counts and licenses of the images, for the contract.
        device: As for the setting PINPOINT_DEVICE.
        on_progress: Called with `features` and `vectors`.

    Raises:
        BadRequestError: There are too few images.
        BadBundleError: The tower cannot be used.
    """
    source = PatchFeatureSource.open(tower, config.layer, device)
    total = sum(entry.count for entry in sources)
    per_image = count_samples(total)
    parts = []
    for image in load_images():
        parts.append(source.sample([image], per_image, config.seed))
        on_progress("features", len(parts), total)
    if not parts:
        raise BadRequestError("a vocabulary needs at least one image")
    features = np.concatenate(parts).reshape(-1, source.channels).astype(np.float32)
    tensors = fit_vocabulary(features, config)
    if config.has_pca:
        aggregation = source.open_aggregation(tensors, config)
        dimensions = choose_dimensions(len(parts), aggregation.spec.dim, config.dimensions)
        vectors: list[Floats32] = []
        for image in load_images():
            vectors.append(source.aggregate([image], [aggregation]))
            on_progress("vectors", len(vectors), total)
        tensors |= fit_projection(
            np.concatenate(vectors),
            dimensions,
            config.seed,
            allow_fewer=config.dimensions is None,
        )
    return finish_vocabulary(tensors, config, source.channels, sources)


def finish_vocabulary(
    tensors: dict[str, Floats32],
    config: VocabularyConfig,
    channels: int,
    sources: tuple[VocabularySource, ...],
    metrics: dict[str, float] | None = None,
) -> LearnedVocabulary:
    """Learned tensors with their part of the contract."""
    licenses = dict.fromkeys(
        "a license that is not stated" if source.license == UNSTATED_LICENSE else source.license
        for source in sources
    )
    spec = describe_aggregation(
        tensors,
        config,
        feature_dim=channels,
        license=f"numbers computed from images under {' + '.join(licenses)}"[:200],
        note=VocabularyNote(sources=sources, seed=config.seed, metrics=metrics or {}),
    )
    return LearnedVocabulary(spec=spec, tensors=to_torch(tensors))
