"""What a reranker's training run is asked to do: one TOML file, checked before anything is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, field_validator, model_validator

from pinpoint.nets.contract import DESCRIPTOR_NAME
from pinpoint.nets.specs import RerankerSpec
from pinpoint.records import KINDS, SourceKind
from pinpoint.settings import SearchSettings
from pinpoint.training.configs import (
    STRICT,
    Count,
    Positive,
    ScheduleConfig,
    Share,
    SplitConfig,
    read_toml,
)


def _known(kind: SourceKind) -> SourceKind:
    if kind not in KINDS:
        raise ValueError(f"no source kind {kind}; there are {', '.join(KINDS)}")
    return kind


class QuestionsConfig(BaseModel):
    """Labelled pictures that the gallery is asked about; rows of the gallery itself may be.

    A picture's own row, its author's and its sequence's rows, and near-duplicates never help with
    its question, so a gallery can be asked about its own pictures: leave one out.
    """

    model_config = STRICT

    labels: Path
    """As `pinpoint evaluate` takes them; a relative path starts at the config's folder."""
    images: Path
    """The folder that the labels' files are relative to."""
    protocol: str = "custom"
    """As of `pinpoint evaluate`."""
    only: dict[str, str] = Field(default_factory=dict)
    """Ask only rows that have these values, as `{ role = "rerank" }`."""
    kind: SourceKind | None = None
    """Of the pictures, where the labels do not say it."""

    @field_validator("kind")
    @classmethod
    def _kind_known(cls, kind: SourceKind | None) -> SourceKind | None:
        return None if kind is None else _known(kind)


class RerankerSplit(SplitConfig):
    """How training and validation are kept apart: wider, for both sides ask the same gallery."""

    buffer_m: Positive = 50_000.0
    """No validation question stands nearer to a training question. Half of it, 25 km at most, is
    how far around validation questions the gallery is hidden from training: places that are never
    right in training would be learned as wrong."""
    resolution: Annotated[int, Field(ge=0, le=9)] = 3


class GalleryConfig(BaseModel):
    """What is searched, and how far."""

    model_config = STRICT

    kinds: tuple[SourceKind, ...] = ()
    sources: tuple[str, ...] = ()
    """By name; none means all."""
    candidates: Annotated[int, Field(ge=2, le=512)] = 48
    """As many as in serving are shown. More is kept: see `searched`."""
    evidence_radius_m: Annotated[float, Field(gt=0.0, le=100_000.0)] = 10_000.0
    """Evidence is the nearest there is, so in dense places it stands within metres; this is how far
    it may be sought in sparse ones. The bundle keeps it for serving."""
    evidence_per_kind: Annotated[int, Field(ge=0, le=64)] = 8

    @field_validator("kinds")
    @classmethod
    def _kinds_known(cls, kinds: tuple[SourceKind, ...]) -> tuple[SourceKind, ...]:
        return tuple(_known(kind) for kind in kinds)

    def searched(self, serving: SearchSettings) -> SearchSettings:
        """Settings that keep all that serving would bring before it gives seats.

        What is dropped in training leaves seats, and who comes next then takes them.
        """
        many = self.candidates * serving.overfetch
        return serving.model_copy(update={"candidates": many, "overfetch": 1})


class TargetConfig(BaseModel):
    """What the right answer is worth, and what an answer nearby."""

    model_config = STRICT

    scales: Annotated[dict[float, Positive], Field(min_length=1)] = Field(
        default_factory=lambda: {1.0: 0.5, 25.0: 0.35, 200.0: 0.15}
    )
    """Weight by scale in km: a candidate d km from the truth weighs the sum of
    `weight * exp(-d / scale)`. They are the radii that answers are judged by. Half of the weight is
    for the right street, so that among candidates of the right town the nearest still wins; the
    share of 200 km is small, or many candidates of the right region would outweigh it."""
    null_weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Of "none of these": small against the right place (1), large against candidates that are all
    thousands of km away (below 0.001 each), about as large as one candidate at 220 km."""
    null_weight_unsupported: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    """The same where the gallery has nothing within 25 km of the truth: as much as the right place,
    for then it is the right answer, however many candidates stand in the same region."""
    refinement: Share = 0.1
    """How much the Huber loss of the refined places counts; km, of candidates within 25 km."""


class DropConfig(BaseModel):
    """Shares of questions from which something is taken, so that galleries may differ."""

    model_config = STRICT

    evidence: Share = 0.15
    """All evidence."""
    photo: Share = 0.1
    """Of the evidence photos, one by one."""
    channel: Share = 0.15
    """The channel `gps`: its candidates and its vectors."""
    kind: Share = 0.15
    """A whole kind, of candidates and of evidence."""
    region: Share = 0.4
    """All of the gallery near the truth, or near a candidate far from it. Often: of places without
    a gallery there are few other examples, and a fifth of all questions should be such."""
    region_km: Annotated[float, Field(ge=25.0, le=5_000.0)] = 50.0
    """How near; at least 25, so that nothing is left that supports the truth."""


class RerankerNetwork(BaseModel):
    """As `nets.specs.RerankerSpec`, without the width of the vectors, which the bundle gives."""

    model_config = STRICT

    width: Annotated[int, Field(ge=8, le=256)] = 128
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    evidence_blocks: Annotated[int, Field(ge=1, le=2)] = 1
    candidate_blocks: Annotated[int, Field(ge=0, le=5)] = 3
    vectors: bool = False
    reach_km: Annotated[float, Field(gt=0.0, le=25.0)] = 5.0

    def spec(self, dim: int) -> RerankerSpec:
        """The shape of the network for vectors of a width."""
        return RerankerSpec(dim=dim, **self.model_dump())


class RerankerSchedule(ScheduleConfig):
    """How long, how fast; questions are fewer than pictures, and each is many candidates."""

    steps: Count = 3_000
    batch: Annotated[int, Field(ge=4, le=4_096)] = 32
    rate: Positive = 5e-4
    warm_steps: Annotated[int, Field(ge=0)] = 100


class RerankerConfig(BaseModel):
    """All of a reranker's training run; the space is that of the index's bundle."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """Of the bundle that comes out: the index's own, and the reranker."""
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    """Of the weights that come out."""
    questions: Annotated[tuple[QuestionsConfig, ...], Field(min_length=1)]
    gallery: GalleryConfig = GalleryConfig()
    split: RerankerSplit = RerankerSplit()
    network: RerankerNetwork = RerankerNetwork()
    targets: TargetConfig = TargetConfig()
    drops: DropConfig = DropConfig()
    schedule: RerankerSchedule = RerankerSchedule()

    @model_validator(mode="after")
    def _usable(self) -> RerankerConfig:
        if self.name == DESCRIPTOR_NAME:
            raise ValueError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
        self.network.spec(1)
        return self

    def digest(self) -> str:
        """Names the run: 16 hex digits over all of it but where its files lie."""
        plain = self.model_dump_json(exclude={"questions": {"__all__": {"labels", "images"}}})
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def read_reranker_config(path: Path) -> RerankerConfig:
    """Read a run's TOML.

    Raises:
        BadRequest: It cannot be read, is no TOML, or a field is unknown, missing or out of range.
    """
    config = read_toml(path, RerankerConfig)
    placed = tuple(
        one.model_copy(
            update={"labels": path.parent / one.labels, "images": path.parent / one.images}
        )
        for one in config.questions
    )
    return config.model_copy(update={"questions": placed})
