"""As `baseline`, with a reranker in place of the vote and its calibration, on arrays.

There are no ports, image records or padding, so the time is that of the parts alone. Letters: K
candidates, E pairs of candidate and evidence, S slots of evidence, U evidence photos, D width.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from time import perf_counter
from uuid import UUID

import numpy as np
import torch
from torch.nn import functional

from bench.baseline import (
    Baseline,
    BaselineAnswer,
    deduplicate_groups,
    evidence_pairs,
    share_between_kinds,
)
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.geo import hdr, kernels, posteriors
from pinpoint.geo.gazetteer import most_probable_places
from pinpoint.geo.points import bearing_deg, destination
from pinpoint.metrics.geolocation import GEOSCORE_SCALE_KM, THRESHOLDS_KM
from pinpoint.nets.reranker.bundle_reranker import load_reranker
from pinpoint.nets.reranker.features import RerankBatch as Tensors
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, SOURCE_KINDS, Calibration, QueryFeatures
from pinpoint.search.posterior import NUM_NODES

_CHANNELS = (IMAGE_CHANNEL, GPS_CHANNEL)
_PARTS = ("search", "choose", "fetch", "evidence", "tensors", "forward", "belief", "cited")
_YEAR_S = 365.25 * 86_400
_LEAST_REACH_M = 500.0


def open_baseline(shard: Path, database_url: str, encoder: EncoderHandle) -> Baseline:
    """The baseline of this bundle: with its reranker if it has one."""
    if encoder.bundle.contract.reranker is None:
        return Baseline(shard, database_url, encoder.contract.digest)
    return RerankedBaseline(shard, database_url, encoder)


class RerankedBaseline(Baseline):
    """Open handles of the parts of a bundle with location tower, reranker and calibration."""

    def __init__(self, shard: Path, database_url: str, encoder: EncoderHandle) -> None:
        super().__init__(shard, database_url, encoder.contract.digest)
        network, part = load_reranker(encoder.bundle), encoder.bundle.contract.reranker
        if network is None or part is None:
            raise ValueError(f"{encoder.contract.name} has no reranker")
        self._network, self._part = network, part
        self._calibration = encoder.contract.calibrations["rerank"]

    def locate(self, vector: np.ndarray, organization: UUID, exact: bool) -> BaselineAnswer:
        """All parts in sequence for one query `[D]`, searching as the flow does."""
        marks = [perf_counter()]
        hits = self._search_hits(vector, organization, exact, _CHANNELS)
        marks.append(perf_counter())
        chosen = self._choose_candidates(hits)
        marks.append(perf_counter())
        stored = self._shard.retrieve([row.id for row in chosen], False, True)
        marks.append(perf_counter())
        radius_m, per_kind = self._part.evidence_radius_m, self._part.evidence_per_kind
        rows = self._fetch_evidence(chosen, organization, radius_m, per_kind)
        marks.append(perf_counter())
        batch = to_tensors(vector, hits, chosen, stored, rows, per_kind)
        marks.append(perf_counter())
        with torch.inference_mode():
            output = self._network(batch)
        marks.append(perf_counter())
        scores = output.logits[0].numpy().astype(np.float64)
        point = calibrated_point(
            batch, scores, float(output.no_match_logit), output.offset_km[0], self._calibration
        )
        marks.append(perf_counter())
        order = np.argsort(-scores).tolist()
        names = [UUID(str(chosen[seat].id)) for seat in order]
        around = [row[0] for row in rows if order[0] + 1 in row[8]]
        self._fetch_citations(
            [
                *names[: 4 * self._settings.max_citations],
                *around[: 4 * self._settings.max_citations],
            ]
        )
        marks.append(perf_counter())
        took = {name: float(ms) for name, ms in zip(_PARTS, np.diff(marks) * 1e3, strict=True)}
        return BaselineAnswer(names[0], sum(len(row[8]) for row in rows), took, point)

    def _choose_candidates(self, hits: list[list]) -> list:
        """Slots of the image channel, then new hits of the GPS channel, then the rest of images."""
        most, share = self._settings.candidates, self._settings.gps_channel_fraction
        image, gps = hits[: len(SOURCE_KINDS)], hits[len(SOURCE_KINDS) :]
        selected_by_kind: list[list] = [[] for _ in SOURCE_KINDS]
        for answers, until in ((image, most - int(most * share)), (gps, most), (image, most)):
            if (free := until - sum(map(len, selected_by_kind))) == 0:
                continue
            new_by_kind = []
            for selected, rows in zip(selected_by_kind, answers, strict=True):
                selected_ids = {row.id for row in selected}
                left = [row for row in rows if row.id not in selected_ids]
                new_by_kind.append(
                    deduplicate_groups([*selected, *left], self._settings.dedupe_m)[len(selected) :]
                )
            for row in share_between_kinds(new_by_kind, free):
                selected_by_kind[SOURCE_KINDS.index(row.payload["source_kind"])].append(row)
        return [row for selected in selected_by_kind for row in selected]


def to_tensors(
    vector: np.ndarray,
    hits: list[list],
    chosen: list,
    stored: list,
    rows: list[tuple],
    per_kind: int,
) -> Tensors:
    """One query as input of the network.

    Args:
        vector: Query `[D]`.
        hits: Hits of each channel and kind.
        chosen: Hits that became candidates, `[K]`.
        stored: Their vectors, in any order.
        rows: Rows of the evidence statement, one for each photo.
        per_kind: Evidence slots of each candidate and kind.
    """
    vectors = {row.id: row.vector for row in stored}
    places = np.array([[r.payload["location"][k] for k in ("lat", "lon")] for r in chosen])
    by = [{row.id for rows in hits[at : at + 2] for row in rows} for at in (0, len(SOURCE_KINDS))]
    shape = (len(chosen), len(SOURCE_KINDS) * per_kind)
    near = np.zeros((*shape, len(vector)), dtype=np.float32)
    away, bearing, age = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    present = np.zeros(shape, dtype=bool)
    if rows:
        _, _, kinds, _, _, times, lats, lons, _, _, _, _, sent = zip(*rows, strict=True)
        owner, photo, away_m = evidence_pairs(rows)
        code = np.array([SOURCE_KINDS.index(kind) for kind in kinds])[photo]
        order = np.lexsort((away_m, code, owner))
        owner, photo, away_m, code = owner[order], photo[order], away_m[order], code[order]
        _, first, count = np.unique(
            owner * len(SOURCE_KINDS) + code, return_index=True, return_counts=True
        )
        slot = (owner, code * per_kind + np.arange(len(owner)) - np.repeat(first, count))
        near[slot] = np.frombuffer(b"".join(sent), dtype="<f2").reshape(len(rows), -1)[photo]
        away[slot] = away_m
        bearing[slot] = bearing_deg(places[owner], np.column_stack([lats, lons])[photo])
        taken = [datetime.fromisoformat(row.payload["captured_at"]).timestamp() for row in chosen]
        then = np.array([time.timestamp() for time in times])
        age[slot] = np.abs(np.array(taken)[owner] - then[photo]) / _YEAR_S
        present[slot] = True

    def add_batch_dimension(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array)[None]

    kinds_near = np.repeat(np.arange(len(SOURCE_KINDS)), per_kind)
    return Tensors(
        query=add_batch_dimension(vector.astype(np.float32)),
        query_kind=torch.tensor([SOURCE_KINDS.index("photo")]),
        image=add_batch_dimension(
            np.array([vectors[row.id][IMAGE_CHANNEL] for row in chosen], dtype=np.float32)
        ),
        gps=add_batch_dimension(
            np.array([vectors[row.id][GPS_CHANNEL] for row in chosen], dtype=np.float32)
        ),
        position=add_batch_dimension(places),
        kind=add_batch_dimension(
            np.array([SOURCE_KINDS.index(row.payload["source_kind"]) for row in chosen])
        ),
        in_channel=add_batch_dimension(np.array([[row.id in ids for ids in by] for row in chosen])),
        present=torch.ones(1, len(chosen), dtype=torch.bool),
        evidence=add_batch_dimension(near),
        evidence_kind=add_batch_dimension(np.tile(kinds_near, (len(chosen), 1))),
        evidence_distance_m=add_batch_dimension(away),
        bearing_deg=add_batch_dimension(bearing),
        age_years=add_batch_dimension(age),
        evidence_present=add_batch_dimension(present),
    )


def calibrated_point(
    batch: Tensors,
    scores: np.ndarray,
    no_match_logit: float,
    offset_km: torch.Tensor,
    calibration: Calibration,
) -> tuple[float, float]:
    """Compute all values of a calibrated answer; return the point `(lat, lon)` of best score.

    Args:
        batch: The query, as a batch of one.
        scores: Logits `[K]`.
        no_match_logit: Logit of "none of these".
        offset_km: Offsets to refined positions `[K, 2]`, east and north.
        calibration: Of the reranker.
    """
    # Best first, as in the search flow: the nodes of a mixture depend on the order.
    order = np.argsort(-scores)
    scores = scores[order]
    east, north = offset_km.numpy()[order].astype(np.float64).T
    refined = destination(
        batch.position[0].numpy()[order],
        np.degrees(np.arctan2(east, north)),
        1_000.0 * np.hypot(east, north),
    )
    present, away_m = (
        batch.evidence_present[0].numpy()[order],
        batch.evidence_distance_m[0].numpy()[order],
    )
    reach_km = np.maximum((away_m * present).max(axis=1), _LEAST_REACH_M) / 1_000.0
    density = present.sum(axis=1) / (np.pi * np.square(reach_km))
    query = batch.query[0] / batch.query[0].norm()
    similarity = (functional.normalize(batch.image[0], dim=-1) @ query).numpy()[order]
    near = (functional.normalize(batch.evidence[0], dim=-1) @ query).numpy()[order] * present
    neighborhood = (similarity + near.sum(axis=1)) / (1 + present.sum(axis=1))
    mass = posteriors.softmax(scores)
    features = QueryFeatures(
        kind="photo",
        positions=tuple(map(tuple, refined.tolist())),
        logits=tuple(scores.tolist()),
        no_match_logit=no_match_logit,
        max_similarity=float(similarity.max()),
        neighborhood_similarity=float(mass @ neighborhood),
        neighborhood_coherence=0.0,
        gallery_density=float(mass @ density),
    )
    _, fit = posteriors.select_fit(features, calibration.strata, calibration.density_thresholds)
    mixture = posteriors.mixture(
        features,
        fit,
        calibration.kernels_km,
        calibration.background_kernels_km,
        calibration.coverage,
    )
    positions, weights = kernels.quadrature_nodes(mixture, NUM_NODES)
    expected_scores = kernels.expected_scores(positions, weights, refined, GEOSCORE_SCALE_KM)
    answer = refined[np.argmax(expected_scores)]
    kernels.masses_within(mixture, answer[None], np.array(THRESHOLDS_KM))
    kernels.radius_for_mass_km(mixture, answer, np.array(list(fit.credible_disc_levels.values())))
    dense = kernels.log_density(mixture, positions)
    for level in fit.credible_region_levels.values():
        hdr.area_km2(hdr.hdr_boxes(mixture, kernels.hdr_log_density(dense, weights, level)))
    mass, _ = posteriors.masses(features, fit)
    most_probable_places(refined, mass)
    return float(answer[0]), float(answer[1])
