"""A worker in its own process that writes images at a fixed rate: row, vector, index, verdict.

Only decoding and encoding are left out; everything after them is the worker's own code.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from bench.gallery import source_id
from pinpoint.bootstrap import Services, build_services
from pinpoint.errors import UnavailableError
from pinpoint.ingest.pipeline import index_images
from pinpoint.records import (
    CaptureMetadata,
    ClaimedItem,
    DecodedImage,
    Embedded,
    ImageFace,
    Layer,
    NewItem,
    Point,
)
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.catalog.catalog_writer import Writer
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.db.rows import pack_vector, unpack_vector
from pinpoint.store.ingest import leases
from pinpoint_workers.runtime import worker_name as worker_name
from trials.rebuild.rows import CHANGING, CHANNEL

PER_S, SLICE = 50.0, 10
_NEW = 0.5
"""Share of writes that make an image; the others replace one."""
_PIXELS = np.zeros((1, 1, 3), dtype=np.uint8)


def vector_of(run: str, number: int, width: int) -> np.ndarray:
    """Vector `[D]` of a write, as fp16 keeps it: what must be found in the end."""
    seed = int.from_bytes(bytes.fromhex(_sha256(run, number))[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal(width)
    return unpack_vector(pack_vector(drawn / np.linalg.norm(drawn)))


def write_on(home: Path, run: str, names: list[str], notes: Path, ready: Any, stop: Any) -> None:
    """Write slices at their moments until told to stop.

    Args:
        home: Of the stack.
        run: Names this writer's images and seeds its vectors.
        names: External ids that may be replaced.
        notes: Gets a JSON line when a slice is in PostgreSQL (from then on it may not be lost)
            and another when the index has taken it, or has not.
        ready: Event set after the first slice.
        stop: Event that ends it.
    """
    services = build_services(Settings(services=ServiceSettings(home=home)), "worker")
    # Without a queue: what is registered here is worked on here.
    owner = Transactions(owner_engine(StackPaths(home).owner_url()))
    with owner.begin(CHANGING) as unit:
        batch = Writer(unit, SLICE).open_batch(source_id(0, 0)).id
    dice = np.random.default_rng(len(run) + len(names))
    with notes.open("w") as file:
        begun, number = time.monotonic(), 0
        while not stop.is_set():
            time.sleep(max(0.0, begun + number / PER_S - time.monotonic()))
            old = dice.choice(names, SLICE, replace=False)
            new = dice.random(SLICE) < _NEW
            wanted = {
                f"{run}-{number + i}.jpg" if new[i] else str(old[i]): number + i
                for i in range(SLICE)
            }
            _write(services, _claimed(owner, batch, wanted), run, wanted, file)
            number += SLICE
            ready.set()
    with owner.begin(CHANGING) as unit:
        Writer(unit, SLICE).close_batch(batch)
    owner.close()
    services.close()


def _claimed(owner: Transactions, batch: UUID, wanted: Mapping[str, int]) -> list[ClaimedItem]:
    """Register and claim in one transaction: the sweep must see no item that nobody holds."""
    items = [NewItem(external_id=name, file=name, uri="") for name in wanted]
    with owner.begin(CHANGING) as unit:
        ids = Writer(unit, SLICE).add_items(batch, items)
        rows = leases.claim_items(
            unit.connection, ids, worker_name(), lease_ttl_s=60.0, max_attempts=3
        )
    return [leases.to_claimed(row) for row in rows]


def _write(
    services: Services, items: list[ClaimedItem], run: str, wanted: Mapping[str, int], file: Any
) -> None:
    """One slice, in the steps of `pinpoint.ingest.pipeline`."""
    parts, contract = services.ingest_components(), services.encoder.contract
    numbers = [wanted[item.external_id] for item in items]
    readings = [_reading(run, number) for number in numbers]
    kept = parts.repository.upsert_images(list(zip(items, readings, strict=True)), _nowhere)
    ids = [one.images[0].id for one in kept]
    vectors = [
        Embedded(
            image_id=image_id,
            sha256=reading.capture.sha256,
            vectors={CHANNEL: vector_of(run, number, contract.dims[CHANNEL])},
        )
        for image_id, number, reading in zip(ids, numbers, readings, strict=True)
    ]
    parts.repository.save_vectors(contract.digest, vectors)
    said = {str(image_id): number for image_id, number in zip(ids, numbers, strict=True)}
    _note(file, kept=said)
    try:
        index_images(ids, parts)
    except UnavailableError as error:
        # As after a worker's crash: the stack's own sweep finds rows that wait for the index.
        _note(file, refused=len(ids), reason=error.reason)
    else:
        _note(file, indexed=len(ids))


def _note(file: Any, **said: Any) -> None:
    file.write(json.dumps({"at": time.monotonic(), **said}) + "\n")
    file.flush()


def _nowhere(item: ClaimedItem, reading: DecodedImage) -> list[str | None]:
    return [None] * len(reading.faces)


def _sha256(run: str, number: int) -> str:
    return hashlib.sha256(f"{run} {number}".encode()).hexdigest()


def _reading(run: str, number: int) -> DecodedImage:
    """What a decoder would have said of the file: on a line through the gallery's cities."""
    point = Point(lat=47.0, lon=5.0 + number % 2_800 / 100)
    capture = CaptureMetadata(
        point=point,
        position_source="exif",
        layers={"file": Layer(position=point, position_source="exif")},
        format="jpeg",
        width_px=640,
        height_px=480,
        sha256=_sha256(run, number),
        size_bytes=50_000,
    )
    face = ImageFace(name=None, heading_deg=None, pixels=_PIXELS, thumbnail=b"\xff\xd8\xff\xd9")
    return DecodedImage(capture=capture, faces=(face,))
