"""The ingest flow: file → reading → row → vector → index point → status.

Every step can be repeated. After a crash the lease expires, and the next worker continues with
the steps that are not done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from pinpoint import fault_isolation, logs
from pinpoint.errors import BadRequestError, UnavailableError
from pinpoint.fault_isolation import INTERNAL_ERROR
from pinpoint.ingest import erase
from pinpoint.ingest.chunk_report import ChunkReport
from pinpoint.ingest.embed import ToEmbed, embed_images
from pinpoint.ingest.originals import Originals
from pinpoint.ingest.read import ReadItem, make_internal_rejection, read_items, read_stored_files
from pinpoint.ingest.stored_images import RateLimiter, match_stored_images
from pinpoint.iteration import batched
from pinpoint.media.checks import RETRYABLE
from pinpoint.ports import (
    BlobStore,
    Decoder,
    EncodePositions,
    Encoder,
    FeatureCache,
    IngestRepository,
    ReembedQueue,
    VectorIndex,
)
from pinpoint.records import (
    GPS_CHANNEL,
    ClaimedItem,
    DecodedImage,
    Embedded,
    ReembedReport,
    Rejected,
    UpsertResult,
)
from pinpoint.records.limits import NOT_STORABLE

_log = logs.get_logger(__name__)

_IMAGES_PER_READ = 512
"""Number of images whose files are read from the catalog at once."""
_RELEASE_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between attempts to release items; an unreleased lease blocks them for minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestComponents:
    """Components of the ingest flow."""

    repository: IngestRepository
    decoder: Decoder
    encoder: Encoder
    index: VectorIndex
    blobs: BlobStore
    features: FeatureCache
    threads: int
    """Number of files decoded concurrently."""


def ingest_items(
    ids: Sequence[UUID],
    worker: str,
    components: IngestComponents,
    chunk_report: ChunkReport | None = None,
) -> int:
    """Ingest a chunk of items, from file to index; returns the number of claimed items.

    Args:
        ids: Items; items that are leased by other workers or have a final status are skipped.
        worker: Name of the worker on the leases.
        components: Components of the ingest flow.
        chunk_report: Receives the counts and the duration of each stage.

    An error that is not an outage affects only the items that cause it. Their attempt counts, and
    they are retried alone until the attempts are exhausted. The other items continue.

    Raises:
        UnavailableError: A component does not respond; the items are released, and the attempt is
            not counted.
        ModelMismatchError: The index was switched to another bundle; items as for
            `UnavailableError`.
        ConfigurationError: The index belongs to another installation, or rejects the key; items as
            for `UnavailableError`.
    """
    chunk_report = chunk_report or ChunkReport()
    items = components.repository.claim(ids, worker)
    chunk_report.count("claimed", len(items))
    with logs.bind_context(**_batch_log_fields(items)):
        try:
            with components.repository.lease_heartbeat([item.id for item in items], worker):
                _ingest_slices(items, worker, components, chunk_report)
        except fault_isolation.OUTAGES:
            _release_items([item.id for item in items], worker, components)
            raise
        finally:
            _log.info("ingested", **chunk_report.as_log_fields())
    return len(items)


def _ingest_slices(
    items: Sequence[ClaimedItem],
    worker: str,
    components: IngestComponents,
    chunk_report: ChunkReport,
) -> None:
    read_slices = read_items(
        items, components.decoder, components.blobs, threads=components.threads
    )
    while True:
        with chunk_report.stage("read"):
            read = next(read_slices, None)
        if read is None:
            return
        _ingest_slice_isolated(read, worker, components, chunk_report)


def _ingest_slice_isolated(
    read: Sequence[ReadItem], worker: str, components: IngestComponents, chunk_report: ChunkReport
) -> None:
    """Ingest a slice; if it fails, by organization, then by halves, then by file.

    An organization with good files is therefore delayed by one more attempt at most.
    """
    rejected: dict[UUID, Rejected] = {}
    failed: dict[UUID, Rejected] = {}

    def record_failure(read_item: ReadItem, error: Exception) -> None:
        item = read_item[0]
        _log.error("file failed", item=str(item.id), try_=item.attempts, exc_info=error)
        if isinstance(error, BadRequestError) and error.reason == NOT_STORABLE:
            rejected[item.id] = Rejected(
                file=item.file,
                error_stage="store",
                error_code=NOT_STORABLE,
                error_message=error.message,
            )
        else:
            failed[item.id] = make_internal_rejection(item.file, "store")

    def ingest(part: Sequence[ReadItem]) -> None:
        _ingest_slice(part, components, chunk_report)

    readable: list[ReadItem] = []
    for item, result in read:
        if isinstance(result, Rejected) and result.error_code == INTERNAL_ERROR:
            failed[item.id] = result
        else:
            readable.append((item, result))
    try:
        ingest(readable)
    except Exception as error:
        if fault_isolation.is_outage(error):
            raise
        _log.warning("slice failed, trying apart", files=len(read), error=repr(error))
        by_organization = sorted(readable, key=lambda pair: pair[0].organization_id)
        for _, group in groupby(by_organization, key=lambda pair: pair[0].organization_id):
            fault_isolation.process_with_bisection(list(group), ingest, record_failure)
    components.repository.finish_items(rejected, "rejected")
    components.repository.release_after_error(failed, worker)
    chunk_report.count("rejected", len(rejected))


def _release_items(ids: Sequence[UUID], worker: str, components: IngestComponents) -> None:
    """Release items; if the database does not respond, wait for it, as there is no other work."""
    for pause_s in _RELEASE_PAUSES_S:
        try:
            components.repository.release_unprocessed(ids, worker)
            return
        except UnavailableError as error:
            _log.warning("items not released yet", reason=error.reason, detail=error.message)
            time.sleep(pause_s)
    components.repository.release_unprocessed(ids, worker)


def _batch_log_fields(items: Sequence[ClaimedItem]) -> dict[str, str]:
    """Log fields for the batches of a chunk; after a recovery run there may be several."""
    batch_ids = sorted({str(item.batch_id) for item in items})
    return {"batch_id": ",".join(batch_ids)} if batch_ids else {}


def _ingest_slice(
    read: Sequence[ReadItem], components: IngestComponents, chunk_report: ChunkReport
) -> None:
    rejections = {item.id: result for item, result in read if isinstance(result, Rejected)}
    accepted = [(item, result) for item, result in read if isinstance(result, DecodedImage)]
    if len(rejections) + len(accepted) != len(read):
        raise RuntimeError(f"{len(read)} read, {len(rejections)} refused, {len(accepted)} accepted")
    retryable = {id_: r for id_, r in rejections.items() if r.error_code in RETRYABLE}
    not_accepted = {id_: r for id_, r in rejections.items() if id_ not in retryable}
    originals = Originals(components.blobs)
    with chunk_report.stage("store"):
        components.repository.finish_items(not_accepted, "rejected")
        components.repository.finish_items(retryable, "failed")
        upserted, changed = _upsert_readings(accepted, originals, components)
        components.repository.finish_items(changed, "failed")
    chunk_report.count("rejected", len(not_accepted))
    chunk_report.count("failed", len(retryable) + len(changed))
    with chunk_report.stage("embed"):
        _embed_readings(accepted, upserted, components, chunk_report)
    with chunk_report.stage("index"):
        index_images([image.id for row in upserted.values() for image in row.images], components)
    # The bytes of the others stay, because their files may be retried.
    finished = [item for item, _ in read if item.id not in retryable]
    _delete_unused_originals(finished, upserted, originals.stored, components)
    components.blobs.discard_downloads([item.uri for item, _ in read])


def reembed_images(
    ids: Sequence[UUID],
    components: IngestComponents,
    reembed_queue: ReembedQueue,
    *,
    images_per_s: float | None = None,
    on_images: Callable[[int], None] | None = None,
) -> ReembedReport:
    """Encode images again with the encoder's contract, from their stored files.

    Writes only rows, never the index, because the index may have another contract.

    Args:
        ids: Images; images of one file must be adjacent, so that each file is read once.
        components: Components of the ingest flow.
        reembed_queue: Returns the stored files of images.
        images_per_s: Maximum number of images per second.
        on_images: Called after each slice with its number of images.

    Raises:
        UnavailableError: A component does not respond; finished work is preserved.
    """
    contract = components.encoder.contract
    rate_limiter, num_done, unreachable = RateLimiter(images_per_s), 0, dict[UUID, Rejected]()
    for page in batched(ids, _IMAGES_PER_READ):
        files = reembed_queue.files(page)
        for read in read_stored_files(
            files, components.decoder, components.blobs, threads=components.threads
        ):
            matched, unmatched = match_stored_images(read)
            to_embed = [
                ToEmbed(
                    item_id=image.id,
                    file=file.file,
                    image_id=image.id,
                    sha256=image.sha256,
                    kind=image.source_kind,
                    pixels=face.pixels,
                )
                for file, image, face in matched
            ]
            vectors, failures = embed_images(to_embed, components.encoder)
            unsaved = _save_vectors(vectors, contract.digest, components)
            unreachable |= unmatched | failures | unsaved
            num_done += len(vectors) - len(unsaved)
            num_images = len(matched) + len(unmatched)
            rate_limiter.acquire(num_images)
            if on_images is not None:
                on_images(num_images)
    return ReembedReport(done=num_done, unreachable=unreachable)


def _save_vectors(
    vectors: Sequence[Embedded], contract: str, components: IngestComponents
) -> dict[UUID, Rejected]:
    """Save vectors; returns the rejections of vectors that cannot be saved."""
    unsaved: dict[UUID, Rejected] = {}

    def save(chunk: Sequence[Embedded]) -> None:
        components.repository.save_vectors(
            contract, chunk, again=True, encode_positions=_position_encoder(components.encoder)
        )

    def record_failure(vector: Embedded, error: Exception) -> None:
        _log.error("vector not saved", image=str(vector.image_id), exc_info=error)
        unsaved[vector.image_id] = make_internal_rejection(str(vector.image_id), "store")

    fault_isolation.process_with_bisection(vectors, save, record_failure)
    return unsaved


def _position_encoder(encoder: Encoder) -> EncodePositions | None:
    """The encoder of positions, if the bundle has a location tower."""
    return encoder.encode_positions if GPS_CHANNEL in encoder.contract.dims else None


def _upsert_readings(
    accepted: Sequence[tuple[ClaimedItem, DecodedImage]],
    originals: Originals,
    components: IngestComponents,
) -> tuple[dict[UUID, UpsertResult], dict[UUID, Rejected]]:
    """Write rows for readings; also returns the rejections of files that changed before copying.

    Readings that require storing their original first are written in a second transaction.
    """
    upserted = _upsert_by_source(accepted, originals, components)
    waiting = [pair for pair in accepted if upserted[pair[0].id].waits]
    changed = originals.store_originals(waiting)
    ready = [pair for pair in waiting if pair[0].id not in changed]
    return upserted | _upsert_by_source(ready, originals, components), changed


def _upsert_by_source(
    accepted: Sequence[tuple[ClaimedItem, DecodedImage]],
    originals: Originals,
    components: IngestComponents,
) -> dict[UUID, UpsertResult]:
    """Write rows, in one transaction per source."""
    by_source = sorted(accepted, key=lambda pair: pair[0].source.id)
    return {
        result.item_id: result
        for _, group in groupby(by_source, key=lambda pair: pair[0].source.id)
        for result in components.repository.upsert_images(list(group), originals)
    }


def _embed_readings(
    accepted: Sequence[tuple[ClaimedItem, DecodedImage]],
    upserted: dict[UUID, UpsertResult],
    components: IngestComponents,
    chunk_report: ChunkReport,
) -> None:
    to_embed = [
        ToEmbed(
            item_id=item.id,
            file=item.file,
            image_id=image.id,
            sha256=reading.capture.sha256,
            kind=item.source.kind,
            pixels=reading.faces[image.face].pixels,
        )
        for item, reading in accepted
        for image in upserted[item.id].images
        if image.needs_vector
    ]
    if not to_embed:
        return
    vectors, failures = embed_images(to_embed, components.encoder)
    components.repository.save_vectors(components.encoder.contract.digest, vectors)
    components.repository.finish_items(failures, "failed")
    chunk_report.count("encoded", len(vectors))
    chunk_report.count("failed", len(failures))


def index_images(ids: Sequence[UUID], components: IngestComponents) -> None:
    """Write pending rows that have a vector to the index, and set the status of their items.

    If the index rejects a row, the row and the items that wait for it become `failed`.

    Raises:
        ModelMismatchError: The index was switched to another bundle; nothing was changed.
        UnavailableError: A component does not respond; finished work is preserved.
    """
    contract = components.encoder.contract

    def index_chunk(chunk_ids: Sequence[UUID]) -> None:
        with components.repository.lock_pending_images(
            chunk_ids, contract.digest, _position_encoder(components.encoder)
        ) as points:
            if points:
                components.index.upsert(points, contract.digest)

    def record_failure(image_id: UUID, error: Exception) -> None:
        fault_isolation.raise_if_index_down(error, components.index)
        _log.error("image not indexed", image=str(image_id), exc_info=error)
        components.repository.fail_images(
            [image_id],
            "not_indexed",
            "the index rejects the image; the workers' log contains the value",
        )

    fault_isolation.process_with_bisection(ids, index_chunk, record_failure)


def erase_images(ids: Sequence[UUID], components: IngestComponents) -> int:
    """Delete images from the index and the blob store, then their rows; returns their number."""
    repository, index = components.repository, components.index
    blobs, features = components.blobs, components.features
    return erase.erase_stored_images(
        ids, repository=repository, index=index, blobs=blobs, features=features
    )


def _delete_unused_originals(
    items: Sequence[ClaimedItem],
    upserted: dict[UUID, UpsertResult],
    stored: set[str],
    components: IngestComponents,
) -> None:
    """Delete blobs without a row: of rejected files, duplicates, or replaced by a rendition."""
    uris = {item.uri for item in items} | stored
    uris |= {uri for result in upserted.values() for uri in result.replaced}
    for uri in components.repository.unused_blobs(sorted(uris)):
        components.blobs.delete(uri)
