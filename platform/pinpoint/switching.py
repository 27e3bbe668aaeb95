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

_ROUNDS: Final = 20
_PAGE: Final = 512

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
        self._done = 0
        self._lost: dict[UUID, Rejected] = {}

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
        live, missing = self._backlog.live(), len(self._missing())
        self.catch_up()
        index = self._parts.index
        if index.info().contract != self._contract.digest:
            self._check(accept_missing)
            build(self.catch_up)
        drift = self._settle()
        return Used(
            bundle=self._contract.name,
            contract=self._contract.digest,
            build=index.info().build,
            live=live,
            already=live - missing,
            reembedded=self._done,
            unreachable=_reasons(self._lost),
            drift=drift,
        )

    def catch_up(self) -> None:
        """Re-embed until nothing is left that can be; images may come all the while."""
        for _ in range(_ROUNDS):
            ids = [each for each in self._missing() if each not in self._lost]
            if not ids:
                return
            seen = 0

            def moved(images: int, total: int = len(ids)) -> None:
                nonlocal seen
                seen += images
                if self._progress is not None:
                    self._progress(seen, total)

            found = pipeline.reembed_images(
                ids,
                self._parts,
                self._backlog,
                images_per_s=self._images_per_s,
                on_images=moved,
            )
            self._done += found.done
            self._lost |= found.unreachable

    def _missing(self) -> list[UUID]:
        return self._backlog.missing(self._contract.digest, self._contract.dims)

    def _check(self, accept_missing: int) -> None:
        lost = [each for each in self._missing() if each in self._lost]
        if len(lost) > accept_missing:
            reasons = ", ".join(f"{n} {why}" for why, n in _reasons(self._lost).items())
            one = next(iter(self._lost.values()))
            raise Conflict(
                f"{len(lost)} of {self._backlog.live()} images would be lost to searches: nothing "
                f"of them can be encoded ({reasons}; e.g. {one.file}: {one.detail}). Bring their "
                f"files back and run this again, or accept it: --accept-missing {len(lost)}",
                reason="images_unreachable",
            )

    def _settle(self) -> Drift:
        """Bring what came under the old contract while the index was switched."""
        # Writers of the old contract are refused from the switch on. Those that wrote the old index
        # just before it have rows, but the new index not their last state.
        self._backlog.outlast()
        self._lost.clear()  # what has come back, or was replaced, counts again
        self.catch_up()
        ledger, contract = self._parts.ledger, self._contract.digest
        here = _AtOnce(self._parts)
        for _ in range(_ROUNDS):
            waiting = ledger.lost_images(contract, _PAGE)
            pipeline.index_images(waiting, self._parts)
            drift = reconcile(
                ledger=ledger, index=self._parts.index, queue=here, contract=contract, chunk=_PAGE
            )
            if not drift.total and len(waiting) < _PAGE:
                break
        return drift


class _AtOnce:
    """`ports.JobQueue` that indexes here and now: there may be no worker."""

    def __init__(self, parts: IngestParts) -> None:
        self._parts = parts

    def send(self, name: JobName, ids: Sequence[UUID] = ()) -> None:
        pipeline.index_images(ids, self._parts)

    def check(self) -> None:
        return None

    def waiting(self) -> int:
        return 0


def _reasons(lost: Mapping[UUID, Rejected]) -> dict[str, int]:
    return dict(Counter(one.reason for one in lost.values()).most_common())
