"""The ingest flow: file → reading → row → vector → index point → verdict.

Every step can be run again. A crash anywhere leaves a lease that ends by itself, and whoever takes
the item next finds what is done already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from pinpoint import fault_isolation as isolate
from pinpoint import logs
from pinpoint.errors import BadRequest, Unavailable
from pinpoint.ingest import erase
from pinpoint.ingest.embed import ToEmbed, embed
from pinpoint.ingest.originals import Originals
from pinpoint.ingest.read import INTERNAL, ReadItem, read_items, unforeseen
from pinpoint.ingest.stored import Pace, pictures
from pinpoint.ingest.tally import Tally
from pinpoint.media.checks import POISON
from pinpoint.ports import (
    Backlog,
    BlobStore,
    Decoder,
    EncodePlaces,
    Encoder,
    Ledger,
    VectorIndex,
)
from pinpoint.records import GPS_CHANNEL, ClaimedItem, Embedded, Kept, Reading, Reembedded, Rejected
from pinpoint.records.limits import NOT_STORABLE

_log = logs.get(__name__)

_PAGE = 512
"""Images whose files are asked for in one read."""
_PATIENCE_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between tries to free items: a lease that nobody frees holds them for minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestParts:
    """What the flow works with."""

    ledger: Ledger
    decoder: Decoder
    encoder: Encoder
    index: VectorIndex
    blobs: BlobStore
    threads: int
    """Files decoded at once."""


def ingest_items(
    ids: Sequence[UUID], worker: str, parts: IngestParts, tally: Tally | None = None
) -> int:
    """Take a chunk of items from file to index; returns how many were claimed.

    Args:
        ids: Items; those that somebody else holds, or that are settled, are left alone.
        worker: Name on the leases.
        parts: What the flow works with.
        tally: Told what was done and how long each stage took.

    An error that is no outage costs the items that cause it: their try counts, and they are sent
    again alone until they are given up. The others of the chunk go on.

    Raises:
        Unavailable: A part of the stack is gone; the items are free again and their try is not
            counted.
        OtherContract: The index was switched to another bundle; likewise.
        Misconfigured: The index belongs to another installation, or refuses the key; likewise.
    """
    tally = tally or Tally()
    items = parts.ledger.claim(ids, worker)
    tally.count("claimed", len(items))
    with logs.bound(**_batches(items)):
        try:
            with parts.ledger.holding([item.id for item in items], worker):
                _ingest_slices(items, worker, parts, tally)
        except isolate.OUTAGES:
            _give_back([item.id for item in items], worker, parts)
            raise
        finally:
            _log.info("ingested", **tally.said())
    return len(items)


def _ingest_slices(
    items: Sequence[ClaimedItem], worker: str, parts: IngestParts, tally: Tally
) -> None:
    slices = read_items(items, parts.decoder, parts.blobs, threads=parts.threads)
    while True:
        with tally.stage("read"):
            read = next(slices, None)
        if read is None:
            return
        _ingest_slice_apart(read, worker, parts, tally)


def _ingest_slice_apart(
    read: Sequence[ReadItem], worker: str, parts: IngestParts, tally: Tally
) -> None:
    """One slice; where it fails, organization by organization, then by halves, then file by file.

    So an innocent organization waits for one more try at most.
    """
    refused: dict[UUID, Rejected] = {}
    failed: dict[UUID, Rejected] = {}

    def fail(one: ReadItem, error: Exception) -> None:
        item = one[0]
        _log.error("file failed", item=str(item.id), try_=item.attempts, exc_info=error)
        if isinstance(error, BadRequest) and error.reason == NOT_STORABLE:
            refused[item.id] = Rejected(
                file=item.file, stage="store", reason=NOT_STORABLE, detail=error.message
            )
        else:
            failed[item.id] = unforeseen(item.file, "store")

    def ingest(some: Sequence[ReadItem]) -> None:
        _ingest_slice(some, parts, tally)

    readable: list[ReadItem] = []
    for item, result in read:
        if isinstance(result, Rejected) and result.reason == INTERNAL:
            failed[item.id] = result
        else:
            readable.append((item, result))
    try:
        ingest(readable)
    except Exception as error:
        if isolate.is_outage(error):
            raise
        _log.warning("slice failed, trying apart", files=len(read), error=repr(error))
        by_owner = sorted(readable, key=lambda one: one[0].organization_id)
        for _, group in groupby(by_owner, key=lambda one: one[0].organization_id):
            isolate.do_apart(list(group), ingest, fail)
    parts.ledger.settle(refused, "rejected")
    parts.ledger.put_off(failed, worker)
    tally.count("rejected", len(refused))


def _give_back(ids: Sequence[UUID], worker: str, parts: IngestParts) -> None:
    """Free items; where the database itself is away, wait for it, as there is no other work."""
    for pause_s in _PATIENCE_S:
        try:
            parts.ledger.give_back(ids, worker)
            return
        except Unavailable as error:
            _log.warning("items not given back yet", reason=error.reason, detail=error.message)
            time.sleep(pause_s)
    parts.ledger.give_back(ids, worker)


def _batches(items: Sequence[ClaimedItem]) -> dict[str, str]:
    """What log lines call the batches of a chunk; after a sweep there may be several."""
    named = sorted({str(item.batch_id) for item in items})
    return {"batch_id": ",".join(named)} if named else {}


def _ingest_slice(read: Sequence[ReadItem], parts: IngestParts, tally: Tally) -> None:
    refused = {item.id: result for item, result in read if isinstance(result, Rejected)}
    accepted = [(item, result) for item, result in read if isinstance(result, Reading)]
    if len(refused) + len(accepted) != len(read):
        raise RuntimeError(f"{len(read)} read, {len(refused)} refused, {len(accepted)} accepted")
    poison = {one: why for one, why in refused.items() if why.reason in POISON}
    bad = {one: why for one, why in refused.items() if one not in poison}
    originals = Originals(parts.blobs)
    with tally.stage("keep"):
        parts.ledger.settle(bad, "rejected")
        parts.ledger.settle(poison, "failed")
        kept, changed = _keep(accepted, originals, parts)
        parts.ledger.settle(changed, "failed")
    tally.count("rejected", len(bad))
    tally.count("failed", len(poison) + len(changed))
    with tally.stage("embed"):
        _embed(accepted, kept, parts, tally)
    with tally.stage("index"):
        index_images([image.id for one in kept.values() for image in one.images], parts)
    # Poison may be tried again, so its bytes stay.
    _tidy([item for item, _ in read if item.id not in poison], kept, originals.brought, parts)


def reembed_images(
    ids: Sequence[UUID],
    parts: IngestParts,
    backlog: Backlog,
    *,
    images_per_s: float | None = None,
    on_images: Callable[[int], None] | None = None,
) -> Reembedded:
    """Give images vectors of the encoder's contract, from what is kept of their files.

    Only rows are written, never the index: that may hold another contract meanwhile.

    Args:
        ids: Images, those of a file together, so that each file is read once.
        parts: What the flow works with.
        backlog: Says what is kept of their files.
        images_per_s: Most images a second.
        on_images: Told after each slice how many images it had.

    Raises:
        Unavailable: A part of the stack is gone; what is done stays done.
    """
    contract = parts.encoder.contract
    pace, done, unreachable = Pace(images_per_s), 0, dict[UUID, Rejected]()
    for start in range(0, len(ids), _PAGE):
        files = backlog.files(ids[start : start + _PAGE])
        for read in read_items(files, parts.decoder, parts.blobs, threads=parts.threads):
            seen, lost = pictures(read)
            wanted = [
                ToEmbed(
                    item_id=image.id,
                    file=file.file,
                    image_id=image.id,
                    sha256=image.sha256,
                    kind=image.kind,
                    pixels=face.pixels,
                )
                for file, image, face in seen
            ]
            vectors, failures = embed(wanted, parts.encoder)
            unsaved = _save_apart(vectors, contract.digest, parts)
            unreachable |= lost | failures | unsaved
            done += len(vectors) - len(unsaved)
            images = len(seen) + len(lost)
            pace.take(images)
            if on_images is not None:
                on_images(images)
    return Reembedded(done=done, unreachable=unreachable)


def _save_apart(
    vectors: Sequence[Embedded], contract: str, parts: IngestParts
) -> dict[UUID, Rejected]:
    """Save vectors; returns why those are not that cannot be."""
    unsaved: dict[UUID, Rejected] = {}

    def save(some: Sequence[Embedded]) -> None:
        parts.ledger.save_vectors(contract, some, again=True, encode_places=_placing(parts.encoder))

    def fail(one: Embedded, error: Exception) -> None:
        _log.error("vector not saved", image=str(one.image_id), exc_info=error)
        unsaved[one.image_id] = unforeseen(str(one.image_id), "store")

    isolate.do_apart(vectors, save, fail)
    return unsaved


def _placing(encoder: Encoder) -> EncodePlaces | None:
    """What makes vectors of positions, where the bundle has a location tower."""
    return encoder.encode_places if GPS_CHANNEL in encoder.contract.dims else None


def _keep(
    accepted: Sequence[tuple[ClaimedItem, Reading]], originals: Originals, parts: IngestParts
) -> tuple[dict[UUID, Kept], dict[UUID, Rejected]]:
    """Rows for readings, and verdicts on files that changed before their bytes were copied.

    Those whose original must be brought to its place are kept in a second transaction, after it.
    """
    kept = _keep_by_source(accepted, originals, parts)
    waiting = [pair for pair in accepted if kept[pair[0].id].waits]
    changed = originals.bring(waiting)
    ready = [pair for pair in waiting if pair[0].id not in changed]
    return kept | _keep_by_source(ready, originals, parts), changed


def _keep_by_source(
    accepted: Sequence[tuple[ClaimedItem, Reading]], originals: Originals, parts: IngestParts
) -> dict[UUID, Kept]:
    """One transaction for each source."""
    by_source = sorted(accepted, key=lambda pair: pair[0].source.id)
    return {
        one.item_id: one
        for _, group in groupby(by_source, key=lambda pair: pair[0].source.id)
        for one in parts.ledger.keep(list(group), originals)
    }


def _embed(
    accepted: Sequence[tuple[ClaimedItem, Reading]],
    kept: dict[UUID, Kept],
    parts: IngestParts,
    tally: Tally,
) -> None:
    pictures = [
        ToEmbed(
            item_id=item.id,
            file=item.file,
            image_id=image.id,
            sha256=reading.capture.sha256,
            kind=item.source.kind,
            pixels=reading.faces[image.face].pixels,
        )
        for item, reading in accepted
        for image in kept[item.id].images
        if image.needs_vector
    ]
    if not pictures:
        return
    vectors, failures = embed(pictures, parts.encoder)
    parts.ledger.save_vectors(parts.encoder.contract.digest, vectors)
    parts.ledger.settle(failures, "failed")
    tally.count("encoded", len(vectors))
    tally.count("failed", len(failures))


def index_images(ids: Sequence[UUID], parts: IngestParts) -> None:
    """Carry pending rows that have a vector to the index and settle their items.

    A row that the index cannot take becomes `failed`, and so do the items that wait for it.

    Raises:
        OtherContract: The index was switched to another bundle meanwhile; nothing was done.
        Unavailable: A part of the stack is gone; what is done stays done.
    """
    contract = parts.encoder.contract

    def carry(some: Sequence[UUID]) -> None:
        with parts.ledger.indexing(some, contract.digest, _placing(parts.encoder)) as points:
            if points:
                parts.index.upsert(points, contract.digest)

    def fail(image_id: UUID, error: Exception) -> None:
        isolate.raise_if_index_is_down(error, parts.index)
        _log.error("image not indexed", image=str(image_id), exc_info=error)
        parts.ledger.fail_images(
            [image_id],
            "not_indexed",
            "the index cannot take the image; the log of the workers names the value",
        )

    isolate.do_apart(ids, carry, fail)


def erase_images(ids: Sequence[UUID], parts: IngestParts) -> int:
    """Carry tombstones to index and blob store, then remove the rows; returns how many."""
    return erase.erase_images(ids, ledger=parts.ledger, index=parts.index, blobs=parts.blobs)


def _tidy(
    items: Sequence[ClaimedItem], kept: dict[UUID, Kept], brought: set[str], parts: IngestParts
) -> None:
    """Delete bytes that no row wants: refused, duplicate, or replaced by a rendition."""
    locators = {item.locator for item in items} | brought
    locators |= {locator for one in kept.values() for locator in one.replaced}
    for locator in parts.ledger.unused(sorted(locators)):
        parts.blobs.delete(locator)
