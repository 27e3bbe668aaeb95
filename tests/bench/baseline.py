"""The parts of `locate` called directly: Edge in-process, prepared statements, a vote on arrays.

There are no ports, records, SQLAlchemy or database roles, so the time is that of the parts alone.
Letters: K candidates, E pairs of candidate and evidence, U evidence photos, D width.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from uuid import UUID

import numpy as np
import psycopg
import qdrant_edge as edge

from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.records import SOURCE_KINDS, VOTE_TEMPERATURE
from pinpoint.search import vote
from pinpoint.settings import SearchSettings
from pinpoint.store.catalog.neighbors import EVIDENCE
from pinpoint.store.vectors.edge_filters import search_params
from pinpoint.store.vectors.payload import partition_key

_CITED = """
    SELECT i.id, i.source_kind, ST_Y(i.geom), ST_X(i.geom), coalesce(i.license, s.license), s.name
      FROM images i JOIN sources s ON s.id = i.source_id
     WHERE i.id = ANY(%s) AND i.state <> 'deleted'
"""


def as_psycopg(statement: str) -> str:
    """Replace `:name` by `%(name)s`; casts (`::type`) stay."""
    return re.sub(r"(?<!:):(?!:)(\w+)", r"%(\1)s", statement)


@dataclass(frozen=True)
class BaselineAnswer:
    """Id of the best candidate, rows of evidence, and milliseconds by part."""

    best: UUID | None
    evidence: int
    took_ms: dict[str, float]
    point: tuple[float, float] | None = None
    """Position by the calibrated posterior `(lat, lon)`; None without a calibration."""


class Baseline:
    """Open handles of the parts.

    Args:
        shard: Folder of an optimized Edge shard that no other process has open.
        database_url: The owner's, so that statements run on base tables.
        contract: Contract digest of the vectors.
    """

    def __init__(self, shard: Path, database_url: str, contract: str) -> None:
        self._shard = edge.EdgeShard.load(str(shard))
        self._connection = psycopg.connect(
            database_url.replace("+psycopg", ""),
            autocommit=True,
            options="-c search_path=pinpoint,public -c TimeZone=UTC",
        )
        self._evidence = as_psycopg(EVIDENCE.text)
        self._contract = contract
        self._settings = SearchSettings()

    def close(self) -> None:
        self._connection.close()
        self._shard.close()

    def locate(self, vector: np.ndarray, organization: UUID, exact: bool) -> BaselineAnswer:
        """All parts in sequence for one query `[D]`, searching as the flow does."""
        marks = [perf_counter()]
        hits = self._search_hits(vector, organization, exact)
        marks.append(perf_counter())
        chosen = self._choose_candidates(hits)
        marks.append(perf_counter())
        radius_m, per_kind = self._settings.evidence_radius_m, self._settings.evidence_per_kind
        rows = self._fetch_evidence(chosen, organization, radius_m, per_kind)
        marks.append(perf_counter())
        order, photos = cast_votes(vector, chosen, rows)
        marks.append(perf_counter())
        cited = [UUID(str(chosen[i].id)) for i in order[: 4 * self._settings.max_citations]]
        cited += photos[: 4 * self._settings.max_citations]
        self._fetch_citations(cited)
        marks.append(perf_counter())
        parts = ("search", "choose", "evidence", "vote", "cited")
        took = {name: float(ms) for name, ms in zip(parts, np.diff(marks) * 1e3, strict=True)}
        best = UUID(str(chosen[order[0]].id)) if len(order) else None
        return BaselineAnswer(best, sum(len(row[8]) for row in rows), took)

    def _search_hits(
        self, vector: np.ndarray, organization: UUID, exact: bool, channels: tuple = ("image",)
    ) -> list[list]:
        """Hits of each channel and kind, best first."""
        limit = self._settings.candidates * self._settings.oversampling
        how = search_params("exact" if exact else "acorn", limit + 1)
        values = vector.tolist()
        hits = self._shard.query_batch(
            edge.QueryBatchRequest(
                [
                    edge.QueryRequest(
                        limit=limit + 1,
                        query=edge.Query.Nearest(values, using=channel),
                        filter=edge.Filter(
                            must=[
                                edge.FieldCondition(
                                    "partition_key",
                                    match=edge.MatchValue(partition_key(organization, kind)),
                                ),
                            ]
                        ),
                        with_payload=True,
                        params=how,
                    )
                    for channel in channels
                    for kind in SOURCE_KINDS
                ]
            )
        )
        return [rows[:limit] for rows in hits]

    def _choose_candidates(self, hits: list[list]) -> list:
        """One candidate per group within the de-duplication distance, with a quota per kind."""
        kept = [deduplicate_groups(rows, self._settings.dedupe_m) for rows in hits]
        return sorted(
            share_between_kinds(kept, self._settings.candidates), key=lambda row: -row.score
        )

    def _fetch_evidence(
        self, chosen: list, organization: UUID, radius_m: float, per_kind: int
    ) -> list[tuple]:
        parameters = {
            "ids": [row.id for row in chosen],
            "lats": [row.payload["location"]["lat"] for row in chosen],
            "lons": [row.payload["location"]["lon"] for row in chosen],
            "radius_m": radius_m,
            "organization_id": organization,
            "contract": self._contract,
            "per_kind": per_kind,
            "excluded": [],
        }
        with self._connection.cursor(binary=True) as cursor:
            return cursor.execute(self._evidence, parameters, prepare=True).fetchall()

    def _fetch_citations(self, ids: list[UUID]) -> None:
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(_CITED, (ids,), prepare=True).fetchall()


def share_between_kinds(hits_by_kind: list[list], limit: int) -> list:
    """Select `limit` rows: half of an equal share of each kind, then the best of the rest."""
    share = limit // (2 * len(hits_by_kind))
    first = [row for rows in hits_by_kind for row in rows[:share]]
    rest = sorted(
        (row for rows in hits_by_kind for row in rows[share:]), key=lambda row: -row.score
    )
    return first + rest[: limit - len(first)]


def deduplicate_groups(rows: list, nearer_than_m: float) -> list:
    """Keep the first of the rows of a group that are closer to each other than this."""
    kept: list = []
    places: dict[str, list[list[float]]] = {}
    at = np.array([[row.payload["location"][k] for k in ("lat", "lon")] for row in rows])
    for row, place in zip(rows, unit_xyz(at.reshape(-1, 2)).tolist(), strict=True):
        kept_places = places.setdefault(row.payload["dedup_group"], [])
        if all(EARTH_RADIUS_M * math.dist(place, other) >= nearer_than_m for other in kept_places):
            kept_places.append(place)
            kept.append(row)
    return kept


def _meters(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle meters between `[A, 2]` and `[B, 2]` degrees, `[A, B]`."""
    a, b = np.radians(a)[:, None], np.radians(b)[None]
    half = np.sin((b - a) / 2) ** 2
    chord = half[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * half[..., 1]
    return 2 * 6_371_008.8 * np.arcsin(np.sqrt(chord))


def cast_votes(vector: np.ndarray, chosen: list, rows: list[tuple]) -> tuple[np.ndarray, list]:
    """The formula of `pinpoint.search.vote` on arrays.

    Args:
        vector: Query `[D]`.
        chosen: Hits of the index, `[K]`.
        rows: Rows of the evidence statement, one for each photo.

    Returns:
        Candidates best first, and evidence photos by similarity.
    """
    index_of = {UUID(str(row.id)): i for i, row in enumerate(chosen)}
    kinds = np.array([row.payload["source_kind"] == SOURCE_KINDS[0] for row in chosen])
    places = np.array([[r.payload["location"][k] for k in ("lat", "lon")] for r in chosen])
    score = np.array([row.score for row in chosen])
    prior = np.exp(_standardize(score) / VOTE_TEMPERATURE)
    prior /= prior.sum()
    total = (prior * _distance_decay(_meters(places, places))).sum(axis=1)
    if not rows:
        return np.argsort(-prior * total), []
    photos = [row[0] for row in rows]
    data = np.frombuffer(b"".join(row[-1] for row in rows), dtype="<f2")
    matrix = data.reshape(len(photos), -1).astype(np.float64)
    query = vector.astype(np.float64)
    cosine = np.vecdot(matrix, query) / np.sqrt(np.vecdot(matrix, matrix) * (query @ query))
    of_kind = np.array([row[2] == SOURCE_KINDS[0] for row in rows])
    is_candidate = np.array([photo in index_of for photo in photos])
    z_scores = np.zeros(len(photos))
    for these in (of_kind & ~is_candidate, ~of_kind & ~is_candidate):
        if these.any():
            z_scores[these] = _standardize(cosine[these])
    owner, photo, away_m = evidence_pairs(rows)
    voices = np.maximum(np.expm1(np.minimum(z_scores, vote.Z_MAX) - vote.Z_MIN), 0.0)[photo]
    voices *= np.where(of_kind[photo] != kinds[owner], 1.0, vote.SAME_KIND_SHARE)
    voices *= _distance_decay(away_m) * ~is_candidate[photo]
    boosts = np.bincount(owner, weights=voices, minlength=len(chosen))
    mass = prior * total * (1.0 + vote.EVIDENCE_WEIGHT * boosts)
    return np.argsort(-mass, kind="stable"), [photos[u] for u in np.argsort(-cosine)]


def evidence_pairs(rows: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the evidence statement as pairs: candidate index, row, meters, `[E]` each."""
    photo = np.repeat(np.arange(len(rows)), [len(row[8]) for row in rows])
    owner = np.fromiter(chain.from_iterable(row[8] for row in rows), dtype=np.intp) - 1
    return owner, photo, np.fromiter(chain.from_iterable(row[9] for row in rows), dtype=np.float64)


def _distance_decay(distance_m: np.ndarray) -> np.ndarray:
    return np.mean([np.exp(-distance_m / scale_m) for scale_m in vote.SCALES_M], axis=0)


def _standardize(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-5 else np.zeros_like(values)
