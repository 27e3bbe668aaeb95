"""Vector index on Qdrant Edge, an engine inside this process that must be its only user.

The engine holds the interpreter's lock during a call, does not survive a fork and refuses a second
process. Therefore a separate process opens it (`pinpoint.stack.index.engine_process`).
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import BadBundleError, IndexUnavailableError
from pinpoint.iteration import batched
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store.vectors import payload
from pinpoint.store.vectors.edge_filters import (
    may_replace,
    payload_indexes,
    search_params,
    shard_config,
    to_edge_filter,
)
from pinpoint.store.vectors.filters import build_filter, split_by_partition
from pinpoint.store.vectors.strategy import (
    SearchStrategy,
    StrategyChooser,
    choose_by_matches,
    choose_strategy,
)


class EdgeIndex:
    """One index build in a folder: the shard and `index.json`, which is written last.

    Args:
        folder: Created by `ensure`. If it holds an index, the constructor loads it.
        build: Name of the build if `ensure` creates it.
        chooser: Chooses the search strategy of a query that does not require exact search.

    Raises:
        IndexUnavailableError: Another process has the index open, or its files cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        build: str | None = None,
        *,
        chooser: StrategyChooser = choose_by_matches,
    ) -> None:
        self._folder = folder
        self._chooser = chooser
        self._lock = threading.RLock()
        self._shard: edge.EdgeShard | None = None
        self.unflushed = 0
        """Number of writes that only the write-ahead log holds."""
        self._metadata: dict[str, Any] = {"build": build or folder.name}
        metadata_file = folder / "index.json"
        if metadata_file.exists():
            self._load_shard(metadata_file)

    def _load_shard(self, metadata_file: Path) -> None:
        try:
            self._metadata = json.loads(metadata_file.read_text())
            self._shard = edge.EdgeShard.load(str(self._folder / "shard"))
        # The binding raises bare Exception for everything.
        except Exception as error:
            raise IndexUnavailableError(
                "the index cannot be opened; if no other process has it open, run "
                "`pinpoint index rebuild`"
            ) from error

    @property
    def dims(self) -> Mapping[str, int]:
        """Width of each named vector; empty before `ensure`."""
        dims: Mapping[str, int] = self._metadata.get("dims", {})
        return dims

    def info(self) -> IndexInfo:
        """Content and build of the index."""
        with self._lock:
            if self._shard is None:
                return payload.no_index("qdrant-edge", "there is no index yet")
            return IndexInfo(
                engine="qdrant-edge",
                ready=True,
                contract=self._metadata["contract"],
                build=self._metadata["build"],
                points=self._count_live(),
                indexed_vectors=int(self._shard.info().indexed_vectors_count),
                installation=self._metadata.get("installation"),
            )

    def ensure(self, spec: IndexSpec) -> None:
        """Create the index if it does not exist.

        Raises:
            ModelMismatchError: The index exists for another contract.
            ConfigurationError: The index belongs to another installation.
        """
        with self._lock:
            if self._shard is None:
                self._create_shard(spec)
        payload.check_installation(self._metadata.get("installation"), spec.installation)
        payload.check_spec(self._metadata["contract"], self.dims, spec)

    def _create_shard(self, spec: IndexSpec) -> None:
        if not spec.dims or not all(width > 0 for width in spec.dims.values()):
            raise BadBundleError(
                f"contract {spec.contract} has no usable vectors: {dict(spec.dims)}"
            )
        shard_folder = self._folder / "shard"
        # A shard without index.json is the remainder of a crash inside this method.
        shutil.rmtree(shard_folder, ignore_errors=True)
        shard_folder.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(shard_folder), shard_config(spec.dims))
        for name, index in payload_indexes().items():
            shard.update(edge.UpdateOperation.create_field_index(name, index))
        shard.flush()
        self._shard = shard
        self._metadata |= {"contract": spec.contract, "dims": dict(spec.dims)}
        if spec.installation is not None:
            self._metadata["installation"] = spec.installation
        write_atomic(self._folder / "index.json", json.dumps(self._metadata), durable=True)

    def _require_shard(self) -> edge.EdgeShard:
        if self._shard is None:
            raise IndexUnavailableError(
                "there is no index yet; it is created when the bundle is known"
            )
        return self._shard

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; skip a point whose stored version (also of a tombstone) is higher."""
        self._require_shard()
        payload.check_contract(self._metadata["contract"], contract)
        for point in points:
            for channel, vector in point.vectors.items():
                payload.check_vector(channel, vector, self.dims)
        for version, group in payload.latest_per_version(points).items():
            for chunk in batched(group, payload.UPSERT_SLICE):
                rows = [
                    edge.Point(
                        point.id,
                        {name: vector.tolist() for name, vector in point.vectors.items()},
                        payload.to_payload(point),
                    )
                    for point in chunk
                ]
                self._write_rows(rows, may_replace(version, tombstone=False))

    def write_tombstones(self, versions: Mapping[UUID, int]) -> None:
        """Write tombstones of these versions; no older version can replace them."""
        for version, ids in payload.group_by_version(versions).items():
            for chunk in batched(ids, payload.UPSERT_SLICE):
                rows = [edge.Point(point_id, {}, payload.tombstone(version)) for point_id in chunk]
                self._write_rows(rows, may_replace(version, tombstone=True))

    def _write_rows(self, rows: list[edge.Point], condition: edge.Filter) -> None:
        with self._lock:
            self.unflushed += len(rows)
            self._require_shard().update(
                edge.UpdateOperation.upsert_points(rows, condition=condition)
            )

    def delete_points(self, ids: Iterable[UUID]) -> None:
        """Delete points and tombstones, when no writer of an old version can be alive."""
        for chunk in batched(ids, 1_000):
            with self._lock:
                self.unflushed += len(chunk)
                self._require_shard().update(edge.UpdateOperation.delete_points(list(chunk)))

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Run several queries in one request; hits are best first, ties by `Hit.tie_key`."""
        self._require_shard()
        payload.check_contract(self._metadata["contract"], *(query.contract for query in queries))
        for query in queries:
            payload.check_limit(query)
            payload.check_vector(query.channel, query.vector, self.dims)
        with self._lock:
            return payload.extend_ties(queries, self._run_queries)

    def _run_queries(self, queries: Sequence[tuple[IndexQuery, int]]) -> list[list[Hit]]:
        total = int(self._require_shard().info().points_count)
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query.vector.tolist(), using=query.channel),
                filter=to_edge_filter(build_filter(query.filter)),
                with_payload=True,
                params=search_params(self._choose_strategy(query, total), limit),
            )
            for query, limit in queries
        ]
        results = self._require_shard().query_batch(edge.QueryBatchRequest(requests))
        return [
            [payload.hit(_to_uuid(row.id), float(row.score), row.payload or {}) for row in rows]
            for rows in results
        ]

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points with these ids, in no order; missing ids are omitted."""
        with self._lock:
            rows = self._require_shard().retrieve(list(ids), True, vectors)
        return [
            payload.stored_point(_to_uuid(row.id), row.payload, row.vector)
            for row in rows
            if row.payload and payload.is_live_payload(row.payload)
        ]

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of the stored points and tombstones with these ids."""
        with self._lock:
            rows = self._require_shard().retrieve(list(ids), True, False)
        stored = [payload.cut_scroll_page(_to_uuid(row.id), row.payload or {}) for row in rows]
        return {point_id: (version, alive) for point_id, version, alive in stored}

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list means the end.

        Tombstones belong to no organization: they are listed only without `organization_id`.
        """
        if limit < 1 or after == payload.LAST_ID:
            return []
        start = None if after is None else UUID(int=after.int + 1)
        where = None
        if organization_id is not None:
            where = to_edge_filter(build_filter(IndexFilter(organization_id=organization_id)))
        request = edge.ScrollRequest(
            offset=start,
            limit=limit,
            filter=where,
            with_payload=edge.PayloadSelector.Include(["version", "deleted"]),
        )
        with self._lock:
            rows, _ = self._require_shard().scroll(request)
        return [payload.cut_scroll_page(_to_uuid(row.id), row.payload or {}) for row in rows]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        with self._lock:
            if where is None:
                return self._count_live()
            return int(
                self._require_shard().count(
                    edge.CountRequest(True, to_edge_filter(build_filter(where)))
                )
            )

    def _choose_strategy(self, query: IndexQuery, points: int) -> SearchStrategy:
        return choose_strategy(query, self._chooser, self.count, self._estimate_partitions, points)

    def _estimate_partitions(self, where: IndexFilter) -> tuple[int, bool]:
        partitions, complete = split_by_partition(where)
        # An approximate count: for a single partition the engine's estimate is its size.
        counts = [
            self._require_shard().count(
                edge.CountRequest(False, to_edge_filter(build_filter(partition)))
            )
            for partition in partitions
        ]
        return int(sum(counts)), complete

    def _count_live(self) -> int:
        shard = self._require_shard()
        is_deleted = edge.FieldCondition("deleted", match=edge.MatchValue(1))
        tombstones = shard.count(edge.CountRequest(True, edge.Filter(must=[is_deleted])))
        return int(shard.info().points_count) - int(tombstones)

    def optimize(self) -> None:
        """Build the HNSW graph. It blocks for minutes at 100,000 points: never while serving."""
        with self._lock:
            self._require_shard().optimize()

    def flush(self) -> None:
        """Make all writes durable, so that a load after a crash replays nothing."""
        with self._lock:
            self._require_shard().flush()
            self.unflushed = 0

    def close(self) -> None:
        """Flush and close the files; a second call changes nothing."""
        with self._lock:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
                self._shard = None


def _to_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
