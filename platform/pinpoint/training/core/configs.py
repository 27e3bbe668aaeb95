"""Configuration of an embedder's training run: one TOML file, validated before data is read."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.contract import DESCRIPTOR_NAME
from pinpoint.records import SOURCE_KINDS, SourceKind

STRICT: Final = ConfigDict(extra="forbid", frozen=True)
_MAX_CONFIG_BYTES: Final = 1_000_000

Config = TypeVar("Config", bound=BaseModel)
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class ManifestSourceConfig(BaseModel):
    """A manifest and the kind of its images."""

    model_config = STRICT

    manifest: Path
    """Manifest as for `pinpoint ingest`; a relative path is relative to the config's folder."""
    kind: SourceKind

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: SourceKind) -> SourceKind:
        if kind not in SOURCE_KINDS:
            raise ValueError(f"unknown source kind {kind}; use one of {', '.join(SOURCE_KINDS)}")
        return kind


class CatalogSourceConfig(BaseModel):
    """A source of a running stack; its rows contain the kind."""

    model_config = STRICT

    source: Annotated[str, Field(min_length=1)]
    """Name or id."""
    organization: Annotated[str, Field(min_length=1)] | None = None
    """Name or id; None means the organization that starts the run."""


def _source_type(value: object) -> str:
    """Type of a source; missing fields are then reported for that type."""
    fields = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return "catalog" if "source" in fields else "manifest"


AnySource = Annotated[
    Annotated[ManifestSourceConfig, Tag("manifest")]
    | Annotated[CatalogSourceConfig, Tag("catalog")],
    Discriminator(_source_type),
]


class SplitConfig(BaseModel):
    """Separation of training and validation."""

    model_config = STRICT

    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of the images in validation cells, before images are left out."""
    buffer_m: Positive = 1_000.0
    """Minimum distance between a validation image and a training image."""
    h3_resolution: Annotated[int, Field(ge=0, le=9)] = 4


class NetworkConfig(BaseModel):
    """Heads and location tower."""

    model_config = STRICT

    dim: Annotated[int, Field(ge=8, le=4096)] = 256
    hidden: Annotated[int, Field(ge=8, le=8192)] = 512
    adapter_blocks: Annotated[int, Field(ge=0, le=16)] = 1
    trunk_blocks: Annotated[int, Field(ge=0, le=16)] = 1
    location_blocks: Annotated[int, Field(ge=0, le=16)] = 2
    fourier_scales: Annotated[int, Field(ge=2, le=64)] = 16
    fourier_features_per_scale: Annotated[int, Field(ge=1, le=1024)] = 32
    min_wavelength_km: Annotated[float, Field(ge=0.01, le=1_000.0)] = 1.0
    init: Literal["random", "tower"] = "random"
    """`tower`: initial vectors preserve the angles of the tower's features, for small data sets. It
    requires `hidden` and `dim` of at least the features' width."""
    default_kind: SourceKind | None = None
    """Kind of the adapter for queries without a kind; by default `photo` if there are photos."""
    raw_channel: bool = False
    """Also store and search the tower's own features, as channel `raw`."""


class TowerConfig(BaseModel):
    """Training of the tower; without it the tower is frozen and its features are cached."""

    model_config = STRICT

    trainable_blocks: Count | Literal["all"] = "all"
    """Number of last blocks that are trained, with all other norms frozen; or all blocks."""
    learning_rate: Positive = 1e-3
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the tower's passes in training; heads, losses and serving use fp32."""
    size_px: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the images, for a tower without trained weights; otherwise the bundle defines it."""
    horizontal_flip: bool = False
    """Mirror half of the images, with a new draw at each step."""
    random_crop_shift_px: Annotated[int, Field(ge=0, le=256)] = 0
    """Maximum shift of the images; their edges are repeated."""
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Arguments of the library for such a tower, for example `global_pool`."""


class LossConfig(BaseModel):
    """Weights of the losses, and the radius of soft negatives."""

    model_config = STRICT

    image_gps: Share = 1.0
    """Weight of the loss of images against positions."""
    geocell: Share = 0.0
    """Weight of the loss of images against all occupied cells, for a tower without weights."""
    image_image: Share = 1.0
    """Weight of the loss between images of one position, of another kind or by another creator."""
    positive_radius_m: Annotated[float, Field(gt=0.0, le=100_000.0)] = 500.0
    """Maximum distance of two images of one position."""
    negative_radius_start_m: Positive = 200_000.0
    """Radius of soft negatives at the first step."""
    negative_radius_end_m: Positive = 5_000.0
    """Radius of soft negatives in the second half of the run."""
    num_sampled_negatives: Annotated[int, Field(ge=0, le=65_536)] = 256
    """Number of additional negative positions, drawn uniformly over occupied cells."""

    @model_validator(mode="after")
    def _check_weights(self) -> LossConfig:
        if not self.image_gps and not self.geocell and not self.image_image:
            raise ValueError("at least one loss must have a weight above 0")
        return self


class ScheduleConfig(BaseModel):
    """Training schedule."""

    model_config = STRICT

    steps: Count = 4_000
    batch_size: Annotated[int, Field(ge=4, le=65_536)] = 256
    learning_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    grad_clip_norm: Positive = 1.0
    """Maximum norm of all gradients together."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the moving average of the weights; the bundle contains the average."""
    checkpoint_steps: Count = 500
    """Steps between checkpoints; an interrupted run resumes from the last one."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Number of checkpoints without a better validation score after which the run stops, with the
    weights of the best one; 0 runs to the last step without validation."""
    seed: Annotated[int, Field(ge=0)] = 0


class EmbedderConfig(BaseModel):
    """Configuration of an embedder's training run."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """Name of the resulting bundle."""
    license: Annotated[str, Field(min_length=1, max_length=200)]
    """License of the resulting weights."""
    note: Annotated[str, Field(min_length=1, max_length=1_000)]
    """Capabilities and limits of the weights; part of every answer."""
    tower: str
    """A bundle: its name below PINPOINT_HOME/bundles, or a folder. Alternatively a network without
    trained weights, as `timm:NAME` or `open_clip:NAME`, which `train_tower` then trains."""
    train_tower: TowerConfig | None = None
    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    geocell_resolution: Annotated[int, Field(ge=0, le=9)] = 5
    """H3 resolution of the cells for balanced batches."""
    split: SplitConfig = SplitConfig()
    networks: NetworkConfig = NetworkConfig()
    losses: LossConfig = LossConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _check_config(self) -> EmbedderConfig:
        if self.name == DESCRIPTOR_NAME:
            raise ValueError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
        if not self.catalog_sources:
            self.check_kinds(
                {source.kind for source in self.sources if isinstance(source, ManifestSourceConfig)}
            )
        return self

    @property
    def catalog_sources(self) -> tuple[CatalogSourceConfig, ...]:
        """Sources of the catalog, which need a running stack."""
        return tuple(source for source in self.sources if isinstance(source, CatalogSourceConfig))

    def check_kinds(self, kinds: Collection[SourceKind]) -> None:
        """Raise `ValueError` unless the default kind is None or one of these."""
        if self.networks.default_kind not in (None, *kinds):
            names = ", ".join(sorted(kinds))
            raise ValueError(f"the default kind {self.networks.default_kind!r} is none of {names}")

    def for_organization(self, organization: str) -> EmbedderConfig:
        """The same run with this organization for every catalog source without one."""
        sources = tuple(
            source.model_copy(update={"organization": organization})
            if isinstance(source, CatalogSourceConfig) and source.organization is None
            else source
            for source in self.sources
        )
        return self.model_copy(update={"sources": sources})

    def digest(self) -> str:
        """Identity of the run: 16 hex digits over all fields that training depends on.

        File paths are excluded, and `raw_channel`, which only the resulting bundle depends on.
        """
        text = self.model_dump_json(
            exclude={"sources": {"__all__": {"manifest"}}, "networks": {"raw_channel"}}
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_config(path: Path) -> EmbedderConfig:
    """Read the TOML file of a run.

    Raises:
        BadRequestError: The file is unreadable or invalid TOML, or a field is unknown, missing or
            out of range.
    """
    config = read_toml(path, EmbedderConfig)
    resolved = tuple(
        source.model_copy(update={"manifest": path.parent / source.manifest})
        if isinstance(source, ManifestSourceConfig)
        else source
        for source in config.sources
    )
    return config.model_copy(update={"sources": resolved})


def read_toml(path: Path, kind: type[Config]) -> Config:
    """Read the TOML file of a run, with its paths unresolved; raises as `read_config`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"the config {path} cannot be read ({error.strerror})") from error
    if len(content) > _MAX_CONFIG_BYTES:
        raise BadRequestError(f"the config {path} has {len(content)} bytes; 1,000,000 are allowed")
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
        return kind.model_validate(values)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequestError(f"the config {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise BadRequestError(
            f"the config {path} cannot be used: {'; '.join(problems[:3])}"
        ) from error
