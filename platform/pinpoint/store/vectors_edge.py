"""The index over Qdrant Edge: the engine inside this process, which must be its only user.

The engine holds the interpreter's lock during a call, does not survive a fork and refuses a second
process, so a process of its own opens this (`pinpoint.stack.index_engine`).
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from pinpoint.errors import BadBundle, IndexUnavailable
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store import vectors_payload as rules
from pinpoint.store.vectors_edge_terms import (
    filter_of,
    may_replace,
    payload_indexes,
    search_params,
    shard_config,
    without_shelf,
)
from pinpoint.store.vectors_filter import lists, plan
from pinpoint.store.vectors_plan import Chooser, Way, choose, way


class EdgeIndex:
    """One index build in a folder: the shard and `index.json`, which is written last.

    Args:
        folder: `ensure` makes it; if it holds an index, that is loaded now.
        build: Name given to the build if `ensure` makes it.
        chooser: How a question is searched that is not forced to be exact.

    Raises:
        IndexUnavailable: Another process has it open, or its files cannot be read.
    """

    def __init__(
        self, folder: Path, build: str | None = None, *, chooser: Chooser = choose
    ) -> None:
        self._folder = folder
        self._chooser = chooser
        self._lock = threading.RLock()
        self._shard: edge.EdgeShard | None = None
        self._shelved = True
        self.unflushed = 0
        """Writes that only the write-ahead log has."""
        self._about: dict[str, Any] = {"build": build or folder.name}
        about = folder / "index.json"
        if about.exists():
            self._load(about)

    def _load(self, about: Path) -> None:
        try:
            self._about = json.loads(about.read_text())
            self._shard = edge.EdgeShard.load(str(self._folder / "shard"))
            # Looked for and not written down: an earlier version may have gone on with this build.
            self._shelved = not self._shard.count(edge.CountRequest(True, without_shelf()))
        # The binding raises bare Exception for everything.
        except Exception as error:
            raise IndexUnavailable(
                "the index cannot be opened; if no other process has it open, run "
                "`pinpoint index rebuild`"
            ) from error

    @property
    def dims(self) -> Mapping[str, int]:
        """Named vectors and their width; empty before `ensure`."""
        dims: Mapping[str, int] = self._about.get("dims", {})
        return dims

    def info(self) -> IndexInfo:
        """What the index holds and which build it is."""
        with self._lock:
            if self._shard is None:
                return rules.no_index("qdrant-edge", "there is no index yet")
            return IndexInfo(
                engine="qdrant-edge",
                ready=True,
                contract=self._about["contract"],
                build=self._about["build"],
                points=self._alive(),
                indexed_vectors=int(self._shard.info().indexed_vectors_count),
                installation=self._about.get("installation"),
            )

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            OtherContract: It is there, for another contract.
            Misconfigured: It is there, and belongs to another installation.
        """
        with self._lock:
            if self._shard is None:
                self._create(spec)
        rules.check_installation(self._about.get("installation"), spec.installation)
        rules.check_spec(self._about["contract"], self.dims, spec)

    def _create(self, spec: IndexSpec) -> None:
        if not spec.dims or not all(width > 0 for width in spec.dims.values()):
            raise BadBundle(f"contract {spec.contract} names no usable vectors: {dict(spec.dims)}")
        shard_folder = self._folder / "shard"
        # What lies here without index.json was left by a crash in the middle of this method.
        shutil.rmtree(shard_folder, ignore_errors=True)
        shard_folder.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(shard_folder), shard_config(spec.dims))
        for name, index in payload_indexes().items():
            shard.update(edge.UpdateOperation.create_field_index(name, index))
        shard.flush()
        self._shard = shard
        self._about |= {"contract": spec.contract, "dims": dict(spec.dims)}
        if spec.installation is not None:
            self._about["installation"] = spec.installation
        draft = self._folder / "index.json.new"
        with draft.open("w") as file:
            json.dump(self._about, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / "index.json")

    def _open(self) -> edge.EdgeShard:
        if self._shard is None:
            raise IndexUnavailable("there is no index yet; it is made when the bundle is known")
        return self._shard

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is."""
        self._open()
        rules.check_contract(self._about["contract"], contract)
        for point in points:
            for channel, vector in point.vectors.items():
                rules.check_vector(channel, vector, self.dims)
        for version, group in rules.newest(points).items():
            for part in rules.slices(group, rules.UPSERT_SLICE):
                rows = [
                    edge.Point(
                        point.id,
                        {name: vector.tolist() for name, vector in point.vectors.items()},
                        rules.payload(point),
                    )
                    for point in part
                ]
                self._write(rows, may_replace(version, tombstone=False))

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        for version, ids in rules.by_version(versions).items():
            for part in rules.slices(ids, rules.UPSERT_SLICE):
                rows = [edge.Point(each, {}, rules.tombstone(version)) for each in part]
                self._write(rows, may_replace(version, tombstone=True))

    def _write(self, rows: list[edge.Point], condition: edge.Filter) -> None:
        with self._lock:
            self.unflushed += len(rows)
            self._open().update(edge.UpdateOperation.upsert_points(rows, condition=condition))

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        for part in rules.slices(list(ids), 1_000):
            with self._lock:
                self.unflushed += len(part)
                self._open().update(edge.UpdateOperation.delete_points(list(part)))

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id."""
        self._open()
        rules.check_contract(self._about["contract"], *(query.contract for query in queries))
        for query in queries:
            rules.check_limit(query)
            rules.check_vector(query.channel, query.vector, self.dims)
        with self._lock:
            return rules.answer_whole(queries, self._ask)

    def _ask(self, questions: Sequence[tuple[IndexQuery, int]]) -> list[list[Hit]]:
        points = int(self._open().info().points_count)
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(query.vector.tolist(), using=query.channel),
                filter=self._filter(query.filter),
                with_payload=True,
                params=search_params(self._way(query, points), limit),
            )
            for query, limit in questions
        ]
        found = self._open().query_batch(edge.QueryBatchRequest(requests))
        return [
            [rules.hit(_uuid(row.id), float(row.score), row.payload or {}) for row in rows]
            for rows in found
        ]

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        with self._lock:
            rows = self._open().retrieve(list(ids), True, vectors)
        return [
            rules.stored_point(_uuid(row.id), row.payload, row.vector)
            for row in rows
            if row.payload and rules.is_alive(row.payload)
        ]

    def versions(self, ids: Sequence[UUID]) -> dict[UUID, tuple[int, bool]]:
        """`(version, alive)` of what is stored under these ids, tombstones too."""
        with self._lock:
            rows = self._open().retrieve(list(ids), True, False)
        found = [rules.scrolled(_uuid(row.id), row.payload or {}) for row in rows]
        return {each: (version, alive) for each, version, alive in found}

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list is the end.

        Tombstones belong to no organisation: they are seen only without `organization_id`.
        """
        if limit < 1 or after == rules.LAST_ID:
            return []
        start = None if after is None else UUID(int=after.int + 1)
        where = None
        if organization_id is not None:
            where = self._filter(IndexFilter(organization_id=organization_id))
        request = edge.ScrollRequest(
            offset=start,
            limit=limit,
            filter=where,
            with_payload=edge.PayloadSelector.Include(["version", "deleted"]),
        )
        with self._lock:
            rows, _ = self._open().scroll(request)
        return [rules.scrolled(_uuid(row.id), row.payload or {}) for row in rows]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        with self._lock:
            if where is None:
                return self._alive()
            return int(self._open().count(edge.CountRequest(True, self._filter(where))))

    def _way(self, query: IndexQuery, points: int) -> Way:
        return way(query, self._chooser, self.count, self._listed, points)

    def _listed(self, where: IndexFilter) -> tuple[int, bool]:
        each, whole = lists(where, shelves=self._shelved)
        # Not counted one by one: of a single list the engine's estimate is its length.
        known = [self._open().count(edge.CountRequest(False, self._filter(one))) for one in each]
        return int(sum(known)), whole

    def _filter(self, where: IndexFilter) -> edge.Filter:
        return filter_of(plan(where, shelves=self._shelved))

    def _alive(self) -> int:
        shard = self._open()
        dead = edge.FieldCondition("deleted", match=edge.MatchValue(1))
        buried = shard.count(edge.CountRequest(True, edge.Filter(must=[dead])))
        return int(shard.info().points_count) - int(buried)

    def optimize(self) -> None:
        """Build the HNSW graph; minutes of blocking at 100,000 points, so never while it serves."""
        with self._lock:
            self._open().optimize()

    def flush(self) -> None:
        """Make all writes durable, so that loading after a crash replays nothing."""
        with self._lock:
            self._open().flush()
            self.unflushed = 0

    def close(self) -> None:
        """Flush and let go of the files; closing twice changes nothing."""
        with self._lock:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
                self._shard = None


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
