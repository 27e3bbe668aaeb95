"""Learn a vocabulary from the gallery of a running stack, measure it and write its bundle.

rows ─stratify→ sample ─encode→ patch features ─k-means→ centers ─encode→ vectors ─PCA→ bundle

Each stage has a cache in the run's folder, so that an interrupted run decodes no image twice.
Letters: N images of the sample, K patch features per image, C channels, A width of the aggregated
vector, D of the result, E of the current bundle's vector.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.atomic_files import open_atomic
from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.aggregated_bundles import write_aggregated_bundle
from pinpoint.nets.bundle.bundles import Bundle, require_absent
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.runtime import check_renditions
from pinpoint.ports import Decoder, Encoder, TrainingDataReader
from pinpoint.progress import StageProgressCallback
from pinpoint.records import IMAGE_CHANNEL, Pixels, SourceKind
from pinpoint.settings import Settings
from pinpoint.training.core.configs import CatalogSourceConfig
from pinpoint.training.core.samples import Rows, Samples, read_samples
from pinpoint.training.embedder.catalog_snapshot import SNAPSHOT_FILE, read_snapshot, write_snapshot
from pinpoint.training.embedder.features import FeatureEncoder, Features, cache_features
from pinpoint.training.vocabulary.config import VocabularyConfig, choose_dimensions
from pinpoint.training.vocabulary.fitting import fit_projection, fit_vocabulary
from pinpoint.training.vocabulary.learn_vocabulary import (
    LearnedVocabulary,
    count_samples,
    finish_vocabulary,
)
from pinpoint.training.vocabulary.patch_features import PatchFeatureSource
from pinpoint.training.vocabulary.recall import (
    LEAVE_ONE_OUT_DEPTHS,
    LeaveOneOutRecall,
    leave_one_out_recall,
)
from pinpoint.training.vocabulary.sampling import (
    MATCH_RADIUS_M,
    STRATUM_RESOLUTION,
    VocabularySample,
    add_partners,
    number_sources,
    stratified_order,
)

DEFAULT_MAX_IMAGES: Final = 5_000
"""Images of the PCA and of the report."""
VOCABULARY_REPORT_FILE: Final = "report.json"
_MAX_CENTER_IMAGES: Final = 1_024
"""Images of the centers; the number of their patch features is limited anyway."""
_CHUNK_IMAGES: Final = 32
_MAX_PCA_BYTES: Final = 268_435_456
"""Size of the vectors `[N, A]` in fp32 that a PCA reads; it copies them once."""
BUNDLE_NOTE: Final = (
    "Tower {tower} with a vocabulary learned from {count} images, not trained for "
    "geolocation: finds images that look alike; its similarities are not probabilities."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyGallery:
    """The images to learn from."""

    rows: TrainingDataReader
    organization: str
    licenses: Mapping[str, str | None]
    """License of each source to read, by its name."""

    @property
    def sources(self) -> list[CatalogSourceConfig]:
        """The sources, ordered by name."""
        return [
            CatalogSourceConfig(source=name, organization=self.organization)
            for name in sorted(self.licenses)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyResult:
    """A written bundle and the report about it."""

    bundle: Path
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyTrainer:
    """Learns vocabularies.

    Args:
        config: What is learned.
        max_images: Number of sampled images.
        tower: Bundle with the tower, without heads.
        current: Encoder of the index, to compare with.
        decoder: Decodes the images.
        settings: Limits, device and rendition size.
        on_progress: Called with the stages `features` and `vectors`.
    """

    config: VocabularyConfig
    max_images: int
    tower: Bundle
    current: Encoder
    decoder: Decoder
    settings: Settings
    on_progress: StageProgressCallback

    def run(
        self, folder: Path, gallery: VocabularyGallery, *, name: str, into: Path
    ) -> VocabularyResult:
        """Learn a vocabulary and write its bundle.

        Args:
            folder: Folder of the run; an interrupted run is continued.
            gallery: The images.
            name: Name of the bundle.
            into: Folder of the bundle; it must not exist.

        Raises:
            BadRequestError: There are too few usable images, or no source.
            BadBundleError: The tower cannot be used.
            ConflictError: `into` exists, or `folder` holds a run with other settings.
            DatabaseUnavailableError: The stack is down.
        """
        require_absent(into)
        if not gallery.licenses:
            raise BadRequestError("the gallery has no source; ingest images first")
        check_renditions(self.tower.contract, self.settings.media.rendition_px)
        folder.mkdir(parents=True, exist_ok=True)
        sample = self._select_sample(folder, gallery)
        source = PatchFeatureSource.open(
            self.tower, self.config.layer, self.settings.encoder.device
        )
        if self.config.has_pca:  # Fail before the images are read.
            width = self.config.num_centers * (self.config.local_dim or source.channels)
            choose_dimensions(len(sample.rows), width, self.config.dimensions)
        candidates = self._learn_centers(folder, sample.center_samples, source)
        vectors = self._encode_sample(folder, sample.samples, source, candidates)
        best = self._select_vocabulary(vectors, source, candidates)
        recalls = {
            "before": leave_one_out_recall(vectors.samples, vectors.current),
            "after": best.recall,
        }
        used_sources = sample.describe_sources(vectors.usable, gallery.licenses)
        learned = finish_vocabulary(
            best.tensors, self.config, source.channels, used_sources, _contract_metrics(recalls)
        )
        write_aggregated_bundle(
            into,
            name=name,
            tower=self.tower,
            spec=learned.spec,
            tensors=learned.tensors,
            note=BUNDLE_NOTE.format(tower=self.tower.contract.tower, count=len(vectors.usable)),
        )
        report = self._build_report(learned, vectors, recalls, sample.gallery_size)
        with open_atomic(folder / VOCABULARY_REPORT_FILE, durable=True) as file:
            file.write(json.dumps(report, indent=2).encode() + b"\n")
        for cache in folder.glob("features-*"):
            shutil.rmtree(cache)
        return VocabularyResult(bundle=into, report=report)

    def _select_sample(self, folder: Path, gallery: VocabularyGallery) -> VocabularySample:
        """Read the rows of the catalog, once per run, and select some of them."""
        if not (folder / SNAPSHOT_FILE).exists():
            write_snapshot(
                folder,
                gallery.sources,
                gallery.rows,
                self.settings.media.max_bytes,
                allow_empty=True,
            )
        snapshots, _ = read_snapshot(folder, gallery.sources)
        table = read_samples(
            snapshots, self.settings.media, geocell_resolution=STRATUM_RESOLUTION
        ).samples
        numbers, seed = number_sources(table, snapshots), self.config.seed
        order = stratified_order(table, numbers, seed)[: self.max_images]
        return VocabularySample(
            table=table,
            source_names=tuple(snapshot.name for snapshot in snapshots),
            source_numbers=numbers,
            rows=add_partners(table, order, seed),
            center_rows=np.sort(order[:_MAX_CENTER_IMAGES]),
        )

    def _learn_centers(
        self, folder: Path, samples: Samples, source: PatchFeatureSource
    ) -> list[dict[str, Floats32]]:
        """Vocabularies of all restarts, from the same patch features."""
        per_image, seed = count_samples(len(samples)), self.config.seed
        cache = self._cache_rows(
            folder / "features-local",
            samples,
            FeatureEncoder(
                encode=lambda images: source.sample(images, per_image, seed),
                digest=self._cache_digest(per_image),
                width=per_image * source.channels,
            ),
            "features",
        )
        features = cache.values[cache.usable].reshape(-1, source.channels).astype(np.float32)
        return [
            fit_vocabulary(features, replace(self.config, seed=seed + restart))
            for restart in range(self.config.restarts)
        ]

    def _encode_sample(
        self,
        folder: Path,
        samples: Samples,
        source: PatchFeatureSource,
        candidates: Sequence[dict[str, Floats32]],
    ) -> SampleVectors:
        """Vectors before the PCA and vectors of the current bundle, in one pass over the images."""
        aggregations = [source.open_aggregation(tensors, self.config) for tensors in candidates]
        aggregated_width = sum(aggregation.spec.dim for aggregation in aggregations)
        width = aggregated_width + self.current.contract.dims["image"]
        centers = b"".join(tensors["centers"].tobytes() for tensors in candidates)
        centers_sha256 = hashlib.sha256(centers).hexdigest()
        values = np.zeros((len(samples), width), dtype=np.float16)
        usable: list[Rows] = []
        rejected: dict[str, int] = {}
        # The adapter of the current bundle depends on the source kind.
        for kind in sorted(set(samples.kinds.tolist())):
            rows = np.flatnonzero(samples.kinds == kind)

            def encode(images: Sequence[Pixels], kind: SourceKind = kind) -> NDArray[Any]:
                vectors = source.aggregate(images, aggregations)
                return np.concatenate(
                    [vectors, self.current.encode_channels(images, kind)[IMAGE_CHANNEL]], axis=1
                )

            cache = self._cache_rows(
                folder / f"features-{kind}",
                samples.take_rows(rows),
                FeatureEncoder(
                    encode=encode,
                    digest=self._cache_digest(centers_sha256, self.current.contract.digest),
                    width=width,
                ),
                "vectors",
            )
            values[rows] = cache.values
            usable.append(rows[cache.usable])
            for reason, count in cache.rejection_counts.items():
                rejected[reason] = rejected.get(reason, 0) + count
        kept_rows = np.sort(np.concatenate(usable))
        return SampleVectors(
            samples=samples.take_rows(kept_rows),
            usable=kept_rows,
            aggregated=tuple(
                np.split(values[kept_rows, :aggregated_width], len(candidates), axis=1)
            ),
            current=values[kept_rows, aggregated_width:].astype(np.float32),
            rejected=rejected,
        )

    def _cache_rows(
        self, folder: Path, samples: Samples, encoder: FeatureEncoder, stage: str
    ) -> Features:
        return cache_features(
            folder,
            samples,
            decoder=self.decoder,
            encoder=encoder,
            threads=2,
            chunk=_CHUNK_IMAGES,
            on_progress=lambda completed, total: self.on_progress(stage, completed, total),
        )

    def _cache_digest(self, *parts: object) -> str:
        """Identifies what a cache holds."""
        contract_digest = digest(self.tower.contract, self.settings.media.rendition_px)
        text = json.dumps([contract_digest, asdict(self.config), *parts])
        return hashlib.sha256(text.encode()).hexdigest()

    def _select_vocabulary(
        self,
        vectors: SampleVectors,
        source: PatchFeatureSource,
        candidates: Sequence[dict[str, Floats32]],
    ) -> MeasuredVocabulary:
        """The vocabulary with the greatest recall, the first one among equals."""
        measured: list[MeasuredVocabulary] = []
        for tensors, aggregated in zip(candidates, vectors.aggregated, strict=True):
            rows = aggregated.astype(np.float32)
            if self.config.has_pca:
                tensors = {**tensors, **self._fit_pca(rows)}
                rows = source.project(rows, source.open_aggregation(tensors, self.config))
            recall = leave_one_out_recall(vectors.samples, rows)
            measured.append(MeasuredVocabulary(tensors=tensors, recall=recall))
        if not measured[0].recall.queries:
            return measured[0]
        return max(measured, key=lambda entry: tuple(entry.recall.at_depth.values()))

    def _fit_pca(self, vectors: Floats32) -> dict[str, Floats32]:
        limit = max(_MAX_PCA_BYTES // (4 * vectors.shape[1]), 2)
        if len(vectors) > limit:
            vectors = vectors[np.linspace(0, len(vectors) - 1, limit).astype(np.int64)]
        dimensions = choose_dimensions(len(vectors), vectors.shape[1], self.config.dimensions)
        return fit_projection(
            vectors,
            dimensions,
            self.config.seed,
            allow_fewer=self.config.dimensions is None,
        )

    def _build_report(
        self,
        learned: LearnedVocabulary,
        vectors: SampleVectors,
        recalls: Mapping[str, LeaveOneOutRecall],
        gallery_size: int,
    ) -> dict[str, Any]:
        spec = learned.spec
        return {
            "tower": self.tower.contract.name,
            "layer": spec.layer,
            "centers": spec.num_centers,
            "dimensions": spec.dim,
            "whitening_power": spec.whitening_power,
            "gallery": gallery_size,
            "sampled": len(vectors.samples),
            "rejected": vectors.rejected,
            "restarts": self.config.restarts,
            "queries": recalls["after"].queries,
            "radius_m": MATCH_RADIUS_M,
            "current": self.current.contract.name,
            **{
                stage: {f"recall@{k}": _or_none(recall.at_depth[k]) for k in LEAVE_ONE_OUT_DEPTHS}
                for stage, recall in recalls.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleVectors:
    """Vectors of the sampled images that could be read."""

    samples: Samples
    usable: Rows
    """Their rows in the sample."""
    aggregated: tuple[NDArray[np.float16], ...]
    """`[N, A]` of each vocabulary."""
    current: Floats32
    """`[N, E]`."""
    rejected: Mapping[str, int]
    """Number of other images, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredVocabulary:
    """Tensors of one restart and their recall."""

    tensors: dict[str, Floats32]
    recall: LeaveOneOutRecall


def _contract_metrics(recalls: Mapping[str, LeaveOneOutRecall]) -> dict[str, float]:
    """Recall before and after, for the contract; empty without queries."""
    return {
        f"recall@{k} {stage}": recall.at_depth[k]
        for stage, recall in recalls.items()
        for k in LEAVE_ONE_OUT_DEPTHS
        if recall.queries
    }


def _or_none(share: float) -> float | None:
    """A share, or None for NaN, which JSON does not have."""
    return None if np.isnan(share) else share
