"""Another bundle under a gallery that goes on serving.

what lacks vectors ─re-embed→ rows ─build→ the next index ─verify, switch→ it serves ─settle→ whole

Until the switch everything that others see is of the old contract: its index, its vectors, and what
workers ingest. Each step can be run again; what is missing in PostgreSQL is the work list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pinpoint.errors import Conflict
from pinpoint.ingest import pipeline
from pinpoint.ingest.pipeline import IngestParts
from pinpoint.ingest.reconcile import reconcile
from pinpoint.jobs import JobName
from pinpoint.ports import Backlog
from pinpoint.records import Drift, Rejected

_MAX_ROUNDS: Final = 20
_PAGE_SIZE: Final = 512

Progress = Callable[[int, int], None]
"""Told how many images of how many have been looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a change of the bundle came to."""

    bundle: str
    contract: str
    build: str | None
    live: int
    """Images that an index may hold."""
    already: int
    """Had their vectors before."""
    reembedded: int
    unreachable: Mapping[str, int]
    """Images that the index cannot hold now, by reason."""
    drift: Drift
    """What is left of the comparison of index and PostgreSQL."""


class Switching:
    """One change of the bundle.

    Args:
        parts: Of an ingest, with the encoder of the bundle that is to serve.
        backlog: Says what lacks vectors.
        images_per_s: Most images encoded a second.
        progress: Told how it goes.
    """

    def __init__(
        self,
        parts: IngestParts,
        backlog: Backlog,
        *,
        images_per_s: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._parts, self._backlog = parts, backlog
        self._contract = parts.encoder.contract
        self._images_per_s, self._progress = images_per_s, progress
        self._num_reembedded = 0
        self._unreachable: dict[UUID, Rejected] = {}

    def use(self, build: Callable[[Callable[[], None]], None], *, accept_missing: int = 0) -> Used:
        """Bring the bundle under the gallery.

        Args:
            build: Builds the index of the contract, verifies it and lets it serve; calls what it is
                given while it waits.
            accept_missing: Images that may be left out because nothing of them can be reached.

        Raises:
            Conflict: More cannot be reached; the old index goes on serving.
            Unavailable: A part of the stack is gone; run it again.
        """
        live, missing = self._backlog.live(), len(self._list_missing())
        self.catch_up()
        index = self._parts.index
        if index.info().contract != self._contract.digest:
            self._require_reachable(accept_missing)
            build(self.catch_up)
        drift = self._reconcile_index()
        return Used(
            bundle=self._contract.name,
            contract=self._contract.digest,
            build=index.info().build,
            live=live,
            already=live - missing,
            reembedded=self._num_reembedded,
            unreachable=_count_reasons(self._unreachable),
            drift=drift,
        )

    def catch_up(self) -> None:
        """Re-embed until nothing is left that can be; images may come all the while."""
        for _ in range(_MAX_ROUNDS):
            ids = [
                image_id for image_id in self._list_missing() if image_id not in self._unreachable
            ]
            if not ids:
                return
            num_images = 0

            def report_progress(images: int, total: int = len(ids)) -> None:
                nonlocal num_images
                num_images += images
                if self._progress is not None:
                    self._progress(num_images, total)

            report = pipeline.reembed_images(
                ids,
                self._parts,
                self._backlog,
                images_per_s=self._images_per_s,
                on_images=report_progress,
            )
            self._num_reembedded += report.done
            self._unreachable |= report.unreachable

    def _list_missing(self) -> list[UUID]:
        return self._backlog.missing(self._contract.digest, self._contract.dims)

    def _require_reachable(self, accept_missing: int) -> None:
        unreachable = [
            image_id for image_id in self._list_missing() if image_id in self._unreachable
        ]
        if len(unreachable) > accept_missing:
            reasons = ", ".join(
                f"{n} {why}" for why, n in _count_reasons(self._unreachable).items()
            )
            example = next(iter(self._unreachable.values()))
            raise Conflict(
                f"{len(unreachable)} of {self._backlog.live()} images would be lost to searches: nothing "
                f"of them can be encoded ({reasons}; e.g. {example.file}: {example.detail}). Bring their "
                f"files back and run this again, or accept it: --accept-missing {len(unreachable)}",
                reason="images_unreachable",
            )

    def _reconcile_index(self) -> Drift:
        """Bring what came under the old contract while the index was switched."""
        # Writers of the old contract are refused from the switch on. Those that wrote the old index
        # just before it have rows, but the new index not their last state.
        self._backlog.outlast()
        self._unreachable.clear()  # what has come back, or was replaced, counts again
        self.catch_up()
        ledger, contract = self._parts.ledger, self._contract.digest
        queue = _InlineQueue(self._parts)
        for _ in range(_MAX_ROUNDS):
            image_ids = ledger.lost_images(contract, _PAGE_SIZE)
            pipeline.index_images(image_ids, self._parts)
            drift = reconcile(
                ledger=ledger,
                index=self._parts.index,
                queue=queue,
                contract=contract,
                chunk=_PAGE_SIZE,
            )
            if not drift.total and len(image_ids) < _PAGE_SIZE:
                break
        return drift


class _InlineQueue:
    """`ports.JobQueue` that indexes here and now: there may be no worker."""

    def __init__(self, parts: IngestParts) -> None:
        self._parts = parts

    def send(self, name: JobName, ids: Sequence[UUID] = ()) -> None:
        pipeline.index_images(ids, self._parts)

    def check(self) -> None:
        return None

    def waiting(self) -> int:
        return 0


def _count_reasons(unreachable: Mapping[UUID, Rejected]) -> dict[str, int]:
    return dict(Counter(rejected.reason for rejected in unreachable.values()).most_common())
