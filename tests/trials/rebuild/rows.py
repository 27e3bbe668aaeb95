"""Data of a rebuild: clustered vectors as rows of the stack's PostgreSQL, and queries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import numpy as np

from bench.gallery import Gallery, fill, source_id
from clustered import OWNERS, START, Clustered, clustered, questions
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.store.db.rows import image_id
from pinpoint.store.vectors.rpc.client import RemoteIndex
from trials.soak.fault_stack import FaultStack

CHANNEL, SEED, BEST = "image", 7, 48
CHANGING, STILL = OWNERS[:2]
"""Writes go to the first organization's photos; nothing of the second changes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The gallery in PostgreSQL, with the data for the processes that load the stack."""

    clustered: Clustered
    ids: list[UUID]
    queries: np.ndarray

    def names(self) -> list[str]:
        """External ids of the images that may be replaced."""
        mine = (self.clustered.organization == 0) & (self.clustered.kind == 0)
        return [name_of(int(i)) for i in np.flatnonzero(mine)]


def name_of(number: int) -> str:
    """External id of a row, as `bench.gallery` writes it."""
    return f"{number:07d}.jpg"


def load(stack: FaultStack, images: int, n_asked: int) -> Loaded:
    """Fill the stack's database; ids are those that an ingest of the same files would give."""
    contract = EncoderHandle(stack.settings).contract
    made = clustered(images, contract.dims[CHANNEL], SEED)
    ids = [
        image_id(OWNERS[o], source_id(int(o), int(k)), name_of(i), None)
        for i, (o, k) in enumerate(zip(made.organization, made.kind, strict=True))
    ]
    rows = Gallery(
        ids=ids,
        organization=made.organization,
        kind=made.kind,
        place=np.arange(images),
        positions=np.column_stack([made.lat, made.lon]).round(7),
        captured_at=[START + timedelta(days=int(day)) for day in made.day],
        vectors=made.vectors.astype(np.float16),
        positions_from="seeded clusters",
    )
    fill(rows, stack.paths.owner_url(), contract.digest)
    return Loaded(clustered=made, ids=ids, queries=questions(made, n_asked, SEED + 1))


def exact(index: RemoteIndex, loaded: Loaded) -> list[list[tuple[UUID, float]]]:
    """Ids and scores of the best hits of an exact search over unchanged rows."""
    untouched = (
        IndexFilter(organization_id=STILL),
        IndexFilter(organization_id=CHANGING, source_kinds=("street",)),
    )
    queries = [
        IndexQuery(channel=CHANNEL, vector=vector, filter=where, limit=BEST, exact=True)
        for vector in loaded.queries
        for where in untouched
    ]
    return [[(hit.id, hit.score) for hit in hits] for hits in index.search(queries)]


def read_lines(path: Path) -> list[dict]:
    """What a process of the load has noted; a line that its end cut short is left out."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if "\n" in line]
