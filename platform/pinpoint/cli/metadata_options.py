"""Options of `validate` and `ingest` for metadata, and notes about files that are not photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.cli import output
from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.media.manifests.columns import parse_column_options
from pinpoint.media.manifests.manifest_files import FORMAT_NAMES, ManifestSummary, is_manifest
from pinpoint.media.metadata.clocks import check_zone, read_clock_offset
from pinpoint.media.sidecars import LABELS, SIDECAR_KINDS, UNREAD_KINDS, OtherFile, find_other_files
from pinpoint.records import ReadOptions

TrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        help="GPX track to use if several overlap in time: the name of the track, a GPX file, or "
        "`FILE#2` for the second track of a file.",
        show_default=False,
    ),
]
TimeZoneOption = Annotated[
    str | None,
    typer.Option(
        "--time-zone",
        help="Time zone of capture times without an offset: an IANA name, such as `Europe/Paris`, "
        "or an offset, such as `+02:00`.",
        show_default=False,
    ),
]
ClockOption = Annotated[
    str | None,
    typer.Option(
        "--camera-clock-offset",
        help="Offset that is added to camera times: `+HH:MM:SS`, `-HH:MM:SS` or seconds; "
        "positive for a slow clock.",
        show_default=False,
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Meaning of a manifest column, such as `x=longitude`; `x=attribute` keeps the column "
        "as an attribute; may be repeated.",
        show_default=False,
    ),
]
_MAX_NAMES: Final = 100
_MAX_SHOWN: Final = 5


def read_options(
    track: str | None, time_zone: str | None, clock: str | None, columns: Sequence[str] | None
) -> ReadOptions:
    """Parse the options.

    Raises:
        BadRequestError: A time zone, an offset or a column is invalid.
    """
    return ReadOptions(
        track=track,
        time_zone=None if time_zone is None else check_zone(time_zone),
        camera_clock_offset_s=None if clock is None else read_clock_offset(clock),
        columns=parse_column_options(columns or ()),
    )


def find_manifest(folder: Path, manifest: Path) -> Path:
    """Find a manifest by its path, or by its name in the folder with its files.

    Raises:
        BadManifestError: It does not exist.
        BadRequestError: `folder` is not a folder, or the file is no manifest.
    """
    if not folder.is_dir():
        raise BadRequestError(f"--manifest needs a folder with its files as PATH, not {folder}")
    path = manifest if manifest.exists() else folder / manifest
    if not path.is_file():
        raise BadManifestError(
            f"there is no manifest {manifest}, neither in {folder} nor elsewhere"
        )
    if not is_manifest(path):
        raise BadRequestError(f"{manifest} is no manifest: give {FORMAT_NAMES}")
    return path


def find_files_beside(path: Path) -> list[OtherFile]:
    """Find files below a folder that are not photos; for a photo, files with the same stem."""
    if path.is_dir():
        return list(find_other_files(path))
    if is_manifest(path):
        return list(find_other_files(path.parent))
    stem = f"{path.stem}."
    return [file for file in find_other_files(path.parent) if file.name.startswith(stem)]


def other_files_to_dict(others: Sequence[OtherFile]) -> dict[str, Any]:
    """Group the files by type, with counts and names."""
    groups = {
        "tracks": [file for file in others if file.kind == "track"],
        "manifests": [file for file in others if file.kind == "manifest"],
        "sidecars": [file for file in others if file.kind in SIDECAR_KINDS],
        "sidecars_not_read": [file for file in others if file.kind in UNREAD_KINDS],
        "other": [file for file in others if file.kind == "other"],
    }
    fields: dict[str, Any] = {
        name: {"count": len(group), "names": [file.name for file in group[:_MAX_NAMES]]}
        for name, group in groups.items()
    }
    for name in ("sidecars", "sidecars_not_read"):
        fields[name]["kinds"] = dict(Counter(file.kind for file in groups[name]))
    return fields


def describe_others(others: Sequence[OtherFile]) -> list[str]:
    """Describe the files that are not photos: counts by type, and unread sidecars."""
    counts: Counter[str] = Counter(file.kind for file in others)
    parts = [
        f"{counts[kind]} {word if counts[kind] == 1 else word + 's'}"
        for kind, word in (("track", "GPX file"), ("manifest", "manifest"), ("other", "other file"))
        if counts[kind]
    ]
    lines = [f"not photos: {', '.join(parts)}"] if parts else []
    return lines + describe_sidecars(others)


def describe_sidecars(others: Sequence[OtherFile]) -> list[str]:
    """Describe the sidecars, if there are any: those that are read, and those that are not."""
    counts: Counter[str] = Counter(file.kind for file in others)
    lines = []
    num_read = sum(counts[kind] for kind in SIDECAR_KINDS)
    if num_read:
        noun = "sidecar is" if num_read == 1 else "sidecars are"
        kinds = ", ".join(f"{counts[k]} {LABELS[k]}" for k in SIDECAR_KINDS if counts[k])
        lines.append(f"{num_read} {noun} read with the photos that they are named after ({kinds})")
    sidecars = [file for file in others if file.kind in UNREAD_KINDS]
    if not sidecars:
        return lines
    kinds = ", ".join(f"{counts[kind]} {LABELS[kind]}" for kind in UNREAD_KINDS if counts[kind])
    noun = "sidecar is" if len(sidecars) == 1 else "sidecars are"
    return [
        *lines,
        f"{len(sidecars)} {noun} not read ({kinds}): "
        f"{_list_names(file.name for file in sidecars)}; "
        "positions and times in them are not used, a manifest can give them",
    ]


def describe_columns(summary: ManifestSummary) -> list[str]:
    """Describe the layout and the unknown columns of a manifest, if there are any."""
    layout = [] if summary.layout is None else [f"{summary.name}: read as {summary.layout}"]
    if not summary.attributes:
        return layout
    names = _list_names(summary.attributes, limit=20)
    return [*layout, f"{summary.name}: columns kept as attributes, without a meaning: {names}"]


def note_lines(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        output.warn(line)


def _list_names(names: Iterable[str], limit: int = _MAX_SHOWN) -> str:
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
