"""Configuration of a reranker's training run: one TOML file, validated before data is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, field_validator, model_validator

from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME
from pinpoint.nets.bundle.specs import RerankerSpec
from pinpoint.records import SOURCE_KINDS, SourceKind
from pinpoint.settings import SearchSettings
from pinpoint.training.core.configs import (
    STRICT,
    Count,
    Positive,
    ScheduleConfig,
    Share,
    SplitConfig,
    read_toml,
)


def _check_kind(kind: SourceKind) -> SourceKind:
    if kind not in SOURCE_KINDS:
        raise ValueError(f"unknown source kind {kind}; use one of {', '.join(SOURCE_KINDS)}")
    return kind


class QueriesConfig(BaseModel):
    """A set of labeled query photos; they may be rows of the gallery itself.

    The row of a query photo, the rows of its creator and its sequence, and its near-duplicates are
    excluded from its search. A gallery can therefore be queried with its own images
    (leave-one-out).
    """

    model_config = STRICT

    labels: Path
    """Label file as for `pinpoint evaluate`; a relative path is relative to the config's folder."""
    images: Path
    """Folder of the labels' file paths."""
    protocol: str = "custom"
    """Protocol as for `pinpoint evaluate`."""
    filter: dict[str, str] = Field(default_factory=dict)
    """Use only rows with these values, for example `{ role = "rerank" }`."""
    kind: SourceKind | None = None
    """Kind of the query photos whose labels have none."""

    @field_validator("kind")
    @classmethod
    def _check_default_kind(cls, kind: SourceKind | None) -> SourceKind | None:
        return None if kind is None else _check_kind(kind)


class RerankerSplit(SplitConfig):
    """Separation of training and validation; wider, because both search the same gallery."""

    buffer_m: Positive = 50_000.0
    """Minimum distance between a validation query and a training query. Training does not use
    gallery images within half of it (25 km at most) of a validation query. Otherwise the network
    would learn that these images are always wrong."""
    h3_resolution: Annotated[int, Field(ge=0, le=9)] = 3


class GalleryConfig(BaseModel):
    """The gallery that is searched, and the search settings."""

    model_config = STRICT

    source_kinds: tuple[SourceKind, ...] = ()
    sources: tuple[str, ...] = ()
    """Names of sources; an empty list means all."""
    candidates: Annotated[int, Field(ge=2, le=512)] = 48
    """Number of candidates as in serving. Examples store more of them: see `searched`."""
    evidence_radius_m: Annotated[float, Field(gt=0.0, le=100_000.0)] = 10_000.0
    """Evidence consists of the nearest images, which in dense areas are within meters; this is the
    search radius in sparse areas. The bundle stores it for serving."""
    evidence_per_kind: Annotated[int, Field(ge=0, le=64)] = 8

    @field_validator("source_kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[SourceKind, ...]) -> tuple[SourceKind, ...]:
        return tuple(_check_kind(kind) for kind in kinds)

    def search_settings(self, serving: SearchSettings) -> SearchSettings:
        """Settings that keep all candidates that serving retrieves before it assigns slots.

        Training drops candidates; the next ones then take the free slots.
        """
        retrieved = self.candidates * serving.oversampling
        return serving.model_copy(update={"candidates": retrieved, "oversampling": 1})


class TargetConfig(BaseModel):
    """Target weights of the correct candidate, of nearby candidates and of "none of these"."""

    model_config = STRICT

    target_bandwidths_km: Annotated[dict[float, Positive], Field(min_length=1)] = Field(
        default_factory=lambda: {1.0: 0.5, 25.0: 0.35, 200.0: 0.15}
    )
    """Weight by scale in km. The weight of a candidate d km from the ground truth is the sum of
    `weight * exp(-d / scale)`. The scales are the radii of the evaluation. Half of the weight is
    for the correct street, so that the nearest candidate of the correct locality wins. The weight
    of 200 km is small, because many candidates of the correct region would otherwise outweigh
    it."""
    no_match_weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Weight of "none of these". It is small compared with the correct position (1) and large
    compared with candidates thousands of km away (below 0.001 each). It equals about one candidate
    at 220 km."""
    no_match_weight_not_in_gallery: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """The same if the gallery has no image within 25 km of the ground truth. It equals the weight
    of the correct position, because "none of these" is then correct for any number of candidates in
    the same region."""
    refinement_weight: Share = 0.1
    """Weight of the Huber loss (km) of the refined positions of candidates within 25 km."""


class AugmentationConfig(BaseModel):
    """Augmentation: shares of queries with removed data, to suit other galleries."""

    model_config = STRICT

    drop_evidence: Share = 0.15
    """Share of queries without any evidence."""
    drop_evidence_photo: Share = 0.1
    """Share of evidence photos that are removed, each independently."""
    drop_gps_channel: Share = 0.15
    """Share of queries without the channel `gps`: its candidates and its vectors."""
    drop_source_kind: Share = 0.15
    """Share of queries without the candidates and the evidence of one kind."""
    drop_region: Share = 0.4
    """Share of queries without the gallery near the ground truth, or near a candidate far from it.
    It is high, because few other examples lack a gallery, and a fifth of all queries should."""
    drop_region_radius_km: Annotated[float, Field(ge=25.0, le=5_000.0)] = 50.0
    """Radius of the region; at least 25, so that no remaining image supports the ground truth."""


class RerankerNetworkConfig(BaseModel):
    """Fields of `nets.bundle.specs.RerankerSpec` except the vectors' width, set by the bundle."""

    model_config = STRICT

    width: Annotated[int, Field(ge=8, le=256)] = 128
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    evidence_blocks: Annotated[int, Field(ge=1, le=2)] = 1
    candidate_blocks: Annotated[int, Field(ge=0, le=5)] = 3
    use_embeddings: bool = False
    max_offset_km: Annotated[float, Field(gt=0.0, le=25.0)] = 5.0

    def spec(self, dim: int) -> RerankerSpec:
        """Specification of the network for vectors of the given width."""
        return RerankerSpec(dim=dim, **self.model_dump())


class RerankerSchedule(ScheduleConfig):
    """Training schedule; queries are fewer than an embedder's images and have many candidates."""

    steps: Count = 3_000
    batch_size: Annotated[int, Field(ge=4, le=4_096)] = 32
    learning_rate: Positive = 5e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100


class RerankerConfig(BaseModel):
    """Configuration of a reranker's training run; the index's bundle defines the embedding."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """Name of the resulting bundle: the index's bundle with the reranker added."""
    license: Annotated[str, Field(min_length=1, max_length=200)]
    """License of the resulting weights."""
    queries: Annotated[tuple[QueriesConfig, ...], Field(min_length=1)]
    gallery: GalleryConfig = GalleryConfig()
    split: RerankerSplit = RerankerSplit()
    network: RerankerNetworkConfig = RerankerNetworkConfig()
    targets: TargetConfig = TargetConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    schedule: RerankerSchedule = RerankerSchedule()

    @model_validator(mode="after")
    def _check_config(self) -> RerankerConfig:
        if self.name == DESCRIPTOR_NAME:
            raise ValueError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
        self.network.spec(1)
        return self

    def digest(self) -> str:
        """Identity of the run: 16 hex digits over all fields except file paths."""
        text = self.model_dump_json(exclude={"queries": {"__all__": {"labels", "images"}}})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_reranker_config(path: Path) -> RerankerConfig:
    """Read the TOML file of a run.

    Raises:
        BadRequestError: The file is unreadable or invalid TOML, or a field is unknown, missing or
            out of range.
    """
    config = read_toml(path, RerankerConfig)
    resolved = tuple(
        queries.model_copy(
            update={"labels": path.parent / queries.labels, "images": path.parent / queries.images}
        )
        for queries in config.queries
    )
    return config.model_copy(update={"queries": resolved})
