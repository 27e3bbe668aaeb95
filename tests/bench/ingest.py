"""Ingest against bare encoding of the same decoded images, in one run and taking turns."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from uuid import UUID, uuid4

from bench.files import files
from bench.stack import Say, Stack
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.ingest.pipeline import IngestComponents, ingest_items
from pinpoint.ingest.read import SLICE, read_items
from pinpoint.matching_handle import MatchingHandle
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import ClaimedItem, DecodedImage, IndexSpec, MetadataOverride, Pixels, Source
from pinpoint.settings import Settings
from pinpoint.store.blobs import FolderBlobs
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.ingest.repository import CatalogIngestRepository
from pinpoint.tasks import GALLERY_QUEUES, INGEST_ITEMS, TaskName
from registration import register_folder

TARGET_RATIO = 1.3
WORKER = "bench/1/0.00"
_CHUNK = 64
_BARE = ("encode", "decode", "decode_encode")
_OVERRIDE = MetadataOverride(lat=44.8, lon=-1.0)
_SOURCE = Source(
    id=UUID(int=1),
    name="bench",
    kind="street",
    license=None,
    attribution=None,
    originals="reference",
    created_at=datetime(2025, 1, 1, tzinfo=UTC),
)


class Chunks:
    """A task queue that keeps the chunks that the catalog sends."""

    def __init__(self) -> None:
        self.items: list[list[UUID]] = []

    def send(self, name: TaskName, ids=()) -> None:
        if name == INGEST_ITEMS:
            self.items.append(list(ids))

    def check(self) -> None:
        return None

    def waiting(self, queues=GALLERY_QUEUES) -> int:
        return len(self.items)


@dataclass
class Prepared:
    """Files on disk and a worker's parts."""

    manifest: Path
    files: list[Path]
    origin: str
    tower: str
    settings: Settings
    database: CatalogDatabase
    organization: UUID
    parts: IngestComponents
    queue: Chunks


def prepare(running: Stack, images: int, say: Say) -> Prepared:
    """Distinct files, an encoder, and an empty catalog and index without other users."""
    running.stop_background()
    settings = running.settings
    paths, origin = files(running.paths.home / "files", images)
    say(f"files: {len(paths)} from {origin}; tower: {running.tower}")
    queue = Chunks()
    transactions = Transactions(owner_engine(running.paths.owner_url()), queue)
    encoder = EncoderHandle(settings)
    encoder.warm()
    contract = encoder.contract
    running.index.ensure(IndexSpec(contract=contract.digest, dims=contract.dims))
    decoder = ChildDecoder(settings.media, children=2)
    return Prepared(
        manifest=paths[0].with_name("manifest.csv"),
        files=paths,
        origin=origin,
        tower=running.tower,
        settings=settings,
        database=CatalogDatabase(transactions, _CHUNK),
        organization=ApiKeyStore(transactions).create_organization("bench").id,
        parts=IngestComponents(
            repository=CatalogIngestRepository(
                transactions, contract=lambda: contract.digest, lease_ttl_s=300, max_attempts=3
            ),
            decoder=decoder,
            encoder=encoder,
            index=running.index,
            blobs=FolderBlobs(running.paths.blobs_dir),
            features=MatchingHandle(settings),
            threads=decoder.children,
        ),
        queue=queue,
    )


def measure(ready: Prepared, repetitions: int, say: Say) -> dict[str, object]:
    """Time every chunk on all sides in turn, with the same files; return medians over chunks."""
    took: dict[str, list[float]] = {name: [] for name in ("ingest", *_BARE)}
    for repetition in range(repetitions + 1):
        chunks, batch = _register_files(ready)
        for number, chunk in enumerate(chunks):
            part = ready.files[number * _CHUNK : (number + 1) * _CHUNK]
            sides: dict[str, Callable[[], object]] = {
                "ingest": partial(ingest_items, chunk, WORKER, ready.parts)
            }
            pixels = _decode(ready, part)
            sides["encode"] = partial(_encode, ready, pixels)
            sides["decode"] = partial(_decode, ready, part)
            sides["decode_encode"] = partial(_decode_encode, ready, part)
            turn = number % len(sides)
            for name in [*sides][turn:] + [*sides][:turn]:
                gc.collect()
                begun = perf_counter()
                sides[name]()
                # The first time through warms connections, plans, weights and children.
                if repetition > 0 and len(part) == _CHUNK:
                    took[name].append((perf_counter() - begun) / _CHUNK)
        _check_counts(ready, batch)
        say(f"ingest: {repetition} of {repetitions} repetitions")
    typical = {name: median(seconds) for name, seconds in took.items()}
    return {
        "images": len(ready.files),
        "files": ready.origin,
        "tower": ready.tower,
        "chunks": len(took["ingest"]),
        "images_per_s": {name: round(1 / seconds, 1) for name, seconds in typical.items()},
        "ms_per_image": {name: round(seconds * 1e3, 2) for name, seconds in typical.items()},
        "ratio": _median_ratio(took, "encode"),
        "ratio_to_decode_encode": _median_ratio(took, "decode_encode"),
    }


def _median_ratio(took: dict[str, list[float]], base: str) -> float:
    """Median over chunks of the ratio within a chunk: noise affects both sides equally."""
    return round(median(a / b for a, b in zip(took["ingest"], took[base], strict=True)), 3)


def _register_files(ready: Prepared) -> tuple[list[list[UUID]], UUID]:
    """A new source with all files; chunks of items as a worker gets them."""
    batch = register_folder(
        ready.manifest,
        source=f"street-{uuid4().hex[:8]}",
        kind="street",
        organization_id=ready.organization,
        database=ready.database,
        settings=ready.settings,
    )
    chunks, ready.queue.items = ready.queue.items, []
    return chunks, batch.id


def _check_counts(ready: Prepared, batch_id: UUID) -> None:
    with ready.database.read(ready.organization) as catalog:
        counts = catalog.batch(batch_id)
    if (counts.indexed, counts.items) != (len(ready.files), len(ready.files)):
        raise RuntimeError(f"not everything was indexed: {counts}")


def _encode(ready: Prepared, pixels: list[Pixels]) -> None:
    """Only the tower, in batches as large as the flow's."""
    for start in range(0, len(pixels), SLICE):
        ready.parts.encoder.encode_channels(pixels[start : start + SLICE], "street")


def _decode(ready: Prepared, files: list[Path]) -> list[Pixels]:
    """Only the decoding children."""
    decoder = ready.parts.decoder
    with ThreadPoolExecutor(ready.parts.threads) as pool:
        readings = pool.map(lambda path: decoder.read(path.name, str(path), _OVERRIDE), files)
        return [_require_decoded(reading).faces[0].pixels for reading in readings]


def _decode_encode(ready: Prepared, files: list[Path]) -> None:
    """Decoding ahead and encoding, nothing kept."""
    parts = ready.parts
    items = [_make_item(path) for path in files]
    for batch in read_items(items, parts.decoder, parts.blobs, threads=parts.threads):
        parts.encoder.encode_channels(
            [_require_decoded(reading).faces[0].pixels for _, reading in batch], "street"
        )


def _make_item(path: Path) -> ClaimedItem:
    return ClaimedItem(
        id=uuid4(),
        organization_id=uuid4(),
        source=_SOURCE,
        external_id=path.name,
        file=path.name,
        uri=path.as_uri(),
        metadata_override=_OVERRIDE,
        attempts=1,
        ingest_seq=1,
    )


def _require_decoded(reading) -> DecodedImage:
    if not isinstance(reading, DecodedImage):
        raise RuntimeError(f"not read: {reading}")
    return reading
