"""Snapshot of the catalog's rows at the start of a run, stored in the run's folder.

A gallery may grow while a run is interrupted; a resumed run must use the images it started with.
Therefore rows, their positions and their reasons are written before the first image is decoded,
and the stack is not queried again.

catalog.jsonl   a header, then a line for each row: a sample, or the reason why it is none
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pinpoint.atomic_files import open_atomic
from pinpoint.errors import BadRequestError, ConflictError, DatabaseUnavailableError, describe_cause
from pinpoint.ports import TrainingDataReader
from pinpoint.records import Rejected, TrainingRow, TrainingSource
from pinpoint.training.core.configs import CatalogSourceConfig
from pinpoint.training.core.samples import CHANGED_SINCE_INGEST, Sample, SnapshotSource

SNAPSHOT_FILE: Final = "catalog.jsonl"
_FORMAT: Final = 3


def write_snapshot(
    folder: Path,
    sources: Sequence[CatalogSourceConfig],
    gallery: TrainingDataReader | None,
    max_bytes: int,
    *,
    allow_empty: bool = False,
) -> None:
    """Read sources of the catalog and write their rows.

    Args:
        folder: Folder of the run.
        sources: Sources with their organizations.
        gallery: The catalog; None if no stack is open.
        max_bytes: Maximum size of a file.
        allow_empty: Whether a source may have no usable image.

    Raises:
        BadRequestError: No catalog, or a source without a usable image that must have one.
        NotFoundError: There is no such source.
        DatabaseUnavailableError: The stack is down.
    """
    if gallery is None:
        raise BadRequestError("the config names sources of the catalog, but no stack is open")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # Durable: a resumed run must not read the catalog again, which may have changed.
    with open_atomic(folder / SNAPSHOT_FILE, durable=True) as file:
        header = {"format": _FORMAT, "read_at": now, "sources": _source_keys(sources)}
        file.write(json.dumps(header).encode() + b"\n")
        names: set[str] = set()
        for requested in sources:
            source = _read_source(gallery, requested)
            name = f"{source.organization}/{source.name}"
            if name in names:
                raise BadRequestError(f"the config names source {name} twice")
            names.add(name)
            rows = [snapshot_rows(row, name, max_bytes) for row in source.rows]
            if not allow_empty and not any(isinstance(row, Sample) for row in rows):
                counts = Counter(row.error_code for row in rows if isinstance(row, Rejected))
                reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
                raise BadRequestError(
                    f"no image of source {source.name!r} of organization {source.organization} "
                    f"can be used for training: {reasons or 'it has none'}"
                )
            for row in rows:
                value = row if isinstance(row, Sample) else asdict(row)
                file.write(json.dumps([name, value]).encode() + b"\n")


def read_snapshot(
    folder: Path, sources: Sequence[CatalogSourceConfig]
) -> tuple[list[SnapshotSource], str]:
    """The stored sources, in the order of `sources`, and the time when `write_snapshot` read them.

    Raises:
        ConflictError: The folder has no snapshot, or one of other sources.
    """
    path = folder / SNAPSHOT_FILE
    try:
        with path.open(encoding="utf-8") as lines:
            header = json.loads(next(lines))
            if header["format"] != _FORMAT or header["sources"] != _source_keys(sources):
                raise ConflictError(
                    f"{folder} holds a run with other sources of the catalog "
                    f"({header['sources']}); choose another folder"
                )
            rows_by_source = _parse_rows(lines)
        snapshots = [SnapshotSource(name=name, rows=rows) for name, rows in rows_by_source.items()]
        return snapshots, str(header["read_at"])
    except (OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{path} cannot be read ({describe_cause(error)}); choose another folder"
        ) from error


def snapshot_rows(row: TrainingRow, source: str, max_bytes: int) -> Sample | Rejected:
    """A row as a sample, or why its image cannot be used; the file's size is read, not its content.

    Reasons are `not_indexed`, `missing_file`, `file_modified_since_indexing` and `too_large`.
    """
    name = f"{row.external_id}#{row.cubemap_face}" if row.cubemap_face else row.external_id
    if row.state != "indexed":
        return _rejected_row(name, "not_indexed", f"its row is {row.state}")
    path = Path(row.path) if row.path else None
    if path is None or not path.is_file():
        detail = f"no file at {path}" if path else "its original is not stored"
        return _rejected_row(name, "missing_file", detail)
    size_bytes = path.stat().st_size
    if row.sha256 is not None and size_bytes != row.size_bytes:
        detail = f"{size_bytes} bytes, and {row.size_bytes} were ingested"
        return _rejected_row(name, CHANGED_SINCE_INGEST, detail)
    if size_bytes > max_bytes:
        return _rejected_row(name, "too_large", f"{size_bytes} bytes")
    panorama = f"panorama {source}/{row.panorama_id}" if row.panorama_id else ""
    return Sample(
        id=f"{source}/{name}",
        file=str(path),
        size_bytes=size_bytes,
        lat=row.point.lat,
        lon=row.point.lon,
        kind=row.source_kind,
        creator=row.creator or "",
        sequence=row.sequence or panorama,
        sha256=row.sha256 or "",
        face=(row.cubemap_face or "") if row.sha256 else "",
        panorama=panorama,
    )


def _read_source(gallery: TrainingDataReader, source: CatalogSourceConfig) -> TrainingSource:
    try:
        return gallery.read(source.source, str(source.organization))
    except DatabaseUnavailableError as error:
        raise DatabaseUnavailableError(
            f"the config names source {source.source!r} of the catalog, and {error.message}; "
            "run `pinpoint up`, or name manifests instead"
        ) from error


def _source_keys(sources: Sequence[CatalogSourceConfig]) -> list[list[str | None]]:
    return [[source.organization, source.source] for source in sources]


def _parse_rows(lines: Iterator[str]) -> dict[str, list[Sample | Rejected]]:
    rows_by_source: dict[str, list[Sample | Rejected]] = {}
    for line in lines:
        name, value = json.loads(line)
        row: Any = Rejected(**value) if isinstance(value, dict) else Sample(*value)
        rows_by_source.setdefault(name, []).append(row)
    return rows_by_source


def _rejected_row(file: str, reason: str, detail: str) -> Rejected:
    return Rejected(file=file, error_stage="find", error_code=reason, error_message=detail)
