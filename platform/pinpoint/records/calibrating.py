"""What a calibration says: how a ranker's numbers become probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumFit:
    """One stratum's numbers: questions of one kind, in a sparse or a dense gallery."""

    temperature: float
    """Logits of candidates are divided by it."""
    crowding: float
    """Power of the number of candidates around one by which it counts for more."""
    kernel_shares: tuple[float, ...]
    """How a candidate's mass is shared by the kernels; sums to 1."""
    elsewhere: tuple[float, ...]
    """Log-odds that the photo was taken near none of the candidates: constant, then one
    coefficient for each signal of `geo.posteriors`."""
    elsewhere_shares: tuple[float, ...]
    """How that mass is shared by the wide kernels; sums to 1."""
    region_levels: Mapping[str, float]
    """Mass that the densest region must claim to hold the truth as often as its key says."""
    radius_levels: Mapping[str, float]
    """The same for the disc around the answer."""
    within: Mapping[str, tuple[float, float]]
    """By kilometres what the log-odds of being within them are moved by, and multiplied with."""
    rows: int
    authors: int
    """The levels rest on one photo of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """When an answer is withheld."""

    signal: Literal["unsupported", "elsewhere"]
    """Of which probability."""
    above: float
    unsupported: tuple[float, ...] | None
    """Log-odds that the gallery holds nothing within 25 km, and not that the answer is right, by
    the same signals."""
    right_share: float
    """Of calibration questions whose answer is within 25 km of the truth, how many are withheld."""
    supported_share: float
    """Of calibration questions that the gallery covers, how many are withheld."""
    unsupported_share: float | None
    """Of those it does not cover; None where none are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted on held-out questions, for one ranker over one bundle."""

    ranker: str
    contract: str
    """Digest of the bundle's contract."""
    weights: str | None = None
    """Digest of the ranker's own weights, where it has any."""
    bundle: str
    kernels_km: tuple[float, ...]
    """Radii of the kernels around candidates."""
    elsewhere_km: tuple[float, ...]
    """Radii of the wide kernels that carry the rest."""
    density_cuts: Mapping[str, float]
    """Gallery images per km² from which on a question's surroundings are dense, by its kind."""
    strata: Mapping[str, StratumFit]
    """`all`, and where enough authors are known `photo`, `photo, dense` and the like."""
    abstention: Abstention
    search: Mapping[str, Any]
    """Settings of the search that its questions were asked with."""
    kinds: tuple[str, ...]
    """Source kinds that they were narrowed to."""
    data: Mapping[str, str]
    """Which questions and which gallery, in words and digests."""
    authors: int
    licence: str
    note: str
    """What is promised to whom, in words; part of every calibrated answer."""
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a question when it is decided; never the truth."""

    kind: str | None
    """What sort of picture it is, where the caller says so."""
    points: tuple[tuple[float, float], ...]
    """`[K]` places of the candidates, refined where a reranker refines: latitude, longitude."""
    logits: tuple[float, ...]
    """`[K]`."""
    null_logit: float | None
    """Of the reranker's null candidate, where one ran."""
    similarity: float
    """Cosine of the most similar candidate's picture."""
    surroundings: float
    """Mean cosine of the pictures of a candidate and its evidence, by the candidates' mass."""
    density: float
    """Gallery images per km² around the candidates."""
