"""The script of work: seeded images, and phases of independent operations.

Operations of a phase may run concurrently and in any order; the next phase starts when all work is
complete. So there is one correct final state, whatever faults occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from media.pictures import exif, noise, saved

Overrides = dict[str, dict[str, Any]]
Bytes = Callable[[], Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a user.

    Args:
        name: Name in reports; unique in the script.
        verb: upload | folder | fix | delete | erase.
        source: Name of the source it works on.
        files: Returns the files to send or to write (upload, folder).
        metadata_overrides: Metadata overrides of uploaded files.
        ids: External ids to fix or delete, with the fields to fix.
    """

    name: str
    verb: str
    source: str
    files: Bytes = dict
    metadata_overrides: Overrides = field(default_factory=dict)
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)


SOURCES = {
    "alpha": ("photo", "copy"),
    "beta": ("street", "rendition"),
    "gamma": ("photo", "reference"),
    "delta": ("street", "copy"),
    "omega": ("photo", "copy"),
    "psi": ("photo", "copy"),
}
FOLDERS = ("gamma", "delta")


def seeded_photo(seed: int, where: int) -> bytes:
    """A small seeded JPEG at position number `where`."""
    lat, lon = 48.0 + 0.01 * (where % 90), 2.0 + 0.01 * (where // 90)
    gps = {1: "N", 2: _degrees(lat), 3: "E", 4: _degrees(lon)}
    return saved(noise(96, 72, seed=seed), quality=90, exif=exif(gps=gps))


def _degrees(value: float) -> tuple[float, float, float]:
    return (float(int(value)), float(int(value * 60) % 60), round(value * 3600 % 60, 3))


class World:
    """All operations of a seed.

    Args:
        seed: Fixes every byte.
        files: Files in one upload or folder.
    """

    def __init__(self, seed: int, files: int = 24) -> None:
        self._rng = np.random.default_rng(seed)
        self._base = int(self._rng.integers(1, 1_000_000)) * 1_000
        self._count = files

    def _files(self, prefix: str, generation: int, first: int = 0, count: int = 0) -> Bytes:
        start = self._base + 97 * sum(map(ord, prefix)) + 100_003 * generation
        numbers = range(first, first + (count or self._count))
        return lambda: {
            f"{prefix}/{n:03d}.jpg": seeded_photo(start + n, 7 * n + sum(map(ord, prefix)))
            for n in numbers
        }

    def _with_bad(self, prefix: str, generation: int) -> Bytes:
        good = self._files(prefix, generation)

        def files() -> dict[str, bytes]:
            made = dict(good())
            first = next(iter(made.values()))
            made[f"{prefix}/torn.jpg"] = first[: len(first) // 3]
            made[f"{prefix}/words.jpg"] = b"these are only words"
            made[f"{prefix}/nowhere.jpg"] = saved(noise(96, 72, seed=self._base + generation))
            return made

        return files

    def phases(self) -> list[list[Op]]:
        """Four phases of five operations."""
        half, names = self._count // 2, range(self._count)
        fixes = {
            f"d/{n:03d}.jpg": {"lat": 40.0 + n / 100, "lon": -3.0, "creator": f"c{n}"}
            for n in names
            if n % 3 == 0
        }
        moved = {
            f"b/{n:03d}.jpg": {"lat": 51.0 + n / 50, "lon": 0.1, "creator": "metadata_override"}
            for n in range(half)
        }
        return [
            [
                Op("first alpha", "upload", "alpha", self._with_bad("a", 0)),
                Op("first beta", "upload", "beta", self._files("b", 0)),
                Op("first gamma", "folder", "gamma", self._with_bad("g", 0)),
                Op("first delta", "folder", "delta", self._files("d", 0)),
                Op("first omega", "upload", "omega", self._files("o", 0)),
            ],
            [
                Op("replace alpha", "upload", "alpha", self._files("a", 1, 0, half)),
                Op("metadata beta", "upload", "beta", self._files("b", 0, 0, half), moved),
                Op("rewrite gamma", "folder", "gamma", self._files("g", 1, half, self._count)),
                Op("fix delta", "fix", "delta", ids=fixes),
                Op("delete delta", "delete", "delta", ids=self._every("d", 1)),
            ],
            [
                Op("erase omega", "erase", "omega"),
                Op("delete alpha", "delete", "alpha", ids=self._every("a", 1)),
                Op("twins beta", "upload", "beta", self._twins()),
                Op("unchanged gamma", "folder", "gamma", self._files("g", 1, half, half)),
                Op("first psi", "upload", "psi", self._files("p", 0)),
            ],
            [
                Op("back alpha", "upload", "alpha", self._files("a", 2)),
                Op("delete beta", "delete", "beta", ids=self._every("b", 2)),
                Op("fix gamma", "fix", "gamma", ids={"g/000.jpg": {"lat": 1.0, "lon": 2.0}}),
                Op("replace delta", "folder", "delta", self._files("d", 1, 0, half)),
                Op("erase psi", "erase", "psi"),
            ],
        ]

    def _every(self, prefix: str, rest: int) -> dict[str, dict[str, Any]]:
        return {f"{prefix}/{n:03d}.jpg": {} for n in range(self._count) if n % 3 == rest}

    def _twins(self) -> Bytes:
        """Files whose bytes the source already has under other names, and some new files."""
        old, new = self._files("b", 0, self._count - 4, 4), self._files("b2", 0)
        return lambda: {f"twin-{name}": data for name, data in old().items()} | dict(new())


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files of a folder operation, each replaced in one step."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_bytes(data)
        draft.replace(path)
