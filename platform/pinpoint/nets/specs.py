"""The shape of the networks behind a tower, as a contract or a training config writes it.

Without torch: contracts are read where torch would cost seconds (see `bundles`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")

Width = Annotated[int, Field(ge=1, le=65_536)]
Blocks = Annotated[int, Field(ge=0, le=64)]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""A source kind; also the name of its adapter in a weights file, hence no dot."""
Kilometres = Annotated[float, Field(gt=0.0, le=100_000.0, allow_inf_nan=False)]


GEOCLIP_FEATURES: Final = 768
"""What GeoCLIP's image head takes: projected features of CLIP ViT-L/14."""
GEOCLIP_DIM: Final = 512

GeoClipNet = Literal["geoclip"]
"""A published network, whose shape is known by its name."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class HeadsSpec:
    """An adapter per source kind, then one trunk for all."""

    features: Width
    """F: what the tower gives."""
    hidden: Width
    """H: inside adapters and trunk."""
    dim: Width
    """D: of the shared space."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=64)] = ("photo", "street")
    default_kind: Kind = "photo"
    """Whose adapter serves pictures of no stated kind, or of one that is not in `kinds`."""
    adapter_blocks: Blocks = 1
    """Residual blocks of each adapter."""
    trunk_blocks: Blocks = 1
    """Residual blocks that all kinds share."""

    @model_validator(mode="after")
    def _kinds_fit(self) -> HeadsSpec:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds {', '.join(self.kinds)} name one of them twice")
        if self.default_kind not in self.kinds:
            raise ValueError(
                f"the default kind {self.default_kind!r} is none of {', '.join(self.kinds)}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class LocationSpec:
    """From a position to the shared space."""

    hidden: Width
    """H: inside the network behind the waves."""
    dim: Width
    """D: of the shared space."""
    blocks: Blocks = 2
    """Residual blocks behind the waves."""
    scales: Annotated[int, Field(ge=2, le=256)] = 16
    """S: wavelengths, in equal ratios from the coarsest to the finest."""
    waves: Annotated[int, Field(ge=1, le=4096)] = 32
    """M: waves per scale, each with a direction and a pitch of its own."""
    coarsest_km: Kilometres = 20_000.0
    """Half the way round the Earth: this wave tells hemispheres apart."""
    finest_km: Kilometres = 1.0

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
    """Candidates that look at their evidence and at each other; at most 5 million parameters."""

    dim: Width
    """D: of the vectors, which are those of the bundle."""
    width: Annotated[int, Field(ge=8, le=256)] = 128
    """H: inside."""
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    evidence_blocks: Annotated[int, Field(ge=1, le=2)] = 1
    """Times that a candidate looks at its evidence."""
    candidate_blocks: Annotated[int, Field(ge=0, le=5)] = 3
    """Times that candidates look at each other. With 0 each is judged by itself: of the others it
    knows how it stands out among them, and no more."""
    vectors: bool = False
    """Whether tokens hold the vectors themselves, besides how alike they are. By them a network
    knows places again: on 466 questions of a small planet they brought nothing to unseen places,
    and places that were never right in training were avoided ever after."""
    reach_km: Annotated[float, Field(gt=0.0, le=25.0)] = 5.0
    """A refined place is nearer than this to its candidate."""

    @model_validator(mode="after")
    def _heads_fit(self) -> RerankerSpec:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be shared by {self.heads} heads")
        return self


def features_of(spec: HeadsSpec | GeoClipNet) -> int:
    """F: how wide the tower's features have to be."""
    return GEOCLIP_FEATURES if isinstance(spec, str) else spec.features


def dim_of(spec: HeadsSpec | LocationSpec | GeoClipNet) -> int:
    """D: how wide the space is."""
    return GEOCLIP_DIM if isinstance(spec, str) else spec.dim
