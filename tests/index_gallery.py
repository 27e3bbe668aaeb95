"""Seeded points for tests of the index, and a point source that reads them from a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np

from pinpoint.errors import DatabaseUnavailableError
from pinpoint.records import IndexPoint, IndexSpec, Point

DIMS = {"image": 16, "gps": 8}
SPEC = IndexSpec(contract="contract-a", dims=DIMS)
ORG_A, ORG_B = UUID(int=1 << 100), UUID(int=2 << 100)
SOURCES = [UUID(int=(10 + n) << 90) for n in range(3)]
START = datetime(2020, 1, 1, tzinfo=UTC)


def identity(n: int) -> UUID:
    """Id of point `n`, spread over the range so that id order differs from insertion order."""
    return UUID(int=((n * 0x9E3779B97F4A7C15) % 2**64) << 64 | n)


def unit(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    vectors = rng.normal(size=(n, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def gallery(
    n: int = 300, seed: int = 0, places: Sequence[tuple[float, float]] = (), dims: dict = DIMS
) -> list[IndexPoint]:
    """`n` points over the globe; the first ones are at `places`."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, n))).round(7)
    lon = rng.uniform(-180, 180, n).round(7)
    named = {name: unit(rng, n, width) for name, width in dims.items()}
    points = []
    for i in range(n):
        where = places[i] if i < len(places) else (lat[i], lon[i])
        points.append(
            IndexPoint(
                id=identity(i),
                version=1,
                organization_id=ORG_A if i % 3 else ORG_B,
                source_id=SOURCES[i % len(SOURCES)],
                kind="photo" if i % 2 else "street",
                point=Point(float(where[0]), float(where[1])),
                captured_at=None if i % 7 == 0 else START + timedelta(hours=i, microseconds=i),
                cell=0x87283472BFFFFFF + i,
                group=f"group-{i // 4}",
                vectors={name: vectors[i] for name, vectors in named.items()},
            )
        )
    return points


class FolderSource:
    """A point source that reads the files `n`, `extra`, `lacking`, `crash`, `slow`, `contract`."""

    def __init__(self, folder: Path, contract: str | None = None) -> None:
        self.folder, self.contract = folder, contract

    def _number(self, name: str, default: int = 0) -> int:
        path = self.folder / name
        return int(path.read_text()) if path.exists() else default

    def spec(self) -> IndexSpec:
        contract = self.folder / "contract"
        name = contract.read_text() if contract.exists() else SPEC.contract
        return IndexSpec(contract=self.contract or name, dims=DIMS)

    def bounds(self) -> tuple[int, int]:
        count = self._number("n") + self._number("extra") + self._number("lacking")
        return count, count

    def watermark(self) -> int:
        return 1 + self._number("extra")

    def stream(self, since: int = 0, chunk: int = 512):
        (self.folder / "streaming").touch()
        everything = gallery(self._number("n"))
        extra = gallery(self._number("n") + self._number("extra"))[self._number("n") :]
        rows = everything + extra if since == 0 else extra[since - 1 :]
        for start in range(0, len(rows), chunk):
            yield rows[start : start + chunk]
            if since == 0 and (self.folder / "crash").exists():
                os._exit(9)
            if since == 0 and (self.folder / "fail").exists():
                raise DatabaseUnavailableError("the database went away")
            while since == 0 and (self.folder / "slow").exists():
                time.sleep(0.02)

    def tombstones(self, since: int = 0) -> dict[UUID, int]:
        return {identity(10_000): 5}


def open_folder_source(contract: str | None = None) -> FolderSource:
    return FolderSource(Path(os.environ["INDEX_TEST_SOURCE"]), contract)
