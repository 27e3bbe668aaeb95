"""Switches a gallery to another bundle while the old index keeps serving.

images without vectors ─re-embed→ rows ─build→ next index ─verify, switch→ serving ─reconcile→ done

Until the switch, index, served vectors and new images use the old contract. Each step can be
repeated; the list of missing vectors in PostgreSQL is the work list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pinpoint.errors import ConflictError
from pinpoint.ingest import pipeline
from pinpoint.ingest.pipeline import IngestComponents
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ports import ReembedQueue
from pinpoint.progress import ProgressCallback
from pinpoint.records import Drift, Rejected
from pinpoint.tasks import GALLERY_QUEUES, TaskName

_MAX_ROUNDS: Final = 20
_PAGE_SIZE: Final = 512

"""Called with the number of processed images and their total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """Report of a model switch."""

    bundle: str
    contract: str
    build: str | None
    live: int
    """Number of images that an index may contain."""
    already: int
    """Number of images that had vectors before."""
    reembedded: int
    unreachable: Mapping[str, int]
    """Number of images missing in the new index, by reason."""
    drift: Drift
    """Remaining differences between index and PostgreSQL."""


class ModelSwitch:
    """One switch to another bundle.

    Args:
        components: Components of the ingest flow, with the encoder of the new bundle.
        reembed_queue: Lists images without vectors.
        images_per_s: Maximum number of images encoded per second.
        progress: Called with the progress of re-embedding.
    """

    def __init__(
        self,
        components: IngestComponents,
        reembed_queue: ReembedQueue,
        *,
        images_per_s: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self._components, self._reembed_queue = components, reembed_queue
        self._contract = components.encoder.contract
        self._images_per_s, self._progress = images_per_s, progress
        self._num_reembedded = 0
        self._unreachable: dict[UUID, Rejected] = {}

    def run(
        self, build: Callable[[Callable[[], None]], None], *, allow_missing: int = 0
    ) -> SwitchReport:
        """Switch the gallery to the bundle.

        Args:
            build: Builds the index of the contract, verifies it and makes it current; it calls its
                argument while it waits.
            allow_missing: Number of images that may be left out because no file of them is
                readable.

        Raises:
            ConflictError: More images are unreachable; the old index stays active.
            UnavailableError: A service does not answer; run it again.
        """
        live, missing = self._reembed_queue.count_live(), len(self._list_missing())
        self.catch_up()
        index = self._components.index
        if index.info().contract != self._contract.digest:
            self._require_reachable(allow_missing)
            build(self.catch_up)
        drift = self._reconcile_index()
        return SwitchReport(
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
        """Re-embed until every reachable image has vectors; images may be added concurrently."""
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
                self._components,
                self._reembed_queue,
                images_per_s=self._images_per_s,
                on_images=report_progress,
            )
            self._num_reembedded += report.done
            self._unreachable |= report.unreachable

    def _list_missing(self) -> list[UUID]:
        return self._reembed_queue.list_missing(self._contract.digest, self._contract.dims)

    def _require_reachable(self, allow_missing: int) -> None:
        unreachable = [
            image_id for image_id in self._list_missing() if image_id in self._unreachable
        ]
        if len(unreachable) > allow_missing:
            reasons = ", ".join(
                f"{n} {why}" for why, n in _count_reasons(self._unreachable).items()
            )
            example = next(iter(self._unreachable.values()))
            raise ConflictError(
                f"{len(unreachable)} of {self._reembed_queue.count_live()} images would be lost to "
                f"searches: nothing of them can be encoded ({reasons}; e.g. {example.file}: "
                f"{example.error_message}). Bring their files back and run this again, or "
                f"accept it: --allow-missing {len(unreachable)}",
                reason="images_unreachable",
            )

    def _reconcile_index(self) -> Drift:
        """Re-embed and index images that were added during the switch."""
        # Since the switch, writes under the old contract are rejected. Writes to the old index just
        # before the switch have rows, but the new index may lack their last state.
        self._reembed_queue.wait_for_open_transactions()
        self._unreachable.clear()  # files may be readable again, or replaced
        self.catch_up()
        repository, contract = self._components.repository, self._contract.digest
        queue = _InlineQueue(self._components)
        for _ in range(_MAX_ROUNDS):
            image_ids = repository.unindexed_images(contract, _PAGE_SIZE)
            pipeline.index_images(image_ids, self._components)
            drift = reconcile_index_rows(
                repository=repository,
                index=self._components.index,
                queue=queue,
                contract=contract,
                chunk=_PAGE_SIZE,
            )
            if not drift.total and len(image_ids) < _PAGE_SIZE:
                break
        return drift


class _InlineQueue:
    """`ports.TaskQueue` that indexes in this process, because there may be no worker."""

    def __init__(self, components: IngestComponents) -> None:
        self._components = components

    def send(self, name: TaskName, ids: Sequence[UUID] = ()) -> None:
        pipeline.index_images(ids, self._components)

    def check(self) -> None:
        return None

    def waiting(self, queues: Sequence[str] = GALLERY_QUEUES) -> int:
        return 0


def _count_reasons(unreachable: Mapping[UUID, Rejected]) -> dict[str, int]:
    return dict(Counter(rejected.error_code for rejected in unreachable.values()).most_common())
