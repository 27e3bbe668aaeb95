"""What a training run is asked to do: one TOML file, checked before anything is read."""

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

from pinpoint.errors import BadRequest
from pinpoint.nets.contract import DESCRIPTOR_NAME
from pinpoint.records import KINDS, SourceKind

STRICT: Final = ConfigDict(extra="forbid", frozen=True)
_MAX_BYTES: Final = 1_000_000

Config = TypeVar("Config", bound=BaseModel)
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class SourceConfig(BaseModel):
    """A manifest and the kind of its pictures."""

    model_config = STRICT

    manifest: Path
    """As `pinpoint ingest` takes it; a relative path starts at the config's folder."""
    kind: SourceKind

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: SourceKind) -> SourceKind:
        if kind not in KINDS:
            raise ValueError(f"no source kind {kind}; there are {', '.join(KINDS)}")
        return kind


class CatalogueConfig(BaseModel):
    """A source of a running stack; its rows say the kind."""

    model_config = STRICT

    source: Annotated[str, Field(min_length=1)]
    """Name or id."""
    organization: Annotated[str, Field(min_length=1)] | None = None
    """Name or id; None is whoever starts the run."""


def _form(value: object) -> str:
    """Which of the two a source is: what it lacks is then said of that one."""
    named = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return "catalogue" if "source" in named else "manifest"


AnySource = Annotated[
    Annotated[SourceConfig, Tag("manifest")] | Annotated[CatalogueConfig, Tag("catalogue")],
    Discriminator(_form),
]


class SplitConfig(BaseModel):
    """How training and validation are kept apart."""

    model_config = STRICT

    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Of the pictures, that lie in cells chosen for validation; what is left out comes off it."""
    buffer_m: Positive = 1_000.0
    """No validation picture stands nearer to a training picture."""
    resolution: Annotated[int, Field(ge=0, le=9)] = 4


class NetworkConfig(BaseModel):
    """The networks behind the tower."""

    model_config = STRICT

    dim: Annotated[int, Field(ge=8, le=4096)] = 256
    hidden: Annotated[int, Field(ge=8, le=8192)] = 512
    adapter_blocks: Annotated[int, Field(ge=0, le=16)] = 1
    trunk_blocks: Annotated[int, Field(ge=0, le=16)] = 1
    location_blocks: Annotated[int, Field(ge=0, le=16)] = 2
    location_scales: Annotated[int, Field(ge=2, le=64)] = 16
    location_waves: Annotated[int, Field(ge=1, le=1024)] = 32
    finest_km: Annotated[float, Field(ge=0.01, le=1_000.0)] = 1.0
    start: Literal["random", "tower"] = "random"
    """`tower`: vectors begin with the angles of the tower's features, for little data; wants
    `hidden` and `dim` no smaller than these are wide."""
    default_kind: SourceKind | None = None
    """Whose adapter serves a query of no stated kind; else `photo`, where there are photos."""


class TowerConfig(BaseModel):
    """How the tower is trained along; without it the tower is frozen, its features cached."""

    model_config = STRICT

    blocks: Count | Literal["all"] = "all"
    """The last so many blocks, with the norms of the others as they are; or all of it."""
    rate: Positive = 1e-3
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the tower's passes in training; heads and losses stay fp32, as does serving."""
    size_px: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the pictures, for a tower without trained weights; else the bundle says it."""
    mirror: bool = False
    """Half of the pictures are shown mirrored, another half at each step."""
    shift_px: Annotated[int, Field(ge=0, le=256)] = 0
    """Pictures are shown shifted by so much at most, their edges repeated."""
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What the library shapes such a tower by, as `global_pool`."""


class LossConfig(BaseModel):
    """How much each loss counts, and where a neighbour stops being a negative."""

    model_config = STRICT

    place: Share = 1.0
    """Picture against place."""
    cell: Share = 0.0
    """Picture against all occupied cells: what a tower without trained weights learns by."""
    picture: Share = 1.0
    """Picture against picture of the same place: of another kind, or by another author."""
    near_m: Annotated[float, Field(gt=0.0, le=100_000.0)] = 500.0
    """As far apart they may have been taken."""
    first_radius_m: Positive = 200_000.0
    """Soft negatives reach this far at the first step …"""
    last_radius_m: Positive = 5_000.0
    """… and this far from the middle of the run on."""
    extra_places: Annotated[int, Field(ge=0, le=65_536)] = 256
    """Places drawn evenly over occupied cells, as further negatives."""

    @model_validator(mode="after")
    def _something(self) -> LossConfig:
        if not self.place and not self.cell and not self.picture:
            raise ValueError("with all losses at 0 there is nothing to learn")
        return self


class ScheduleConfig(BaseModel):
    """How long, how fast."""

    model_config = STRICT

    steps: Count = 4_000
    batch: Annotated[int, Field(ge=4, le=65_536)] = 256
    rate: Positive = 1e-3
    warm_steps: Annotated[int, Field(ge=0)] = 200
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    clip: Positive = 1.0
    """Largest norm of all gradients together."""
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the moving average of the weights, which is what is kept."""
    checkpoint_steps: Count = 500
    """A run that was broken off goes on from the last multiple."""
    patience: Annotated[int, Field(ge=0)] = 0
    """After so many checkpoints without a better recall on validation the run ends, with the
    weights of the best one; 0 does not look, and goes to the last step."""
    seed: Annotated[int, Field(ge=0)] = 0


class EmbedderConfig(BaseModel):
    """All of an embedder's training run."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """Of the bundle that comes out."""
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    """Of the weights that come out."""
    note: Annotated[str, Field(min_length=1, max_length=1_000)]
    """What they can and cannot do, said in every answer."""
    tower: str
    """A bundle: its name below PINPOINT_HOME/bundles, or a folder. Or a network without trained
    weights, as `timm:NAME` or `open_clip:NAME`, which `train_tower` then trains."""
    train_tower: TowerConfig | None = None
    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    cells: Annotated[int, Field(ge=0, le=9)] = 5
    """H3 resolution at which batches are balanced."""
    split: SplitConfig = SplitConfig()
    networks: NetworkConfig = NetworkConfig()
    losses: LossConfig = LossConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _usable(self) -> EmbedderConfig:
        if self.name == DESCRIPTOR_NAME:
            raise ValueError(f"{DESCRIPTOR_NAME!r} is built in; give the bundle another name")
        if not self.of_catalogue:
            self.check_kinds({one.kind for one in self.sources if isinstance(one, SourceConfig)})
        return self

    @property
    def of_catalogue(self) -> tuple[CatalogueConfig, ...]:
        """Sources that only a running stack can give."""
        return tuple(one for one in self.sources if isinstance(one, CatalogueConfig))

    def check_kinds(self, kinds: Collection[SourceKind]) -> None:
        """Raise `ValueError` unless the default kind is one of these."""
        if self.networks.default_kind not in (None, *kinds):
            known = ", ".join(sorted(kinds))
            raise ValueError(f"the default kind {self.networks.default_kind!r} is none of {known}")

    def of(self, organization: str) -> EmbedderConfig:
        """The same run with every source's organisation said."""
        said = tuple(
            one.model_copy(update={"organization": organization})
            if isinstance(one, CatalogueConfig) and one.organization is None
            else one
            for one in self.sources
        )
        return self.model_copy(update={"sources": said})

    def digest(self) -> str:
        """Names the run: 16 hex digits over all of it but where its files lie."""
        plain = self.model_dump_json(exclude={"sources": {"__all__": {"manifest"}}})
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def read_config(path: Path) -> EmbedderConfig:
    """Read a run's TOML.

    Raises:
        BadRequest: It cannot be read, is no TOML, or a field is unknown, missing or out of range.
    """
    config = read_toml(path, EmbedderConfig)
    placed = tuple(
        one.model_copy(update={"manifest": path.parent / one.manifest})
        if isinstance(one, SourceConfig)
        else one
        for one in config.sources
    )
    return config.model_copy(update={"sources": placed})


def read_toml(path: Path, kind: type[Config]) -> Config:
    """A run's TOML as it stands, paths not yet placed; raises as `read_config`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"the config {path} cannot be read ({error.strerror})") from error
    if len(text) > _MAX_BYTES:
        raise BadRequest(f"the config {path} has {len(text)} bytes; 1,000,000 are allowed")
    try:
        said: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
        return kind.model_validate(said)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"the config {path} is no TOML: {error}") from error
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise BadRequest(f"the config {path} cannot be used: {'; '.join(found[:3])}") from error
