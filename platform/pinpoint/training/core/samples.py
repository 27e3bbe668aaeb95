"""Training samples: one row for each image of manifests or of the catalog, nothing decoded.

Letters: N images. Columns are arrays `[N]` in the order of the sources.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import LatLonArray
from pinpoint.media.checks import rejected
from pinpoint.media.manifests.manifest_files import read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.records import SOURCE_KINDS, Rejected, SourceKind
from pinpoint.settings import MediaSettings

Texts = NDArray[Any]
"""Texts `[N]` of any length (`numpy.dtypes.StringDType`); an unknown one is empty."""
Rows = NDArray[np.int64]
"""Row numbers of a table."""

CHANGED_SINCE_INGEST: Final = "file_modified_since_indexing"
"""Reason of a file that differs from the ingested one; re-embedding uses the same word."""
_MAX_EXAMPLES: Final = 3
"""Rejected rows kept for each reason; the counts are complete."""


class Sample(NamedTuple):
    """One image; `Samples` describes the columns."""

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
    panorama: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A table of images.

    Raises:
        ValueError: Columns of different lengths, or a duplicate id.
    """

    ids: Texts
    """Source, slash, external id; independent of the machine and of the files' folder."""
    files: Texts
    """Absolute paths."""
    sizes: NDArray[np.int64]
    """Bytes of the files; part of the fingerprint, so that replaced files are detected unread."""
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    kinds: Texts
    creators: Texts
    """Creators, as the manifest names them; the same name in two sources is one creator."""
    sequences: Texts
    """Sequences; the faces of one panorama without a sequence form a sequence."""
    hashes: Texts
    """SHA-256 that the file must have, from the catalog; empty if unknown."""
    faces: Texts
    """Required face of the file; empty if any face may be used."""
    panoramas: Texts
    """Source and id of the panorama that the image is a face of; empty if it is none."""
    cells: NDArray[np.int64]
    """H3 cells of `resolution`."""
    resolution: int

    def __post_init__(self) -> None:
        shapes = {name: column.shape for name, column in self._array_columns()}
        if set(shapes.values()) != {(len(self.ids),)}:
            raise ValueError(f"columns of different lengths: {shapes}")
        if len(np.unique(self.ids)) < len(self.ids):
            twice = Counter(self.ids.tolist()).most_common(1)[0][0]
            raise ValueError(f"the id {twice} occurs twice")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def positions(self) -> LatLonArray:
        """`[N, 2]` degrees."""
        return np.column_stack([self.lat, self.lon])

    def take_rows(self, rows: Rows) -> Samples:
        """The table of some rows, in their order."""
        columns: dict[str, Any] = {name: column[rows] for name, column in self._array_columns()}
        return replace(self, **columns)

    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal over all rows in order, without the paths of the files."""
        hashed = hashlib.sha256()
        columns = [
            column.tolist()
            for name, column in self._array_columns()
            # Tables of manifests have no hashes; without them, older fingerprints remain valid.
            if name not in _DERIVED and (name != "hashes" or (column != "").any())
        ]
        for row in zip(*columns, strict=True):
            hashed.update(json.dumps(row).encode() + b"\n")
        return hashed.hexdigest()

    def _array_columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for field in fields(self):
            if field.name != "resolution":
                yield field.name, getattr(self, field.name)


_DERIVED: Final = frozenset({"files", "faces", "cells", "panoramas"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSource:
    """A manifest, in the format of `pinpoint ingest` and `pinpoint synthetic create`."""

    manifest: Path
    kind: SourceKind
    name: str | None = None
    """Part of the ids; by default the name of the manifest's folder."""

    def __str__(self) -> str:
        return str(self.manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSource:
    """Rows of a source of the catalog, from a snapshot."""

    name: str
    """Organization, slash, source."""
    rows: Sequence[Sample | Rejected]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSamples:
    """Samples of all sources, and counts of the rows that were rejected."""

    samples: Samples
    rows: int
    """Rows read: `len(samples)` and all that `rejected` counts."""
    rejected: Mapping[str, int]
    """Rows by reason: a word of `pinpoint.media.checks.REASONS`, or `duplicate`, or a reason of
    `pinpoint.training.embedder.catalog_snapshot`."""
    examples: tuple[Rejected, ...]
    """The first few of each reason."""
    read_at: str | None = None
    """Time when the catalog was read, ISO 8601; None without a catalog."""


def texts(values: ArrayLike) -> Texts:
    """Texts as a column."""
    return np.array(values, dtype=np.dtypes.StringDType())


def read_samples(
    sources: Sequence[ManifestSource | SnapshotSource],
    settings: MediaSettings,
    *,
    geocell_resolution: int = 5,
) -> LoadedSamples:
    """Read manifests and catalog snapshots into one table; no image is opened.

    Positions and creators come from the manifest only, because no EXIF data is read. A row without
    a position is rejected as `no_position`.

    Args:
        sources: Manifests with the kind of their images, or catalog snapshots.
        settings: `max_manifest_rows` and `max_bytes` apply.
        geocell_resolution: H3 resolution of the cells for balanced batches, in [0, 15]; 5 is about
            253 km² each.

    Raises:
        BadRequestError: No source, an unknown kind, two sources of one name, a wrong resolution.
        BadManifestError: A manifest cannot be read, or no row of any manifest can be used.
        TooLargeError: A manifest has too many rows.
    """
    names = _source_names(sources)
    if not 0 <= geocell_resolution <= 15:
        raise BadRequestError(f"the cells' resolution must be in [0, 15], not {geocell_resolution}")
    samples: list[Sample] = []
    rejection_counts: Counter[str] = Counter()
    examples: list[Rejected] = []
    used_keys: set[str] = set()
    for source, name in zip(sources, names, strict=True):
        for row in _read_rows(source, name, used_keys, settings):
            if isinstance(row, Sample):
                used_keys.update(row[:2])
                samples.append(row)
                continue
            rejection_counts[row.error_code] += 1
            if rejection_counts[row.error_code] <= _MAX_EXAMPLES:
                examples.append(row)
    if not samples:
        names_list = ", ".join(map(str, sources))
        reasons = (
            ", ".join(f"{reason} {count}" for reason, count in rejection_counts.items())
            or "no rows"
        )
        raise BadManifestError(f"there is nothing to train on in {names_list}: {reasons}")
    return LoadedSamples(
        samples=_build_table(samples, geocell_resolution),
        rows=len(samples) + sum(rejection_counts.values()),
        rejected=dict(rejection_counts),
        examples=tuple(examples),
    )


def _source_names(sources: Sequence[ManifestSource | SnapshotSource]) -> list[str]:
    if not sources:
        raise BadRequestError("training needs at least one manifest")
    kinds = {source.kind for source in sources if isinstance(source, ManifestSource)}
    unknown = sorted(kinds - set(SOURCE_KINDS))
    if unknown:
        raise BadRequestError(
            f"unknown source kind {unknown[0]!r}; use one of {', '.join(SOURCE_KINDS)}"
        )
    names = [
        source.name or source.manifest.resolve().parent.name
        if isinstance(source, ManifestSource)
        else source.name
        for source in sources
    ]
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise BadRequestError(
            f"two sources are called {duplicates[0]}; give them different names, which ids contain"
        )
    return names


def _read_rows(
    source: ManifestSource | SnapshotSource, name: str, used_keys: set[str], settings: MediaSettings
) -> Iterator[Sample | Rejected]:
    if isinstance(source, SnapshotSource):
        earlier_keys = frozenset(used_keys)  # Faces of one panorama share their file.
        for row in source.rows:
            if isinstance(row, Sample) and (row.file in earlier_keys or row.id in used_keys):
                yield _duplicate_row(row.id, "an earlier source has the same file")
            else:
                yield row
        return
    for manifest_row in read_manifest(source.manifest, settings):
        yield _to_sample(manifest_row, source.kind, name, used_keys, settings.max_bytes)


def _duplicate_row(file: str, detail: str) -> Rejected:
    return Rejected(file=file, error_stage="find", error_code="duplicate", error_message=detail)


def _to_sample(
    row: ManifestRow | Rejected, kind: SourceKind, source: str, used_keys: set[str], max_bytes: int
) -> Sample | Rejected:
    """A manifest's row as a sample, or why it cannot be used."""
    if isinstance(row, Rejected):
        return row
    metadata_override = row.metadata_override
    if metadata_override.lat is None or metadata_override.lon is None:
        return rejected(row.name, "no_position", "its manifest row has no position")
    name, file = f"{source}/{row.external_id}", str(row.file)
    if name in used_keys or file in used_keys:
        return _duplicate_row(
            row.name, f"an earlier row has the same file, or the id {row.external_id}"
        )
    size_bytes = row.file.stat().st_size
    if not 0 < size_bytes <= max_bytes:
        return rejected(
            row.name, "too_large" if size_bytes else "empty_file", f"{size_bytes} bytes"
        )
    panorama_id = metadata_override.panorama_id
    panorama = f"panorama {source}/{panorama_id}" if panorama_id else ""
    sequence = metadata_override.sequence or panorama
    return Sample(
        name,
        file,
        size_bytes,
        metadata_override.lat,
        metadata_override.lon,
        kind,
        metadata_override.creator or "",
        sequence,
        panorama=panorama,
    )


def _build_table(samples: Sequence[Sample], resolution: int) -> Samples:
    columns = zip(*samples, strict=True)
    ids, files, sizes, lat, lon, kinds, creators, sequences, hashes, faces, panoramas = columns
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
        panoramas=texts(panoramas),
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
    )
