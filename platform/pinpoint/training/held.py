"""What the catalogue held when a run began: read once, and kept in the run's folder.

A gallery grows while a run is broken off; a run that goes on must see the pictures it began with.
So rows, their places and their reasons are written down before the first picture is decoded, and
from then on the stack is not asked again.

catalogue.jsonl   a header, then a line for each row: a sample, or why it is none
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadRequest, Conflict, DatabaseUnavailable
from pinpoint.ports import Gallery
from pinpoint.records import Rejected, TrainingRow, TrainingSource
from pinpoint.training.configs import CatalogueConfig
from pinpoint.training.samples import CHANGED, Held, Sample

HELD: Final = "catalogue.jsonl"
_FORMAT: Final = 1


def hold(
    folder: Path, wanted: Sequence[CatalogueConfig], gallery: Gallery | None, max_bytes: int
) -> None:
    """Read sources of the catalogue and write down what they hold.

    Args:
        folder: Of the run.
        wanted: Sources with their organisations.
        gallery: The catalogue; None where nobody opened one.
        max_bytes: Of a file.

    Raises:
        BadRequest: No catalogue, or a source without a picture that can be reached.
        NotFound: There is no such source.
        DatabaseUnavailable: The stack is down.
    """
    if gallery is None:
        raise BadRequest("the config names sources of the catalogue, and no stack was opened")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    part = folder / f"{HELD}.part"
    with part.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"format": _FORMAT, "read_at": now, "asked": _asked(wanted)}) + "\n")
        names: set[str] = set()
        for each in wanted:
            source = _read(gallery, each)
            name = f"{source.organization}/{source.name}"
            if name in names:
                raise BadRequest(f"the config names source {name} twice")
            names.add(name)
            rows = [taken(row, name, max_bytes) for row in source.rows]
            if not any(isinstance(row, Sample) for row in rows):
                reasons = Counter(row.reason for row in rows if isinstance(row, Rejected))
                why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
                raise BadRequest(
                    f"no image of source {source.name!r} of organisation {source.organization} "
                    f"can be trained on: {why or 'it has none'}"
                )
            for row in rows:
                one = row if isinstance(row, Sample) else asdict(row)
                out.write(json.dumps([name, one]) + "\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, folder / HELD)


def held(folder: Path, wanted: Sequence[CatalogueConfig]) -> tuple[list[Held], str]:
    """The sources as `hold` wrote them down, in the order of `wanted`, and when that was.

    Raises:
        Conflict: Nothing was written there, or of other sources.
    """
    path = folder / HELD
    try:
        with path.open(encoding="utf-8") as lines:
            header = json.loads(next(lines))
            if header["format"] != _FORMAT or header["asked"] != _asked(wanted):
                raise Conflict(
                    f"{folder} holds a run over other sources of the catalogue "
                    f"({header['asked']}); choose another folder"
                )
            found = _rows(lines)
        return [Held(name=name, rows=rows) for name, rows in found.items()], str(header["read_at"])
    except (OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise Conflict(f"{path} cannot be read ({error}); choose another folder") from error


def taken(row: TrainingRow, source: str, max_bytes: int) -> Sample | Rejected:
    """A row as a sample, or why its picture cannot be used; the file is looked at, not opened.

    Reasons are `not_indexed`, `missing_file`, `changed_since` and `too_large`.
    """
    name = f"{row.external_id}#{row.face}" if row.face else row.external_id
    if row.state != "indexed":
        return _dropped(name, "not_indexed", f"its row is {row.state}")
    path = Path(row.path) if row.path else None
    if path is None or not path.is_file():
        kept = f"nothing at {path}" if path else "nothing of it is kept"
        return _dropped(name, "missing_file", kept)
    size_bytes = path.stat().st_size
    if row.sha256 is not None and size_bytes != row.size_bytes:
        detail = f"{size_bytes} bytes, and {row.size_bytes} were ingested"
        return _dropped(name, CHANGED, detail)
    if size_bytes > max_bytes:
        return _dropped(name, "too_large", f"{size_bytes} bytes")
    panorama = f"panorama {source}/{row.panorama_id}" if row.panorama_id else ""
    return Sample(
        id=f"{source}/{name}",
        file=str(path),
        size_bytes=size_bytes,
        lat=row.point.lat,
        lon=row.point.lon,
        kind=row.kind,
        creator=row.creator or "",
        sequence=row.sequence or panorama,
        sha256=row.sha256 or "",
        face=(row.face or "") if row.sha256 else "",
    )


def _read(gallery: Gallery, each: CatalogueConfig) -> TrainingSource:
    try:
        return gallery.read(each.source, str(each.organization))
    except DatabaseUnavailable as error:
        raise DatabaseUnavailable(
            f"the config names source {each.source!r} of the catalogue, and {error.message}; "
            "say `pinpoint up`, or name manifests instead"
        ) from error


def _asked(wanted: Sequence[CatalogueConfig]) -> list[list[str | None]]:
    return [[one.organization, one.source] for one in wanted]


def _rows(lines: Iterator[str]) -> dict[str, list[Sample | Rejected]]:
    found: dict[str, list[Sample | Rejected]] = {}
    for line in lines:
        name, said = json.loads(line)
        one: Any = Rejected(**said) if isinstance(said, dict) else Sample(*said)
        found.setdefault(name, []).append(one)
    return found


def _dropped(file: str, reason: str, detail: str) -> Rejected:
    return Rejected(file=file, stage="find", reason=reason, detail=detail)
