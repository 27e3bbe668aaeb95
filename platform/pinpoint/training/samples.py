"""What training sees: one row for each picture, read from manifests, nothing decoded.

Letters: N pictures. Columns are arrays `[N]` in the order of the manifests.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

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

_EXAMPLES: Final = 3
"""Refused rows quoted for each reason; the counts are complete."""


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
        said = [column.tolist() for name, column in self._columns() if name not in _DERIVED]
        for row in zip(*said, strict=True):
            hashed.update(json.dumps(row).encode() + b"\n")
        return hashed.hexdigest()

    def _columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for field in fields(self):
            if field.name != "resolution":
                yield field.name, getattr(self, field.name)


_DERIVED: Final = frozenset({"files", "cells"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A manifest as `pinpoint world make` writes and `pinpoint ingest` takes."""

    manifest: Path
    kind: SourceKind
    name: str | None = None
    """Part of the ids; without it the name of the manifest's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Samples of manifests, and an account of the rows that are none."""

    samples: Samples
    rows: int
    """Rows read: `len(samples)` and all that `dropped` counts."""
    dropped: Mapping[str, int]
    """Rows by reason: one of `pinpoint.media.checks.REASONS`, or `duplicate`."""
    examples: tuple[Rejected, ...]
    """The first few of each reason."""


def texts(values: ArrayLike) -> Texts:
    """Texts as a column."""
    return np.array(values, dtype=np.dtypes.StringDType())


def read_samples(
    sources: Sequence[Source], settings: MediaSettings, *, resolution: int = 5
) -> Gathered:
    """Read manifests into one table; no picture is opened.

    Positions and authors are taken from the manifest alone: what only a file's EXIF says is not
    known here, and a row without a position is dropped as `no_position`.

    Args:
        sources: Manifests with the kind of their pictures.
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
    kept: list[tuple[Any, ...]] = []
    dropped: Counter[str] = Counter()
    examples: list[Rejected] = []
    seen: set[str] = set()
    for source, name in zip(sources, names, strict=True):
        for row in read_manifest(source.manifest, settings):
            taken = _sample(row, source.kind, name, seen, settings.max_bytes)
            if not isinstance(taken, Rejected):
                seen.update(taken[:2])
                kept.append(taken)
                continue
            dropped[taken.reason] += 1
            if dropped[taken.reason] <= _EXAMPLES:
                examples.append(taken)
    if not kept:
        which = ", ".join(str(source.manifest) for source in sources)
        why = ", ".join(f"{reason} {count}" for reason, count in dropped.items()) or "no rows"
        raise BadManifest(f"there is nothing to train on in {which}: {why}")
    return Gathered(
        samples=_table(kept, resolution),
        rows=len(kept) + sum(dropped.values()),
        dropped=dict(dropped),
        examples=tuple(examples),
    )


def _names(sources: Sequence[Source]) -> list[str]:
    if not sources:
        raise BadRequest("training needs at least one manifest")
    unknown = sorted({source.kind for source in sources} - set(KINDS))
    if unknown:
        raise BadRequest(f"no source kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    names = [source.name or source.manifest.resolve().parent.name for source in sources]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadRequest(f"two sources are called {twice[0]}; name them apart, ids depend on it")
    return names


def _sample(
    row: ManifestRow | Rejected, kind: SourceKind, source: str, seen: set[str], max_bytes: int
) -> tuple[Any, ...] | Rejected:
    """A row's columns up to the sequence, or why it cannot be used."""
    if isinstance(row, Rejected):
        return row
    hint = row.hint
    if hint.lat is None or hint.lon is None:
        return rejected(row.name, "no_position", "its manifest row gives no position")
    name, file = f"{source}/{row.external_id}", str(row.file)
    if name in seen or file in seen:
        detail = f"an earlier row has the same file, or the id {row.external_id}"
        return Rejected(file=row.name, stage="find", reason="duplicate", detail=detail)
    size_bytes = row.file.stat().st_size
    if not 0 < size_bytes <= max_bytes:
        return rejected(
            row.name, "too_large" if size_bytes else "empty_file", f"{size_bytes} bytes"
        )
    panorama = f"panorama {source}/{hint.panorama_id}" if hint.panorama_id else ""
    drive = hint.sequence or panorama
    return name, file, size_bytes, hint.lat, hint.lon, kind, hint.creator or "", drive


def _table(kept: Sequence[tuple[Any, ...]], resolution: int) -> Samples:
    ids, files, sizes, lat, lon, kinds, creators, sequences = zip(*kept, strict=True)
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
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
    )
