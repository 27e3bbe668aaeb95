"""From scores to calibrated probabilities: where the photo was taken, and how sure that is.

With K candidates of logits l at places p (refined ones, where a reranker refines):

    elsewhere = sigmoid(b · signals)                       it was taken near none of them
    w_k       = (1 - elsewhere) softmax(l / T)_k
    density   = Σ_k w_k Σ_s a_s vMF(p_k, r_s) + elsewhere · Σ_s c_s (mean_k vMF(p_k, R_s))

T, a, b and c are fitted for each stratum on held-out questions (`evaluation.calibrating`). A
stratum is what is known when the question is asked: its kind, and how dense the gallery is around
the candidates. The wide kernels stand at all candidates alike: they spread the rest as the gallery,
narrowed to what looks a little like the photo, is spread itself; one is even over the Earth.
Letters: K candidates, M kernels, Q nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo import areas, kernels
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.gazetteer import likeliest
from pinpoint.metrics.geolocation import SCORE_SCALE_KM, THRESHOLDS_KM
from pinpoint.records import (
    Area,
    Asked,
    Belief,
    Believed,
    Calibration,
    Contract,
    Limits,
    PlaceName,
    Point,
    Ranked,
    Region,
    StratumFit,
)
from pinpoint.settings import SearchSettings

SHARES: Final = ("0.5", "0.9")
SIGNALS: Final = ("constant", "similarity", "agreement", "null")
"""What the log-odds of `elsewhere` and `unsupported` are linear in."""
EVERYTHING: Final = "all"
AGREE_M: Final = 25_000.0
NODES: Final = 1_024
_LEAST_REACH_M: Final = 500.0
"""Evidence nearer than this says no more of the density: it may be the same panorama."""
_TAIL: Final = 1e-3
"""The lightest kernels that together hold this mass are left out."""
_LEAST_MASS: Final = 1e-12
_DIGITS: Final = 6

Floats = NDArray[np.float64]
Nodes = tuple[Floats, Floats]
"""Positions `[Q, 2]` and weights `[Q]` of a posterior (`geo.kernels.nodes`)."""


def believed(
    ranked: Sequence[Ranked],
    ranker: str,
    contract: Contract,
    limits: Limits,
    search: SearchSettings,
    *,
    kind: str | None = None,
    null_logit: float | None = None,
) -> Believed:
    """Probabilities, where a calibration fits the question; and what they promise, or why not.

    Args:
        ranked: `[K]`, in any order.
        ranker: Who ranked them.
        contract: Of the bundle; has the calibrations.
        limits: How the question was narrowed.
        search: How it was searched.
        kind: What sort of picture the caller says it is.
        null_logit: Of a reranker's null candidate.
    """
    calibration, note = usable(contract, ranker, limits, search.model_dump())
    if not ranked:
        return Believed(note=note, abstained="no_candidates")
    question = asked(ranked, kind=kind, null_logit=null_logit)
    if calibration is None:
        return Believed(asked=question, note=note)
    belief = believe(question, calibration, search.objective_km)
    return Believed(asked=question, belief=belief, note=note, abstained=belief.abstained)


def asked(ranked: Sequence[Ranked], *, kind: str | None, null_logit: float | None = None) -> Asked:
    """What the decision is made from.

    Args:
        ranked: `[K]`, in any order, at least one.
        kind: What sort of picture the caller says it is.
        null_logit: Of a reranker's null candidate.
    """
    places = [each.refined or each.candidate.point for each in ranked]
    scored = all(each.score is not None for each in ranked)
    return Asked(
        kind=kind,
        points=tuple((place.lat, place.lon) for place in places),
        logits=tuple(
            float(each.score if scored and each.score is not None else _log(each.mass))
            for each in ranked
        ),
        null_logit=null_logit,
        similarity=max(each.candidate.score for each in ranked),
        density=_density(ranked),
    )


def usable(
    contract: Contract, ranker: str, limits: Limits, search: Mapping[str, Any]
) -> tuple[Calibration | None, str]:
    """The calibration that fits a question, or None and why there is none, in words.

    A question that is narrowed in space or time has other chances than those that were asked; so
    has one that is searched otherwise. Narrowing to sources only makes the gallery smaller.
    """
    found = contract.calibrations.get(ranker)
    if found is None:
        return None, f"bundle {contract.name} has no calibration for the ranker {ranker}"
    other = [name for name, value in found.search.items() if search.get(name) != value]
    if other:
        return None, f"it was fitted with other settings of the search: {', '.join(other)}"
    if limits.circle or limits.box or limits.polygon or limits.since or limits.until:
        return None, "questions narrowed in space or time are not calibrated"
    if set(limits.kinds) != set(found.kinds):
        return None, "it was fitted on other source kinds than were asked for"
    return found, found.note


def signals(of: Asked) -> Floats:
    """`[P]` in the order of `SIGNALS`."""
    logits = np.array(of.logits)
    mass = _softmax(logits)
    best = np.array(of.points[int(np.argmax(mass))])
    agreement = float(mass[haversine_m(np.array(of.points), best) <= AGREE_M].sum())
    odds = 0.0
    if of.null_logit is not None:
        odds = of.null_logit - float(logits.max() + np.log(np.exp(logits - logits.max()).sum()))
    return np.array([1.0, of.similarity, agreement, odds])


def strata(of: Asked, cuts: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the strata that a question is in, the narrowest first."""
    if of.kind is None or of.kind not in cuts:
        return (EVERYTHING,)
    dense = "dense" if of.density >= cuts[of.kind] else "sparse"
    return (f"{of.kind}, {dense}", of.kind, EVERYTHING)


def chosen(
    of: Asked, fits: Mapping[str, StratumFit], cuts: Mapping[str, float]
) -> tuple[str, StratumFit]:
    """The narrowest stratum that a question is in and that has numbers of its own."""
    name = next(each for each in strata(of, cuts) if each in fits)
    return name, fits[name]


def mixture(
    of: Asked, fit: StratumFit, kernels_km: Sequence[float], elsewhere_km: Sequence[float]
) -> kernels.Mixture:
    """The posterior, less the lightest thousandth of it."""
    points, count = np.array(of.points), len(of.points)
    elsewhere = probability(fit.elsewhere, of)
    narrow = np.outer(_softmax(np.array(of.logits) / fit.temperature), fit.kernel_shares)
    wide = np.outer(np.full(count, 1.0 / count), fit.elsewhere_shares)
    weights = np.concatenate([(1.0 - elsewhere) * narrow.ravel(), elsewhere * wide.ravel()])
    radii = [*kernels_km] * count + [*elsewhere_km] * count
    centres = [np.repeat(points, len(kernels_km), axis=0)]
    centres.append(np.repeat(points, len(elsewhere_km), axis=0))
    order = np.argsort(weights, kind="stable")
    kept = np.sort(order[np.cumsum(weights[order]) > _TAIL])
    return kernels.Mixture(
        np.concatenate(centres)[kept], np.array(radii)[kept], weights[kept] / weights[kept].sum()
    )


def probability(coefficients: Sequence[float], of: Asked) -> float:
    """The logistic function of the signals."""
    return float(1.0 / (1.0 + np.exp(-np.clip(np.dot(coefficients, signals(of)), -30.0, 30.0))))


def best_point(
    of: Asked, belief: kernels.Mixture, nodes: Nodes, objective_km: float | None
) -> Floats:
    """The candidate's place `[2]` of the greatest expected GeoScore; of equal ones the first.

    Args:
        of: The question; its places are what is chosen among.
        belief: Its posterior.
        nodes: Of the posterior.
        objective_km: Choose for accuracy within so many kilometres instead.
    """
    points = np.array(of.points)
    if objective_km is not None:
        worth = kernels.masses_within(belief, points, objective_km)
    else:
        worth = kernels.expected_scores(*nodes, points, SCORE_SCALE_KM)
    return np.asarray(points[np.argmax(worth)])


def believe(of: Asked, calibration: Calibration, objective_km: float | None = None) -> Belief:
    """Decide from probabilities: a point, how sure it is, and where else it may be.

    Args:
        of: The question.
        calibration: Of the bundle and ranker.
        objective_km: As `best_point`.
    """
    name, fit = chosen(of, calibration.strata, calibration.density_cuts)
    belief = mixture(of, fit, calibration.kernels_km, calibration.elsewhere_km)
    nodes = kernels.nodes(belief, NODES)
    answer = best_point(of, belief, nodes, objective_km)
    within = {
        radius_km: round(float(kernels.masses_within(belief, answer[None], radius_km)[0]), _DIGITS)
        for radius_km in THRESHOLDS_KM
    }
    abstention = calibration.abstention
    elsewhere = probability(fit.elsewhere, of)
    fitted = abstention.unsupported
    unsupported = None if fitted is None else probability(fitted, of)
    doubt = elsewhere if abstention.signal == "elsewhere" else unsupported
    return Belief(
        stratum=name,
        point=Point(lat=float(answer[0]), lon=float(answer[1])),
        within=within,
        elsewhere=elsewhere,
        unsupported=unsupported,
        regions=tuple(
            Region(
                mass=float(share),
                radius_m=1_000.0 * kernels.holding_km(belief, answer, min(level, 1.0)),
            )
            for share, level in fit.radius_levels.items()
        ),
        areas=_areas(belief, nodes, fit.region_levels),
        names=_names(of, fit, elsewhere),
        abstained=abstention.signal if doubt is not None and doubt > abstention.above else None,
    )


def _areas(belief: kernels.Mixture, nodes: Nodes, levels: Mapping[str, float]) -> tuple[Area, ...]:
    positions, weights = nodes
    dense = kernels.log_density(belief, positions)
    found = []
    for share, level in levels.items():
        boxes = areas.boxes_above(belief, kernels.log_level(dense, weights, level))
        found.append(
            Area(
                share=float(share),
                level=min(level, 1.0),
                area_km2=areas.area_km2(boxes),
                boxes=tuple((s, w, n, e) for s, w, n, e in boxes.tolist()),
            )
        )
    return tuple(found)


def _names(of: Asked, fit: StratumFit, elsewhere: float) -> tuple[PlaceName, ...]:
    """The likeliest country, region and city: those of the candidates, by their mass."""
    mass = (1.0 - elsewhere) * _softmax(np.array(of.logits) / fit.temperature)
    return tuple(
        PlaceName(level=level, name=name, probability=round(probability, _DIGITS))
        for level, (name, probability) in likeliest(np.array(of.points), mass).items()
    )


def _density(ranked: Sequence[Ranked]) -> float:
    """Gallery images per km² around the candidates, by their mass.

    Of each candidate: how many photos of evidence were read, over the disc that they stand in. That
    is right for a sparse gallery, where all are read, and for a dense one, where they are near.
    """
    found = 0.0
    for each in ranked:
        reach_m = max([_LEAST_REACH_M, *(one.distance_m for one in each.evidence)])
        found += each.mass * len(each.evidence) / (np.pi * (reach_m / 1_000.0) ** 2)
    return round(float(found), _DIGITS)


def _log(mass: float) -> float:
    return float(np.log(max(mass, _LEAST_MASS)))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())
