"""Architecture of heads, location tower and reranker, as in contracts and training configs.

Without torch, so that contracts can be read without importing it (see `bundles`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")

Width = Annotated[int, Field(ge=1, le=65_536)]
BlockCount = Annotated[int, Field(ge=0, le=64)]
SourceKindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""A source kind; also part of the adapter's name in a weights file, so it has no dot."""
Kilometers = Annotated[float, Field(gt=0.0, le=100_000.0, allow_inf_nan=False)]


GEOCLIP_FEATURES: Final = 768
"""Input width of GeoCLIP's image head: projected features of CLIP ViT-L/14."""
GEOCLIP_DIM: Final = 512

GeoClipNet = Literal["geoclip"]
"""A published network with a fixed architecture."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class HeadsSpec:
    """One adapter per source kind, then a shared trunk."""

    features: Width
    """F: width of the tower's features."""
    hidden: Width
    """H: hidden width of adapters and trunk."""
    dim: Width
    """D: width of the joint space."""
    kinds: Annotated[tuple[SourceKindName, ...], Field(min_length=1, max_length=64)] = (
        "photo",
        "street",
    )
    default_kind: SourceKindName = "photo"
    """The kind whose adapter is used for images of an unknown kind or a kind not in `kinds`."""
    adapter_blocks: BlockCount = 1
    """Residual blocks of each adapter."""
    trunk_blocks: BlockCount = 1
    """Residual blocks shared by all kinds."""

    @model_validator(mode="after")
    def _kinds_fit(self) -> HeadsSpec:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds {', '.join(self.kinds)} contain a duplicate")
        if self.default_kind not in self.kinds:
            raise ValueError(
                f"the default kind {self.default_kind!r} is none of {', '.join(self.kinds)}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class LocationSpec:
    """Location tower: positions to the joint space."""

    hidden: Width
    """H: hidden width of the network after the waves."""
    dim: Width
    """D: width of the joint space."""
    blocks: BlockCount = 2
    """Residual blocks after the waves."""
    scales: Annotated[int, Field(ge=2, le=256)] = 16
    """S: number of wavelengths, in equal ratios from the coarsest to the finest."""
    waves: Annotated[int, Field(ge=1, le=4096)] = 32
    """M: waves per scale, each with a random direction and wave number."""
    coarsest_km: Kilometers = 20_000.0
    """Half of the Earth's circumference: this wave distinguishes hemispheres."""
    finest_km: Kilometers = 1.0

    @model_validator(mode="after")
    def _finer_than_coarse(self) -> LocationSpec:
        if self.finest_km >= self.coarsest_km:
            raise ValueError(
                f"the finest wavelength, {self.finest_km:g} km, must be below the coarsest, "
                f"{self.coarsest_km:g} km"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RerankerSpec:
    """Reranker: candidates attend to evidence and to each other; up to 5 million parameters."""

    dim: Width
    """D: width of the bundle's vectors."""
    width: Annotated[int, Field(ge=8, le=256)] = 128
    """H: hidden width."""
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    evidence_blocks: Annotated[int, Field(ge=1, le=2)] = 1
    """Number of attention blocks over evidence."""
    candidate_blocks: Annotated[int, Field(ge=0, le=5)] = 3
    """Number of self-attention blocks over candidates. With 0, candidates depend on each other only
    through standardized features."""
    vectors: bool = False
    """Whether tokens include the embeddings themselves, in addition to similarities. A network can
    memorize locations by them: on 466 queries of a small planet they did not improve unseen
    locations, and locations that were never correct in training were always ranked low."""
    reach_km: Annotated[float, Field(gt=0.0, le=25.0)] = 5.0
    """Maximum distance between a refined position and its candidate."""

    @model_validator(mode="after")
    def _heads_fit(self) -> RerankerSpec:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divisible by {self.heads} heads")
        return self


def feature_width(spec: HeadsSpec | GeoClipNet) -> int:
    """F: required width of the tower's features."""
    return GEOCLIP_FEATURES if isinstance(spec, str) else spec.features


def embedding_width(spec: HeadsSpec | LocationSpec | GeoClipNet) -> int:
    """D: width of the joint space."""
    return GEOCLIP_DIM if isinstance(spec, str) else spec.dim
