"""Vector index on a Qdrant server or cluster (or qdrant-client's `:memory:`, for tests).

One collection per contract and build, named `<alias>.<contract>.<build>`. The alias names the
collection that serves, so that a rebuild ends with a switch of the alias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from qdrant_client import QdrantClient
from qdrant_client import models as m

from pinpoint import logs
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import BadBundleError, ConfigurationError
from pinpoint.iteration import batched
from pinpoint.ports import PointSource
from pinpoint.records import Hit, IndexFilter, IndexInfo, IndexPoint, IndexQuery, IndexSpec
from pinpoint.store.vectors import payload
from pinpoint.store.vectors.filters import build_filter, split_by_partition
from pinpoint.store.vectors.isolated_upsert import upsert_skipping_rejected
from pinpoint.store.vectors.qdrant_alias import INSTALLATION, QdrantAlias, contract_of_collection
from pinpoint.store.vectors.qdrant_filters import (
    PAYLOAD_INDEXES,
    collection_config,
    is_tombstone,
    may_replace,
    payload_rows,
    search_params,
    to_qdrant_filter,
)
from pinpoint.store.vectors.strategy import StrategyChooser, choose_by_matches, choose_strategy
from pinpoint.store.vectors.verify import check_counts, verify_self_retrieval

_log = logs.get_logger(__name__)
_COLLECTION_NAME_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """Shards and copies of a collection on a cluster; None is the server's default."""

    shards: int | None = None
    replicas: int | None = None
    write_replicas: int | None = None


class QdrantIndex:
    """The index on a Qdrant server.

    Args:
        url: As in `QdrantAlias`.
        api_key: The server's key.
        alias: Name of the alias; several installations may share a server under different aliases.
        timeout_s: Maximum wait for one request, in seconds.
        chooser: Chooses the search strategy of a query that does not require exact search.
        installation: Returns the id of this installation; collections of another one are rejected.
        client: A client shared with other indexes; None creates one.
        breaker: As in `QdrantAlias`.
        replication: Shards and copies of new collections.
    """

    def __init__(  # noqa: PLR0913 - see long_functions.toml
        self,
        url: str,
        api_key: str | None = None,
        alias: str = "pinpoint",
        timeout_s: int = 30,
        *,
        chooser: StrategyChooser = choose_by_matches,
        installation: Callable[[], str] | None = None,
        client: QdrantClient | None = None,
        breaker: CircuitBreaker | None = None,
        replication: Replication = Replication(),
    ) -> None:
        self._chooser = chooser
        self._replication = replication
        self._alias = QdrantAlias(
            url,
            api_key,
            alias,
            timeout_s,
            installation=installation,
            client=client,
            breaker=breaker,
        )

    def info(self) -> IndexInfo:
        """Content and build of the index."""
        if self._alias.collection() is None:
            return payload.no_index("qdrant", "there is no index yet")
        return self._alias.with_live_collection(self._read_info)

    def _read_info(self, name: str) -> IndexInfo:
        with self._alias.open_client() as client:
            collection = client.get_collection(name)
        params = collection.config.params
        return IndexInfo(
            engine="qdrant",
            ready=True,
            contract=contract_of_collection(name),
            build=name.rsplit(".", 1)[1],
            points=self._count_in(name, None),
            indexed_vectors=collection.indexed_vectors_count or 0,
            installation=self._alias.owner_of(name),
            shards=params.shard_number,
            replicas=params.replication_factor,
        )

    def ensure(self, spec: IndexSpec) -> None:
        """Create the index if it does not exist.

        Raises:
            ModelMismatchError: The index exists for another contract.
            ConfigurationError: The index belongs to another installation.
        """
        name = self._alias.collection()
        if name is None:
            self._alias.switch(self._create_collection(spec, payload.new_build()))
            return
        self._alias.check_owner(name)
        payload.check_spec(contract_of_collection(name), self._alias.dims(name), spec)

    def _create_collection(self, spec: IndexSpec, build: str) -> str:
        if not _COLLECTION_NAME_PART.fullmatch(spec.contract):
            raise BadBundleError(
                f"contract {spec.contract!r} cannot be part of a collection's name"
            )
        name = f"{self._alias.name}.{spec.contract}.{build}"
        with self._alias.open_client() as client:
            client.create_collection(
                name,
                **collection_config(spec.dims),
                shard_number=self._replication.shards,
                replication_factor=self._replication.replicas,
                write_consistency_factor=self._replication.write_replicas,
                metadata={} if spec.installation is None else {INSTALLATION: spec.installation},
            )
            if not self._alias.local:
                for field, schema in PAYLOAD_INDEXES.items():
                    client.create_payload_index(name, field, schema, wait=True)
        return name

    def rebuild(self, source: PointSource, *, take_over: bool = False) -> None:
        """Build the next collection while the live one serves, and switch the alias.

        Rows that change during the build are replayed before and after the switch. A collection for
        another contract than the live one is verified first.

        Args:
            source: Source of the points.
            take_over: Also replace a collection of another installation. That collection is not
                deleted, because another installation may use it.

        Raises:
            IndexUnavailableError: The new collection fails the verification.
            ConfigurationError: The live collection belongs to another installation.
        """
        old_name, start_mark = self._alias.collection(), source.watermark()
        is_ours = old_name is None or self._belongs_to_installation(old_name)
        if old_name is not None and not take_over:
            self._alias.check_owner(old_name)
        name = self._create_collection(source.spec(), payload.new_build())
        try:
            self._replay_changes(source, name, 0)
            second_mark = source.watermark()
            self._replay_changes(source, name, start_mark)
            if old_name is not None and contract_of_collection(old_name) != contract_of_collection(
                name
            ):
                verify_self_retrieval(_Collection(self, name))
                check_counts(partial(self._count_in, name, None), source, second_mark)
            self._alias.switch(name)
        except BaseException:
            self._alias.remove(name)
            raise
        if old_name is not None and not is_ours:
            _log.warning("collection of another installation is left", collection=old_name)
        elif old_name is not None:
            # Before the replay: a writer that holds the old name then fails and uses the new one.
            self._alias.remove(old_name)
        self._replay_changes(source, name, second_mark)

    def _belongs_to_installation(self, name: str) -> bool:
        try:
            self._alias.check_owner(name)
        except ConfigurationError:
            return False
        return True

    def _replay_changes(self, source: PointSource, name: str, since: int) -> None:
        for points in source.stream(since=since):
            upsert_skipping_rejected(partial(self._upsert_into, name), points)
        self._delete_from(name, source.tombstones(since=since))

    def upsert(self, points: Sequence[IndexPoint], contract: str | None = None) -> None:
        """Write points; skip a point whose stored version (also of a tombstone) is higher."""

        def write(name: str) -> None:
            payload.check_contract(contract_of_collection(name), contract)
            self._upsert_into(name, points)

        self._alias.with_live_collection(write)

    def _upsert_into(self, name: str, points: Sequence[IndexPoint]) -> None:
        for point in points:
            for channel, vector in point.vectors.items():
                payload.check_vector(channel, vector, self._alias.dims(name))
        for version, group in payload.latest_per_version(points).items():
            for chunk in batched(group, payload.UPSERT_SLICE):
                self._write_rows(name, payload_rows(chunk), may_replace(version, tombstone=False))

    def write_tombstones(self, versions: Mapping[UUID, int]) -> None:
        """Write tombstones of these versions; no older version can replace them."""
        self._alias.with_live_collection(lambda name: self._delete_from(name, versions))

    def _delete_from(self, name: str, versions: Mapping[UUID, int]) -> None:
        for version, ids in payload.group_by_version(versions).items():
            for chunk in batched(ids, payload.UPSERT_SLICE):
                tombstone = payload.tombstone(version)
                rows = [
                    m.PointStruct(id=str(point_id), vector={}, payload=tombstone)
                    for point_id in chunk
                ]
                self._write_rows(name, rows, may_replace(version, tombstone=True))

    def _write_rows(self, name: str, rows: list[m.PointStruct], condition: m.Filter) -> None:
        with self._alias.open_client() as client:
            # Medium: all writes of one point go through one replica, so that their versions are
            # compared.
            ordering = m.WriteOrdering.MEDIUM
            client.upsert(name, rows, wait=True, ordering=ordering, update_filter=condition)

    def delete_points(self, ids: Iterable[UUID]) -> None:
        """Delete points and tombstones, when no writer of an old version can be alive."""
        point_ids = [str(point_id) for point_id in ids]

        def remove(name: str) -> None:
            for chunk in batched(point_ids, 1_000):
                with self._alias.open_client() as client:
                    client.delete(name, m.PointIdsList(points=list(chunk)), wait=True)

        self._alias.with_live_collection(remove)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Run several queries in one request; hits are best first, ties by `Hit.tie_key`."""
        for query in queries:
            payload.check_limit(query)
        return self._alias.with_live_collection(
            lambda name: self._search_in(name, queries, self._chooser)
        )

    def _search_in(
        self, name: str, queries: Sequence[IndexQuery], chooser: StrategyChooser
    ) -> list[list[Hit]]:
        payload.check_contract(contract_of_collection(name), *(query.contract for query in queries))
        for query in queries:
            payload.check_vector(query.channel, query.vector, self._alias.dims(name))
        return payload.extend_ties(queries, partial(self._run_queries, name, chooser))

    def _run_queries(
        self, name: str, chooser: StrategyChooser, queries: Sequence[tuple[IndexQuery, int]]
    ) -> list[list[Hit]]:
        count, estimate = partial(self._count_in, name), partial(self._estimate_partitions, name)
        requests = [
            m.QueryRequest(
                query=query.vector.tolist(),
                using=query.channel,
                filter=to_qdrant_filter(build_filter(query.filter)),
                limit=limit,
                params=None
                if self._alias.local
                else search_params(choose_strategy(query, chooser, count, estimate), limit),
                with_payload=True,
            )
            for query, limit in queries
        ]
        with self._alias.open_client() as client:
            responses = client.query_batch_points(name, requests)
        return [[_to_hit(row) for row in response.points] for response in responses]

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points with these ids, in no order; missing ids are omitted."""
        return self._alias.with_live_collection(lambda name: self._fetch_from(name, ids, vectors))

    def _fetch_from(self, name: str, ids: Sequence[UUID], vectors: bool) -> list[IndexPoint]:
        with self._alias.open_client() as client:
            rows = client.retrieve(name, [str(point_id) for point_id in ids], True, vectors)
        return [
            payload.stored_point(UUID(str(row.id)), row.payload, row.vector)
            for row in rows
            if row.payload and payload.is_live_payload(row.payload)
        ]

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list means the end.

        Tombstones belong to no organization: they are listed only without `organization_id`.
        """
        return self._alias.with_live_collection(
            lambda name: self._scroll_in(name, after, limit, organization_id)
        )

    def _scroll_in(
        self, name: str, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        if limit < 1 or after == payload.LAST_ID:
            return []
        start = None if after is None else str(UUID(int=after.int + 1))
        owner = organization_id and IndexFilter(organization_id=organization_id)
        where = owner and to_qdrant_filter(build_filter(owner))
        with self._alias.open_client() as client:
            rows, _ = client.scroll(
                name, where or None, limit, offset=start, with_payload=["version", "deleted"]
            )
        return [payload.cut_scroll_page(UUID(str(row.id)), row.payload or {}) for row in rows]

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        return self._alias.with_live_collection(lambda name: self._count_in(name, where))

    def _count_in(self, name: str, where: IndexFilter | None) -> int:
        alive = m.Filter(must_not=[is_tombstone()])
        condition = alive if where is None else to_qdrant_filter(build_filter(where))
        with self._alias.open_client() as client:
            return client.count(name, condition, exact=True).count

    def _estimate_partitions(self, name: str, where: IndexFilter) -> tuple[int, bool]:
        partitions, complete = split_by_partition(where)
        with self._alias.open_client() as client:
            counts = [
                client.count(name, to_qdrant_filter(build_filter(partition)), exact=False)
                for partition in partitions
            ]
        return sum(partition.count for partition in counts), complete

    def close(self) -> None:
        """Close the client."""
        self._alias.close()

    def drop(self) -> None:
        """Delete the live collection and its alias."""
        name = self._alias.collection()
        if name is not None:
            self._alias.check_owner(name)
            self._alias.remove(name)


class _Collection:
    """One collection for `verify`; non-exact queries use the graph."""

    def __init__(self, index: QdrantIndex, name: str) -> None:
        self._index, self._name = index, name

    def scroll(self, after: UUID | None, limit: int) -> list[tuple[UUID, int, bool]]:
        return self._index._scroll_in(self._name, after, limit)

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        return self._index._fetch_from(self._name, ids, vectors)

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        return self._index._search_in(self._name, queries, lambda _: "acorn")


def _to_hit(row: m.ScoredPoint) -> Hit:
    return payload.hit(UUID(str(row.id)), float(row.score), row.payload or {})
