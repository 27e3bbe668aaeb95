"""From scores to calibrated probabilities: where the photo was taken, and how sure that is.

The mathematics is `geo.posteriors`; here it meets the question: what is known of it, whether a
calibration fits it, and what is said in the answer. Letters: K candidates, Q nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo import areas, kernels, posteriors
from pinpoint.geo.gazetteer import most_probable_places
from pinpoint.metrics.geolocation import GEOSCORE_SCALE_KM, THRESHOLDS_KM
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
    Ranking,
    Region,
    StratumFit,
)
from pinpoint.settings import SearchSettings

SHARES: Final = ("0.5", "0.9")
NODES: Final = 1_024
_LEAST_REACH_M: Final = 500.0
"""Evidence nearer than this says no more of the density: it may be the same panorama."""
_LEAST_MASS: Final = 1e-12
_DIGITS: Final = 6

Floats = NDArray[np.float64]
Nodes = tuple[Floats, Floats]
"""Positions `[Q, 2]` and weights `[Q]` of a posterior (`geo.kernels.nodes`)."""


def believed(
    ranking: Ranking,
    contract: Contract,
    limits: Limits,
    search: SearchSettings,
    *,
    kind: str | None = None,
) -> Believed:
    """Probabilities, where a calibration fits the question; and what they promise, or why not.

    Args:
        ranking: `[K]` candidates, and who ranked them; a reranker's null beside them.
        contract: Of the bundle; has the calibrations.
        limits: How the question was narrowed.
        search: How it was searched.
        kind: What sort of picture the caller says it is.
    """
    calibration, note = usable(contract, ranking.ranker, limits, search.model_dump(mode="json"))
    if not ranking.ranked:
        return Believed(note=note, abstained="no_candidates")
    question = asked(ranking.ranked, kind=kind, null_logit=ranking.null_score)
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
        surroundings=_surroundings(ranked),
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
    if objective_km is not None:
        return best_within(of, belief, objective_km)
    points = np.array(of.points)
    worth = kernels.expected_scores(*nodes, points, GEOSCORE_SCALE_KM)
    return np.asarray(points[np.argmax(worth)])


def best_within(of: Asked, belief: kernels.Mixture, km: float) -> Floats:
    """The candidate's place `[2]` with the most mass within some km; of equal ones the first."""
    points = np.array(of.points)
    return np.asarray(points[np.argmax(kernels.masses_within(belief, points, km))])


def believe(of: Asked, calibration: Calibration, objective_km: float | None = None) -> Belief:
    """Decide from probabilities: a point, how sure it is, and where else it may be.

    Args:
        of: The question.
        calibration: Of the bundle and ranker.
        objective_km: As `best_point`.
    """
    name, fit = posteriors.select_fit(of, calibration.strata, calibration.density_cuts)
    belief = posteriors.mixture(of, fit, calibration.kernels_km, calibration.elsewhere_km)
    nodes = kernels.quadrature_nodes(belief, NODES)
    answer = best_point(of, belief, nodes, objective_km)
    abstention = calibration.abstention
    mass, elsewhere = posteriors.masses(of, fit)
    fitted = abstention.unsupported
    unsupported = None if fitted is None else posteriors.probability(fitted, of)
    doubt = elsewhere if abstention.signal == "elsewhere" else unsupported
    return Belief(
        stratum=name,
        point=Point(lat=float(answer[0]), lon=float(answer[1])),
        within=_within(belief, answer, fit),
        elsewhere=elsewhere,
        unsupported=unsupported,
        regions=_regions(belief, answer, fit.radius_levels),
        areas=_areas(belief, nodes, fit.region_levels),
        names=_names(of, mass),
        abstained=abstention.signal if doubt is not None and doubt > abstention.above else None,
    )


def _within(belief: kernels.Mixture, answer: Floats, fit: StratumFit) -> dict[float, float]:
    """Probability by kilometres: the mass there, with its log-odds moved, and never falling."""
    held = kernels.masses_within(belief, answer[None], np.array(THRESHOLDS_KM))
    moved = np.array([fit.within[f"{km:g}"] for km in THRESHOLDS_KM])
    said = 1.0 / (1.0 + np.exp(-moved[:, 0] - moved[:, 1] * posteriors.log_odds(held)))
    rising = np.round(np.maximum.accumulate(said), _DIGITS).tolist()
    return dict(zip(THRESHOLDS_KM, rising, strict=True))


def _regions(
    belief: kernels.Mixture, answer: Floats, levels: Mapping[str, float]
) -> tuple[Region, ...]:
    claimed = np.minimum(np.array(list(levels.values())), 1.0)
    radii_m = (1_000.0 * kernels.radius_for_mass_km(belief, answer, claimed)).tolist()
    return tuple(
        Region(mass=float(share), radius_m=radius_m)
        for share, radius_m in zip(levels, radii_m, strict=True)
    )


def _areas(belief: kernels.Mixture, nodes: Nodes, levels: Mapping[str, float]) -> tuple[Area, ...]:
    positions, weights = nodes
    dense = kernels.log_density(belief, positions)
    found = []
    for share, level in levels.items():
        boxes = areas.hdr_boxes(belief, kernels.hdr_log_density(dense, weights, level))
        found.append(
            Area(
                share=float(share),
                level=min(level, 1.0),
                area_km2=areas.area_km2(boxes),
                boxes=tuple((s, w, n, e) for s, w, n, e in boxes.tolist()),
            )
        )
    return tuple(found)


def _names(of: Asked, mass: Floats) -> tuple[PlaceName, ...]:
    """The likeliest country, region and city: those of the candidates, by their mass."""
    return tuple(
        PlaceName(level=level, name=name, probability=round(probability, _DIGITS))
        for level, (name, probability) in most_probable_places(np.array(of.points), mass).items()
    )


def _surroundings(ranked: Sequence[Ranked]) -> float:
    """How alike the places as a whole are: one picture may be alike by chance, a place is not."""
    means = [float(np.mean([each.candidate.score, *each.similarities])) for each in ranked]
    mass = [each.mass for each in ranked]
    return round(float(np.average(means, weights=mass)), _DIGITS)


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
