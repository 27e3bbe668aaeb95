"""The index over a Qdrant server or cluster (or qdrant-client's `:memory:`, for tests).

One collection for each contract and build, `<alias>.<contract>.<build>`; the alias names the one
that serves, so that a rebuild is a switch of the alias.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from qdrant_client import QdrantClient
from qdrant_client import models as m
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from pinpoint.errors import BadBundle, IndexUnavailable, Misconfigured
from pinpoint.ports import PointSource
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store import vectors_payload as rules
from pinpoint.store.vectors_filter import plan
from pinpoint.store.vectors_plan import Chooser, choose, way
from pinpoint.store.vectors_qdrant_terms import (
    PAYLOAD_INDEXES,
    buried,
    collection_config,
    filter_of,
    may_replace,
    rows_of,
    search_params,
)

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class QdrantIndex:
    """The index on a server.

    Args:
        url: `http(s)://…` of the server, or `:memory:`.
        api_key: The server's key.
        alias: Name of the alias; several installations may share a server under different ones.
        timeout_s: Longest wait for one request.
        chooser: How a question is searched that need not be exact.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        alias: str = "pinpoint",
        timeout_s: int = 30,
        *,
        chooser: Chooser = choose,
    ) -> None:
        self._local = url == ":memory:"
        self._alias, self._chooser = alias, chooser
        self._known_dims: dict[str, int] = {}
        # The in-memory engine is plain numpy without locks.
        self._lock: Any = threading.RLock() if self._local else contextlib.nullcontext()
        self._client = (
            QdrantClient(location=url)
            if self._local
            else QdrantClient(url=url, api_key=api_key, timeout=timeout_s)
        )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[QdrantClient]:
        try:
            with self._lock:
                yield self._client
        except ResponseHandlingException as error:
            raise IndexUnavailable(f"Qdrant does not answer: {error}") from error
        except UnexpectedResponse as error:
            if error.status_code in (401, 403):
                said = "Qdrant refuses the key; set PINPOINT_QDRANT_API_KEY"
                raise Misconfigured(said) from error
            raise IndexUnavailable(f"Qdrant answered {error}") from error

    def _collection(self) -> str | None:
        with self._asking() as client:
            aliases = client.get_aliases().aliases
        names = [each.collection_name for each in aliases if each.alias_name == self._alias]
        return names[0] if names else None

    def _dims(self, fresh: bool = False) -> Mapping[str, int]:
        if fresh or not self._known_dims:
            name = self._collection()
            if name is None:
                raise IndexUnavailable("there is no index yet; it is made when the bundle is known")
            with self._asking() as client:
                vectors = client.get_collection(name).config.params.vectors
            named = vectors if isinstance(vectors, dict) else {}
            self._known_dims = {channel: each.size for channel, each in named.items()}
        return self._known_dims

    def _check(self, channel: str, vector: Any) -> None:
        try:
            rules.check_vector(channel, vector, self._dims())
        except BadBundle:
            # Another process may have switched the alias to another contract.
            rules.check_vector(channel, vector, self._dims(fresh=True))

    def info(self) -> IndexInfo:
        """What the index holds and which build it is."""
        name = self._collection()
        if name is None:
            return rules.no_index("qdrant", "there is no index yet")
        _, contract, build = name.rsplit(".", 2)
        with self._asking() as client:
            found = client.get_collection(name)
        return IndexInfo(
            engine="qdrant",
            ready=True,
            contract=contract,
            build=build,
            points=self.count(),
            indexed_vectors=found.indexed_vectors_count or 0,
        )

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            BadBundle: It is there, for another contract.
        """
        name = self._collection()
        if name is None:
            self._point_to(self._create(spec, rules.new_build()))
            return
        contract, dims = name.rsplit(".", 2)[1], dict(self._dims(fresh=True))
        if (contract, dims) != (spec.contract, dict(spec.dims)):
            raise BadBundle(
                f"the index holds vectors of contract {contract} {dims}, the bundle gives "
                f"{spec.contract} {dict(spec.dims)}; run `pinpoint index rebuild`"
            )

    def _create(self, spec: IndexSpec, build: str) -> str:
        if not _PLAIN.fullmatch(spec.contract):
            raise BadBundle(f"contract {spec.contract!r} cannot be part of a collection's name")
        name = f"{self._alias}.{spec.contract}.{build}"
        with self._asking() as client:
            client.create_collection(name, **collection_config(spec.dims))
            if not self._local:
                for field, schema in PAYLOAD_INDEXES.items():
                    client.create_payload_index(name, field, schema, wait=True)
        return name

    def _point_to(self, name: str) -> None:
        create = m.CreateAliasOperation(
            create_alias=m.CreateAlias(collection_name=name, alias_name=self._alias)
        )
        with self._asking() as client:
            client.update_collection_aliases([create])
        self._known_dims = {}

    def rebuild(self, source: PointSource) -> None:
        """Build the next collection from PostgreSQL beside the live one and switch the alias.

        Rows that change meanwhile are replayed before and after the switch.
        """
        before, mark = self._collection(), source.watermark()
        name = self._create(source.spec(), rules.new_build())
        try:
            self._bring(source, name, 0)
            again = source.watermark()
            self._bring(source, name, mark)
            self._point_to(name)
        except BaseException:
            self._remove(name)
            raise
        self._bring(source, name, again)
        if before is not None:
            self._remove(before)

    def _remove(self, name: str) -> None:
        with self._asking() as client:
            client.delete_collection(name)

    def _bring(self, source: PointSource, name: str, since: int) -> None:
        for points in source.stream(since=since):
            self._upsert(name, points)
        self._delete(name, source.tombstones(since=since))

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is."""
        for point in points:
            for channel, vector in point.vectors.items():
                self._check(channel, vector)
        self._dims()
        self._upsert(self._alias, points)

    def _upsert(self, name: str, points: Sequence[IndexPoint]) -> None:
        for version, group in rules.newest(points).items():
            for part in rules.slices(group, rules.UPSERT_SLICE):
                self._write(name, rows_of(part), may_replace(version, tombstone=False))

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        self._dims()
        self._delete(self._alias, versions)

    def _delete(self, name: str, versions: Mapping[UUID, int]) -> None:
        for version, ids in rules.by_version(versions).items():
            for part in rules.slices(ids, rules.UPSERT_SLICE):
                grave = rules.tombstone(version)
                rows = [m.PointStruct(id=str(each), vector={}, payload=grave) for each in part]
                self._write(name, rows, may_replace(version, tombstone=True))

    def _write(self, name: str, rows: list[m.PointStruct], condition: m.Filter) -> None:
        with self._asking() as client:
            # Medium: writes of one point go through one replica, so that versions decide.
            ordering = m.WriteOrdering.MEDIUM
            client.upsert(name, rows, wait=True, ordering=ordering, update_filter=condition)

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        self._dims()
        for part in rules.slices([str(each) for each in ids], 1_000):
            with self._asking() as client:
                client.delete(self._alias, m.PointIdsList(points=list(part)), wait=True)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id."""
        for query in queries:
            rules.check_limit(query)
            self._check(query.channel, query.vector)
        return rules.answer_whole(queries, self._ask)

    def _ask(self, questions: Sequence[tuple[IndexQuery, int]]) -> list[list[Hit]]:
        requests = [
            m.QueryRequest(
                query=query.vector.tolist(),
                using=query.channel,
                filter=filter_of(plan(query.filter)),
                limit=limit,
                params=None
                if self._local
                else search_params(way(query, self._chooser, self.count), limit),
                with_payload=True,
            )
            for query, limit in questions
        ]
        with self._asking() as client:
            found = client.query_batch_points(self._alias, requests)
        return [[_hit(row) for row in each.points] for each in found]

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        self._dims()
        with self._asking() as client:
            rows = client.retrieve(self._alias, [str(each) for each in ids], True, vectors)
        return [
            rules.stored_point(UUID(str(row.id)), row.payload, row.vector)
            for row in rows
            if row.payload and rules.is_alive(row.payload)
        ]

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list is the end.

        Tombstones belong to no organisation: they are seen only without `organization_id`.
        """
        self._dims()
        if limit < 1 or after == rules.LAST_ID:
            return []
        start = None if after is None else str(UUID(int=after.int + 1))
        where = organization_id and filter_of(plan(IndexFilter(organization_id=organization_id)))
        with self._asking() as client:
            rows, _ = client.scroll(
                self._alias, where or None, limit, offset=start, with_payload=["version", "deleted"]
            )
        return [rules.scrolled(UUID(str(row.id)), row.payload or {}) for row in rows]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        self._dims()
        condition = m.Filter(must_not=[buried()]) if where is None else filter_of(plan(where))
        with self._asking() as client:
            return client.count(self._alias, condition, exact=True).count

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def drop(self) -> None:
        """Delete the collection that serves and its alias."""
        name = self._collection()
        if name is not None:
            self._remove(name)
        self._known_dims = {}


def _hit(row: m.ScoredPoint) -> Hit:
    return rules.hit(UUID(str(row.id)), float(row.score), row.payload or {})
