"""`ports.Ledger`: the catalogue as workers see it, one transaction for each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal
from uuid import UUID

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from pinpoint.ports import EncodePlaces, OriginalKeeper
from pinpoint.records import (
    IMAGE_CHANNEL,
    ClaimedItem,
    Embedded,
    Grave,
    IndexPoint,
    Kept,
    Rejected,
)
from pinpoint.records.limits import Unstorable
from pinpoint.store import erasing, holding, keeping, leases, placing
from pinpoint.store.database import Transactions
from pinpoint.store.field_layers import with_stored_layers
from pinpoint.store.points import select_points, to_points
from pinpoint.store.rows import among, pack
from pinpoint.store.tables import embeddings, images


class Ledger:
    """Worker-side access as the owner role.

    Args:
        transactions: Units of work on the owner's engine.
        contract: Says the digest of the bundle in use; asked only when rows are kept.
        lease_s: How long a claim holds that nobody renews.
        max_attempts: Claims after which an item is failed.
    """

    def __init__(
        self,
        transactions: Transactions,
        *,
        contract: Callable[[], str],
        lease_s: float,
        max_attempts: int,
    ) -> None:
        self._transactions = transactions
        self._contract = contract
        self._lease_s = lease_s
        self._max_attempts = max_attempts

    def claim(self, ids: Sequence[UUID], worker: str) -> list[ClaimedItem]:
        """Take items that nobody else holds; those tried too often are failed instead.

        Those whose row cannot be read are rejected with a reason, and are not returned.
        """
        with self._transactions.begin() as unit:
            rows = leases.claim(
                unit.connection,
                ids,
                worker,
                lease_s=self._lease_s,
                max_attempts=self._max_attempts,
            )
        items: list[ClaimedItem] = []
        unreadable: dict[UUID, Rejected] = {}
        for row in rows:
            try:
                items.append(leases.to_claimed(row))
            except Unstorable as error:
                unreadable[row.item_id] = leases.refused(row, error)
        self.settle(unreadable, "rejected")
        with self._transactions.begin() as unit:
            return with_stored_layers(unit.connection, items)

    def holding(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Keep a worker's leases from ending until the block is left, an hour at most."""
        return holding.holding(self._transactions, ids, worker, lease_s=self._lease_s)

    def settle(
        self, verdicts: Mapping[UUID, Rejected], verdict: Literal["rejected", "failed"]
    ) -> None:
        """Give items their last word."""
        if not verdicts:
            return
        with self._transactions.begin() as unit:
            leases.settle(unit.connection, verdicts, verdict)

    def keep(self, readings: Sequence[keeping.Entry], originals: OriginalKeeper) -> list[Kept]:
        """Turn readings of one source into rows, thumbnails and counters, or into duplicates."""
        with self._transactions.begin() as unit:
            kept = keeping.keep(unit, readings, self._contract(), originals)
            twins = {one.item_id: one.duplicate for one in kept if one.duplicate is not None}
            leases.settle(unit.connection, twins, "duplicate")
            return kept

    def save_vectors(
        self,
        contract: str,
        vectors: Sequence[Embedded],
        *,
        again: bool = False,
        encode_places: EncodePlaces | None = None,
    ) -> None:
        """Store vectors as fp16; one whose image has other bytes by now is dropped."""
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(images.c.id, images.c.organization_id, images.c.sha256)
                .where(among(images.c.id, [vector.image_id for vector in vectors]))
                .order_by(images.c.id)
                .with_for_update()
            )
            current = {row.id: row for row in rows}
            values = [
                {
                    "image_id": one.image_id,
                    "contract": contract,
                    "channel": IMAGE_CHANNEL,
                    "organization_id": current[one.image_id].organization_id,
                    "vector": pack(one.vector),
                }
                for one in vectors
                if one.image_id in current and current[one.image_id].sha256.hex() == one.sha256
            ]
            if values:
                statement = insert(embeddings)
                if again:
                    # It may be made of a rendition; what a batch made meanwhile is not.
                    statement = statement.on_conflict_do_nothing()
                else:
                    statement = statement.on_conflict_do_update(
                        constraint="pk_embeddings", set_={"vector": statement.excluded.vector}
                    )
                unit.connection.execute(statement, values)
            if values and encode_places is not None:
                mine = among(images.c.id, [value["image_id"] for value in values])
                found = unit.connection.execute(select_points(contract).where(mine)).all()
                points = to_points(found)
                placing.placed(unit.connection, points, contract, encode_places)
            if values and again:
                unit.connection.execute(
                    update(images)
                    .where(among(images.c.id, [value["image_id"] for value in values]))
                    .values(changed_xid=images.c.changed_xid)  # a trigger sets it
                )

    @contextmanager
    def indexing(
        self, ids: Sequence[UUID], contract: str, encode_places: EncodePlaces | None = None
    ) -> Iterator[list[IndexPoint]]:
        """Pending images that have a vector, locked; leaving marks them indexed.

        The row locks are held while the index is written: so a deletion, a move or a newer version
        comes before or after, never between.
        """
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select_points(contract)
                .where(among(images.c.id, ids), images.c.state == "pending")
                .order_by(images.c.id)
                .with_for_update(of=images)
            ).all()
            points = to_points(rows)
            placing.forget_others(unit.connection, points, contract)
            points = placing.placed(unit.connection, points, contract, encode_places)
            yield points
            done = [point.id for point in points]
            unit.connection.execute(
                update(images)
                .where(among(images.c.id, done))
                .values(state="indexed", failure=None, updated_at=func.now())
            )
            leases.settle_indexed(unit.connection, ids)

    def give_back(self, ids: Sequence[UUID], worker: str) -> None:
        """Free items that could not be worked on through no fault of theirs."""
        with self._transactions.begin() as unit:
            leases.give_back(unit.connection, ids, worker)

    def put_off(self, verdicts: Mapping[UUID, Rejected], worker: str) -> None:
        """Free items after an error that nobody foresaw; their try counts."""
        with self._transactions.begin() as unit:
            leases.put_off(unit.connection, verdicts, worker)

    def fail_images(self, ids: Sequence[UUID], reason: str, detail: str) -> None:
        """Give images up that the index cannot take, and the items that wait for them."""
        with self._transactions.begin() as unit:
            leases.fail_images(unit.connection, ids, reason, detail)

    def unused(self, locators: Sequence[str]) -> list[str]:
        """Those of these blobs that no image and no open item names; none during a backup."""
        with self._transactions.begin() as unit:
            if not erasing.bytes_may_go(unit.connection):
                return []
            return leases.unused(unit.connection, locators)

    def release(self, worker: str) -> int:
        """Give up every lease of a worker; returns how many items are free again."""
        with self._transactions.begin() as unit:
            return leases.release(unit.connection, worker)

    @contextmanager
    def erasing(self, ids: Sequence[UUID] | None) -> Iterator[tuple[list[Grave], list[str]]]:
        """Deleted images, locked, and the blobs only they need; leaving removes the rows.

        During a backup there are none: they wait for the next sweep.
        """
        with self._transactions.begin() as unit:
            if not erasing.bytes_may_go(unit.connection):
                yield [], []
                return
            graves = erasing.buried(unit.connection, ids)
            yield graves, erasing.unshared(unit.connection, graves)
            erasing.remove_rows(unit.connection, [grave.id for grave in graves])

    @contextmanager
    def forgetting(self, older_than_s: float) -> Iterator[list[UUID]]:
        """Ids whose tombstones are old enough; leaving without an error drops them."""
        with self._transactions.begin() as unit:
            yield erasing.expired(unit.connection, older_than_s)

    def leases(self) -> list[str]:
        """Workers that hold a lease."""
        with self._transactions.begin() as unit:
            return leases.holders(unit.connection)

    def lost_items(self, limit: int) -> list[tuple[UUID, int]]:
        """Unsettled items without a valid lease, oldest first, with their attempts."""
        with self._transactions.begin() as unit:
            return leases.lost(unit.connection, limit, lease_s=self._lease_s)

    def lost_images(self, contract: str, limit: int) -> list[UUID]:
        """Pending images that have a vector and so only wait for the index."""
        with self._transactions.begin() as unit:
            wanted = (
                select(images.c.id)
                .join(embeddings, embeddings.c.image_id == images.c.id)
                .where(images.c.state == "pending", embeddings.c.contract == contract)
                .where(embeddings.c.channel == IMAGE_CHANNEL)
                .order_by(images.c.id)
                .limit(limit)
            )
            return list(unit.connection.execute(wanted).scalars())

    def lost_graves(self, limit: int) -> list[UUID]:
        """Deleted images that still have a row; erased sources that are empty go on the way."""
        with self._transactions.begin() as unit:
            erasing.remove_empty_sources(unit.connection)
            wanted = select(images.c.id).where(images.c.state == "deleted")
            return list(
                unit.connection.execute(wanted.order_by(images.c.id).limit(limit)).scalars()
            )

    def versions(self, after: UUID | None, limit: int, contract: str) -> list[tuple[UUID, int]]:
        """`(id, version)` of all rows that the index must hold, in id order."""
        wanted = (
            select(images.c.id, images.c.version)
            .join(embeddings, embeddings.c.image_id == images.c.id)
            .where(images.c.state == "indexed", embeddings.c.contract == contract)
            .where(embeddings.c.channel == IMAGE_CHANNEL)
            .order_by(images.c.id)
            .limit(limit)
        )
        if after is not None:
            wanted = wanted.where(images.c.id > after)
        with self._transactions.begin() as unit:
            return [(row.id, row.version) for row in unit.connection.execute(wanted)]

    def live(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        """Versions of those of these ids that have a row which is indexed or waits for it."""
        with self._transactions.begin() as unit:
            return erasing.live(unit.connection, ids)

    @contextmanager
    def strays(
        self, source_id: UUID, ids: Sequence[UUID]
    ) -> Iterator[tuple[list[UUID], dict[UUID, int]]]:
        """Those of a source's ids without a live row, and the tombstones some of them have.

        Until the block is left no image is added to the source, so none of them gets a row.
        """
        with self._transactions.begin() as unit:
            erasing.lock_source(unit.connection, source_id)
            yield erasing.strays(unit.connection, ids)

    def overtake(self, versions: Mapping[UUID, int]) -> None:
        """Raise live rows above these versions and send them through the index stage again."""
        if not versions:
            return
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(images)
                .where(
                    images.c.id == bindparam("image"),
                    images.c.version <= bindparam("found"),
                    images.c.state.in_(("pending", "indexed")),
                )
                .values(version=bindparam("above"), state="pending"),
                [
                    {"image": image, "found": found, "above": found + 1}
                    for image, found in sorted(versions.items())
                ],
            )

    def mark_pending(self, ids: Sequence[UUID]) -> None:
        """Send indexed images through the index stage again."""
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(images)
                .where(among(images.c.id, ids), images.c.state == "indexed")
                .values(state="pending")
            )
