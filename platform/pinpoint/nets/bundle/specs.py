"""Architecture of aggregation, heads, location tower and reranker, as in contracts and configs.

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


LayerPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,15}$", max_length=200)]
"""Path of a module in a network, such as `blocks.4`."""
ShortText = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PublishedFile:
    """The file that weights were converted from; it is not part of the bundle."""

    file: Annotated[str, Field(min_length=1, max_length=255)]
    """Its name when it was imported."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    source: Annotated[str, Field(min_length=1, max_length=500)]
    """Address or package that publishes it."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WeightsSpec:
    """One safetensors file of the bundle."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    license: ShortText
    converted_from: PublishedFile | None = None
    """Does not affect vectors."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class VocabularySource:
    """Images that a vocabulary was learned from."""

    name: ShortText
    """Source of the catalog, package or folder."""
    count: Annotated[int, Field(ge=1)]
    license: ShortText
    """License of the images."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class VocabularyNote:
    """Provenance of a vocabulary; does not affect vectors."""

    sources: Annotated[tuple[VocabularySource, ...], Field(min_length=1, max_length=1_000)]
    seed: Annotated[int, Field(ge=0)]
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Recall on leave-one-out queries, before and after."""


AggregationKind = Literal["avg", "gem", "cls", "vlad"]
_MAX_AGGREGATED: Final = 1_000_000
"""Greatest width before the PCA: its components of 1,024 dimensions fill 4 GB."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AggregationSpec:
    """How the feature map or the patch tokens of a layer become one vector.

    avg    mean of the patch features
    gem    generalized mean (Radenović et al., "Fine-tuning CNN Image Retrieval with No Human
           Annotation", TPAMI 2019)
    cls    the first prefix token of a Vision Transformer
    vlad   residuals to centers, with hard assignment (Jégou et al., "Aggregating local descriptors
           into a compact image representation", CVPR 2010; Arandjelović et al., "NetVLAD", CVPR
           2016; on frozen features: Keetha et al., "AnyLoc", RA-L 2023)
    """

    kind: AggregationKind
    layer: LayerPath | None = None
    """Module of the tower whose output is aggregated; None: the last feature map or tokens."""
    feature_dim: Width
    """C: channels of the layer."""
    gem_power: Annotated[float, Field(ge=1.0, le=100.0, allow_inf_nan=False)] | None = None
    """Exponent of the generalized mean; only with `gem`."""
    local_dim: Width | None = None
    """L: patch features are reduced to L channels by PCA before `vlad`; None keeps C."""
    num_centers: Annotated[int, Field(ge=1, le=4_096)] | None = None
    """M: centers of the vocabulary; only with `vlad`."""
    whitening_power: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] | None = None
    """Exponent w of the PCA after the aggregation: components are divided by their standard
    deviation to the power of w (0 rotates only, 1 whitens). None: no PCA."""
    dim: Width
    """D: width of the result."""
    weights: WeightsSpec | None = None
    """Vocabulary and PCA; None if there is neither."""
    vocabulary: VocabularyNote | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> AggregationSpec:
        is_vlad = self.kind == "vlad"
        if (self.gem_power is not None) != (self.kind == "gem"):
            raise ValueError("gem_power belongs to the kind `gem`, and only to it")
        if (self.num_centers is not None) != is_vlad:
            raise ValueError("num_centers belongs to the kind `vlad`, and only to it")
        if self.local_dim is not None and not (is_vlad and self.local_dim <= self.feature_dim):
            raise ValueError(
                f"local_dim {self.local_dim} belongs to the kind `vlad` and is at most feature_dim,"
                f" {self.feature_dim}"
            )
        width = aggregated_width(self)
        if width > _MAX_AGGREGATED:
            raise ValueError(f"the aggregation has {width} dimensions, more than 1,000,000")
        if self.dim != width if self.whitening_power is None else self.dim > width:
            raise ValueError(f"dim is {self.dim}, the aggregation has {width} dimensions")
        if (self.weights is not None) != bool(aggregation_shapes(self)):
            raise ValueError("weights are needed for a vocabulary or a PCA, and only for them")
        return self


def aggregated_width(spec: AggregationSpec) -> int:
    """A: width of the aggregated vector before the PCA."""
    return (spec.num_centers or 1) * (spec.local_dim or spec.feature_dim)


def aggregation_shapes(spec: AggregationSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors in the file of an aggregation."""
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.local_dim is not None:
        shapes["local_mean"] = (spec.feature_dim,)
        shapes["local_components"] = (spec.local_dim, spec.feature_dim)
    if spec.num_centers is not None:
        shapes["centers"] = (spec.num_centers, spec.local_dim or spec.feature_dim)
    if spec.whitening_power is not None:
        shapes["mean"] = (aggregated_width(spec),)
        shapes["components"] = (spec.dim, aggregated_width(spec))
        shapes["variances"] = (spec.dim,)
    return shapes


GEOCLIP_FEATURES: Final = 768
"""Input width of GeoCLIP's image head: projected features of CLIP ViT-L/14."""
GEOCLIP_DIM: Final = 512

GeoClipNet = Literal["geoclip"]
"""A published network with a fixed architecture."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class HeadsSpec:
    """One adapter per source kind, then a shared trunk."""

    feature_dim: Width
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
    fourier_scales: Annotated[int, Field(ge=2, le=256)] = 16
    """S: number of wavelengths, in equal ratios from the longest to the shortest."""
    fourier_features_per_scale: Annotated[int, Field(ge=1, le=4096)] = 32
    """M: waves per scale, each with a random direction and wave number."""
    max_wavelength_km: Kilometers = 20_000.0
    """Half of the Earth's circumference: this wave distinguishes hemispheres."""
    min_wavelength_km: Kilometers = 1.0

    @model_validator(mode="after")
    def _check_wavelengths(self) -> LocationSpec:
        if self.min_wavelength_km >= self.max_wavelength_km:
            raise ValueError(
                f"min_wavelength_km, {self.min_wavelength_km:g}, must be below max_wavelength_km, "
                f"{self.max_wavelength_km:g}"
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
    use_embeddings: bool = False
    """Whether tokens include the embeddings themselves, in addition to similarities. A network can
    memorize locations by them: on 466 queries of a small planet they did not improve unseen
    locations, and locations that were never correct in training were always ranked low."""
    max_offset_km: Annotated[float, Field(gt=0.0, le=25.0)] = 5.0
    """Maximum distance between a refined position and its candidate."""

    @model_validator(mode="after")
    def _heads_fit(self) -> RerankerSpec:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divisible by {self.heads} heads")
        return self


def feature_width(spec: HeadsSpec | GeoClipNet) -> int:
    """F: required width of the tower's features."""
    return GEOCLIP_FEATURES if isinstance(spec, str) else spec.feature_dim


def embedding_width(spec: HeadsSpec | LocationSpec | GeoClipNet) -> int:
    """D: width of the joint space."""
    return GEOCLIP_DIM if isinstance(spec, str) else spec.dim
