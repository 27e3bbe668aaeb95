"""The index over a Qdrant server or cluster (or qdrant-client's `:memory:`, for tests).

One collection for each contract and build, `<alias>.<contract>.<build>`; the alias names the one
that serves, so that a rebuild is a switch of the alias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from qdrant_client import QdrantClient
from qdrant_client import models as m

from pinpoint import logs
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import BadBundle, Misconfigured
from pinpoint.ports import PointSource
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store import vectors_payload as rules
from pinpoint.store.vectors_apart import upsert_apart
from pinpoint.store.vectors_filter import lists, plan
from pinpoint.store.vectors_plan import Chooser, choose, way
from pinpoint.store.vectors_qdrant_alias import INSTALLATION, Alias, contract_of
from pinpoint.store.vectors_qdrant_terms import (
    PAYLOAD_INDEXES,
    buried,
    collection_config,
    filter_of,
    may_replace,
    rows_of,
    search_params,
)
from pinpoint.store.vectors_verify import check_whole, verify

_log = logs.get(__name__)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class QdrantIndex:
    """The index on a server.

    Args:
        url: `http(s)://…` of the server, or `:memory:`.
        api_key: The server's key.
        alias: Name of the alias; several installations may share a server under different ones.
        timeout_s: Longest wait for one request.
        chooser: How a question is searched that need not be exact.
        installation: Says which installation this is: a collection of another one is refused.
        client: One that is shared with other indexes; by default a new one.
        breaker: As `Alias`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        alias: str = "pinpoint",
        timeout_s: int = 30,
        *,
        chooser: Chooser = choose,
        installation: Callable[[], str] | None = None,
        client: QdrantClient | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._chooser = chooser
        self._alias = Alias(
            url,
            api_key,
            alias,
            timeout_s,
            installation=installation,
            client=client,
            breaker=breaker,
        )

    def info(self) -> IndexInfo:
        """What the index holds and which build it is."""
        if self._alias.collection() is None:
            return rules.no_index("qdrant", "there is no index yet")
        return self._alias.in_live(self._info)

    def _info(self, name: str) -> IndexInfo:
        with self._alias.asking() as client:
            found = client.get_collection(name)
        return IndexInfo(
            engine="qdrant",
            ready=True,
            contract=contract_of(name),
            build=name.rsplit(".", 1)[1],
            points=self._count(name, None),
            indexed_vectors=found.indexed_vectors_count or 0,
            installation=self._alias.owner_of(name),
        )

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            OtherContract: It is there, for another contract.
            Misconfigured: It is there, and belongs to another installation.
        """
        name = self._alias.collection()
        if name is None:
            self._alias.switch(self._create(spec, rules.new_build()))
            return
        self._alias.check_owner(name)
        rules.check_spec(contract_of(name), self._alias.dims(name), spec)

    def _create(self, spec: IndexSpec, build: str) -> str:
        if not _PLAIN.fullmatch(spec.contract):
            raise BadBundle(f"contract {spec.contract!r} cannot be part of a collection's name")
        name = f"{self._alias.name}.{spec.contract}.{build}"
        with self._alias.asking() as client:
            client.create_collection(
                name,
                **collection_config(spec.dims),
                metadata={} if spec.installation is None else {INSTALLATION: spec.installation},
            )
            if not self._alias.local:
                for field, schema in PAYLOAD_INDEXES.items():
                    client.create_payload_index(name, field, schema, wait=True)
        return name

    def rebuild(self, source: PointSource, *, take_over: bool = False) -> None:
        """Build the next collection from PostgreSQL beside the live one and switch the alias.

        Rows that change meanwhile are replayed before and after the switch. A collection for
        another contract than the live one is verified first.

        Args:
            source: Where the points come from.
            take_over: Also where the alias leads to another installation's collection, which is
                left as it is: it may be somebody's.

        Raises:
            IndexUnavailable: It does not hold, or does not find, what it should.
            Misconfigured: The live one belongs to another installation.
        """
        before, mark = self._alias.collection(), source.watermark()
        ours = before is None or self._is_ours(before)
        if before is not None and not take_over:
            self._alias.check_owner(before)
        name = self._create(source.spec(), rules.new_build())
        try:
            self._bring(source, name, 0)
            again = source.watermark()
            self._bring(source, name, mark)
            if before is not None and contract_of(before) != contract_of(name):
                verify(_Collection(self, name))
                check_whole(partial(self._count, name, None), source, again)
            self._alias.switch(name)
        except BaseException:
            self._alias.remove(name)
            raise
        if before is not None and not ours:
            _log.warning("collection of another installation is left", collection=before)
        elif before is not None:
            # First, so that a writer who still holds the old name fails and takes the new one.
            self._alias.remove(before)
        self._bring(source, name, again)

    def _is_ours(self, name: str) -> bool:
        try:
            self._alias.check_owner(name)
        except Misconfigured:
            return False
        return True

    def _bring(self, source: PointSource, name: str, since: int) -> None:
        for points in source.stream(since=since):
            upsert_apart(partial(self._upsert, name), points)
        self._delete(name, source.tombstones(since=since))

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is."""

        def write(name: str) -> None:
            rules.check_contract(contract_of(name), contract)
            self._upsert(name, points)

        self._alias.in_live(write)

    def _upsert(self, name: str, points: Sequence[IndexPoint]) -> None:
        for point in points:
            for channel, vector in point.vectors.items():
                rules.check_vector(channel, vector, self._alias.dims(name))
        for version, group in rules.newest(points).items():
            for part in rules.slices(group, rules.UPSERT_SLICE):
                self._write(name, rows_of(part), may_replace(version, tombstone=False))

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        self._alias.in_live(lambda name: self._delete(name, versions))

    def _delete(self, name: str, versions: Mapping[UUID, int]) -> None:
        for version, ids in rules.by_version(versions).items():
            for part in rules.slices(ids, rules.UPSERT_SLICE):
                grave = rules.tombstone(version)
                rows = [m.PointStruct(id=str(each), vector={}, payload=grave) for each in part]
                self._write(name, rows, may_replace(version, tombstone=True))

    def _write(self, name: str, rows: list[m.PointStruct], condition: m.Filter) -> None:
        with self._alias.asking() as client:
            # Medium: writes of one point go through one replica, so that versions decide.
            ordering = m.WriteOrdering.MEDIUM
            client.upsert(name, rows, wait=True, ordering=ordering, update_filter=condition)

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        listed = [str(each) for each in ids]

        def remove(name: str) -> None:
            for part in rules.slices(listed, 1_000):
                with self._alias.asking() as client:
                    client.delete(name, m.PointIdsList(points=list(part)), wait=True)

        self._alias.in_live(remove)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id."""
        for query in queries:
            rules.check_limit(query)
        return self._alias.in_live(lambda name: self._search(name, queries, self._chooser))

    def _search(
        self, name: str, queries: Sequence[IndexQuery], chooser: Chooser
    ) -> list[list[Hit]]:
        rules.check_contract(contract_of(name), *(query.contract for query in queries))
        for query in queries:
            rules.check_vector(query.channel, query.vector, self._alias.dims(name))
        return rules.answer_whole(queries, partial(self._ask, name, chooser))

    def _ask(
        self, name: str, chooser: Chooser, questions: Sequence[tuple[IndexQuery, int]]
    ) -> list[list[Hit]]:
        count, listed = partial(self._count, name), partial(self._listed, name)
        requests = [
            m.QueryRequest(
                query=query.vector.tolist(),
                using=query.channel,
                filter=self._filter(name, query.filter),
                limit=limit,
                params=None
                if self._alias.local
                else search_params(way(query, chooser, count, listed), limit),
                with_payload=True,
            )
            for query, limit in questions
        ]
        with self._alias.asking() as client:
            found = client.query_batch_points(name, requests)
        return [[_hit(row) for row in each.points] for each in found]

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        return self._alias.in_live(lambda name: self._fetch(name, ids, vectors))

    def _fetch(self, name: str, ids: Sequence[UUID], vectors: bool) -> list[IndexPoint]:
        with self._alias.asking() as client:
            rows = client.retrieve(name, [str(each) for each in ids], True, vectors)
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
        return self._alias.in_live(lambda name: self._scroll(name, after, limit, organization_id))

    def _scroll(
        self, name: str, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        if limit < 1 or after == rules.LAST_ID:
            return []
        start = None if after is None else str(UUID(int=after.int + 1))
        owner = organization_id and IndexFilter(organization_id=organization_id)
        where = owner and self._filter(name, owner)
        with self._alias.asking() as client:
            rows, _ = client.scroll(
                name, where or None, limit, offset=start, with_payload=["version", "deleted"]
            )
        return [rules.scrolled(UUID(str(row.id)), row.payload or {}) for row in rows]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        return self._alias.in_live(lambda name: self._count(name, where))

    def _count(self, name: str, where: IndexFilter | None) -> int:
        alive = m.Filter(must_not=[buried()])
        condition = alive if where is None else self._filter(name, where)
        with self._alias.asking() as client:
            return client.count(name, condition, exact=True).count

    def _listed(self, name: str, where: IndexFilter) -> tuple[int, bool]:
        each, whole = lists(where, shelves=self._alias.shelves(name))
        with self._alias.asking() as client:
            known = [client.count(name, self._filter(name, one), exact=False) for one in each]
        return sum(one.count for one in known), whole

    def _filter(self, name: str, where: IndexFilter) -> m.Filter:
        return filter_of(plan(where, shelves=self._alias.shelves(name)))

    def close(self) -> None:
        """Close the client."""
        self._alias.close()

    def drop(self) -> None:
        """Delete the collection that serves and its alias."""
        name = self._alias.collection()
        if name is not None:
            self._alias.check_owner(name)
            self._alias.remove(name)


class _Collection:
    """One collection as `vectors_verify` looks at it: by the graph unless told otherwise."""

    def __init__(self, index: QdrantIndex, name: str) -> None:
        self._index, self._name = index, name

    def scroll(self, after: UUID | None, limit: int) -> list[tuple[UUID, int, bool]]:
        return self._index._scroll(self._name, after, limit)

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        return self._index._fetch(self._name, ids, vectors)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        return self._index._search(self._name, queries, lambda _: "acorn")


def _hit(row: m.ScoredPoint) -> Hit:
    return rules.hit(UUID(str(row.id)), float(row.score), row.payload or {})
