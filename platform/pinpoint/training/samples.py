"""What training sees: one row for each picture, of manifests or the catalogue, nothing decoded.

Letters: N pictures. Columns are arrays `[N]` in the order of the sources.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.errors import BadManifest, BadRequest
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import LatLon
from pinpoint.media.checks import rejected
from pinpoint.media.manifests import read_manifest
from pinpoint.media.rows import ManifestRow
from pinpoint.records import KINDS, Rejected, SourceKind
from pinpoint.settings import MediaSettings

Texts = NDArray[Any]
"""Texts `[N]` of any length (`numpy.dtypes.StringDType`); an unknown one is empty."""
Rows = NDArray[np.int64]
"""Row numbers of a table."""

CHANGED: Final = "changed_since"
"""Reason of a file that is not the one that was ingested, as a re-embedding calls it."""
_EXAMPLES: Final = 3
"""Refused rows quoted for each reason; the counts are complete."""


class Sample(NamedTuple):
    """One picture; `Samples` says what the columns are."""

    id: str
    file: str
    size_bytes: int
    lat: float
    lon: float
    kind: SourceKind
    creator: str
    sequence: str
    sha256: str = ""
    face: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A table of pictures.

    Raises:
        ValueError: Columns of different lengths, or an id that is there twice.
    """

    ids: Texts
    """Source, slash, external id: the same on every machine, whatever folder the files lie in."""
    files: Texts
    """Absolute paths."""
    sizes: NDArray[np.int64]
    """Bytes of the files: in the fingerprint, so that a replaced file is noticed unread."""
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    kinds: Texts
    creators: Texts
    """Authors, as the manifest names them; the same name in two sources is one author."""
    sequences: Texts
    """Drives; faces of one panorama without a drive are one sequence of their own."""
    hashes: Texts
    """SHA-256 that the file must have: the catalogue's; empty where nobody knows it."""
    faces: Texts
    """Which face of the file, where it must be one; else any is as good."""
    cells: NDArray[np.int64]
    """H3 cells of `resolution`."""
    resolution: int

    def __post_init__(self) -> None:
        shapes = {name: column.shape for name, column in self._columns()}
        if set(shapes.values()) != {(len(self.ids),)}:
            raise ValueError(f"columns of different lengths: {shapes}")
        if len(np.unique(self.ids)) < len(self.ids):
            twice = Counter(self.ids.tolist()).most_common(1)[0][0]
            raise ValueError(f"the id {twice} is there twice")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> LatLon:
        """`[N, 2]` degrees."""
        return np.column_stack([self.lat, self.lon])

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over every row in order, but not over where the files lie."""
        hashed = hashlib.sha256()
        said = [
            column.tolist()
            for name, column in self._columns()
            # Manifests know no hashes, and tables without any keep the fingerprint they always had.
            if name not in _DERIVED and (name != "hashes" or (column != "").any())
        ]
        for row in zip(*said, strict=True):
            hashed.update(json.dumps(row).encode() + b"\n")
        return hashed.hexdigest()

    def _columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for field in fields(self):
            if field.name != "resolution":
                yield field.name, getattr(self, field.name)


_DERIVED: Final = frozenset({"files", "faces", "cells"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A manifest as `pinpoint world make` writes and `pinpoint ingest` takes."""

    manifest: Path
    kind: SourceKind
    name: str | None = None
    """Part of the ids; without it the name of the manifest's folder."""

    def __str__(self) -> str:
        return str(self.manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Rows of a source of the catalogue, read before."""

    name: str
    """Organisation, slash, source."""
    rows: Sequence[Sample | Rejected]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Samples of all sources, and an account of the rows that are none."""

    samples: Samples
    rows: int
    """Rows read: `len(samples)` and all that `dropped` counts."""
    dropped: Mapping[str, int]
    """Rows by reason: one of `pinpoint.media.checks.REASONS`, or `duplicate`, or what `taken` of
    `pinpoint.training.held` says."""
    examples: tuple[Rejected, ...]
    """The first few of each reason."""
    read_at: str | None = None
    """When the catalogue was read, ISO 8601; None without it."""


def texts(values: ArrayLike) -> Texts:
    """Texts as a column."""
    return np.array(values, dtype=np.dtypes.StringDType())


def read_samples(
    sources: Sequence[Source | Held], settings: MediaSettings, *, resolution: int = 5
) -> Gathered:
    """Read manifests, and rows of the catalogue, into one table; no picture is opened.

    Positions and authors are taken from the manifest alone: what only a file's EXIF says is not
    known here, and a row without a position is dropped as `no_position`.

    Args:
        sources: Manifests with the kind of their pictures, or what the catalogue held.
        settings: `max_manifest_rows` and `max_bytes` hold.
        resolution: H3 resolution of the cells that batches are balanced over, in [0, 15]; 5 is
            about 253 km² each.

    Raises:
        BadRequest: No source, an unknown kind, two sources of one name, a wrong resolution.
        BadManifest: A manifest cannot be read at all, or no row of any can be used.
        TooLarge: A manifest has too many rows.
    """
    names = _names(sources)
    if not 0 <= resolution <= 15:
        raise BadRequest(f"cells have a resolution in [0, 15], not {resolution}")
    kept: list[Sample] = []
    dropped: Counter[str] = Counter()
    examples: list[Rejected] = []
    seen: set[str] = set()
    for source, name in zip(sources, names, strict=True):
        for taken in _taken(source, name, seen, settings):
            if isinstance(taken, Sample):
                seen.update(taken[:2])
                kept.append(taken)
                continue
            dropped[taken.reason] += 1
            if dropped[taken.reason] <= _EXAMPLES:
                examples.append(taken)
    if not kept:
        which = ", ".join(map(str, sources))
        why = ", ".join(f"{reason} {count}" for reason, count in dropped.items()) or "no rows"
        raise BadManifest(f"there is nothing to train on in {which}: {why}")
    return Gathered(
        samples=_table(kept, resolution),
        rows=len(kept) + sum(dropped.values()),
        dropped=dict(dropped),
        examples=tuple(examples),
    )


def _names(sources: Sequence[Source | Held]) -> list[str]:
    if not sources:
        raise BadRequest("training needs at least one manifest")
    unknown = sorted({one.kind for one in sources if isinstance(one, Source)} - set(KINDS))
    if unknown:
        raise BadRequest(f"no source kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    names = [
        one.name or one.manifest.resolve().parent.name if isinstance(one, Source) else one.name
        for one in sources
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadRequest(f"two sources are called {twice[0]}; name them apart, ids depend on it")
    return names


def _taken(
    source: Source | Held, name: str, seen: set[str], settings: MediaSettings
) -> Iterator[Sample | Rejected]:
    if isinstance(source, Held):
        before = frozenset(seen)  # faces of one panorama share their file
        for one in source.rows:
            if isinstance(one, Sample) and (one.file in before or one.id in seen):
                yield _duplicate(one.id, "an earlier source has the same file")
            else:
                yield one
        return
    for row in read_manifest(source.manifest, settings):
        yield _sample(row, source.kind, name, seen, settings.max_bytes)


def _duplicate(file: str, detail: str) -> Rejected:
    return Rejected(file=file, stage="find", reason="duplicate", detail=detail)


def _sample(
    row: ManifestRow | Rejected, kind: SourceKind, source: str, seen: set[str], max_bytes: int
) -> Sample | Rejected:
    """A manifest's row, or why it cannot be used."""
    if isinstance(row, Rejected):
        return row
    hint = row.hint
    if hint.lat is None or hint.lon is None:
        return rejected(row.name, "no_position", "its manifest row gives no position")
    name, file = f"{source}/{row.external_id}", str(row.file)
    if name in seen or file in seen:
        return _duplicate(
            row.name, f"an earlier row has the same file, or the id {row.external_id}"
        )
    size_bytes = row.file.stat().st_size
    if not 0 < size_bytes <= max_bytes:
        return rejected(
            row.name, "too_large" if size_bytes else "empty_file", f"{size_bytes} bytes"
        )
    panorama = f"panorama {source}/{hint.panorama_id}" if hint.panorama_id else ""
    drive = hint.sequence or panorama
    return Sample(name, file, size_bytes, hint.lat, hint.lon, kind, hint.creator or "", drive)


def _table(kept: Sequence[Sample], resolution: int) -> Samples:
    ids, files, sizes, lat, lon, kinds, creators, sequences, hashes, faces = zip(*kept, strict=True)
    positions = np.array([lat, lon], dtype=np.float64).T
    return Samples(
        ids=texts(ids),
        files=texts(files),
        sizes=np.array(sizes, dtype=np.int64),
        lat=positions[:, 0].copy(),
        lon=positions[:, 1].copy(),
        kinds=texts(kinds),
        creators=texts(creators),
        sequences=texts(sequences),
        hashes=texts(hashes),
        faces=texts(faces),
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
    )
