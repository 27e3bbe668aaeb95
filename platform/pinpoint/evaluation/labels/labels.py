"""Reads labels: a table, or a folder of JPEGs with comments → queries with a ground truth.

Counts are conserved: every row becomes a query or is dropped with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Final, cast

from pinpoint.errors import BadManifestError
from pinpoint.evaluation.labels.areas import is_unmatchable
from pinpoint.evaluation.labels.columns import LabelCells, Layout
from pinpoint.evaluation.labels.latlon_order import LatLonOrder, detect_latlon_order
from pinpoint.evaluation.labels.protocols import Protocol
from pinpoint.evaluation.labels.sources import open_labels
from pinpoint.media.checks import RejectedFileError, check_position
from pinpoint.media.files import check_file_name
from pinpoint.media.metadata.raw_metadata import clean_metadata_text, to_finite
from pinpoint.records import Point, SourceKind
from pinpoint.settings import MediaSettings

DROP_REASONS: Final[Mapping[str, str]] = {
    "bad_row": "the row cannot be read, has no file name, or a coordinate is not a number",
    "bad_name": "the file name is not UTF-8",
    "outside_root": "the file name points outside the folder of images",
    "no_position": "no position is given",
    "incomplete_position": "only one of latitude and longitude is given",
    "out_of_range": "the latitude is beyond 90 degrees or the longitude beyond 180",
    "null_island": "the position is 0/0, which devices write for an unknown position",
    "duplicate": "an earlier row has the same file and position",
    "contradiction": "an earlier row has the same file at another position",
    "unreadable_image": "the image cannot be read for its comment",
}
"""Reason of a dropped row → explanation for people."""

MAX_STRATUM_VALUES: Final = 40
"""A column with more distinct values than this is not used as a stratum."""
_MISSING_VALUES: Final = frozenset({"", "nan", "na", "n/a", "null", "none"})
_NAMIBIA: Final = "NA"
_MAX_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledQuery:
    """A query photo with its ground truth."""

    file: str
    """Path relative to the folder of images, with `/`."""
    ground_truth: Point
    creator: str | None
    sequence: str | None
    query_kind: SourceKind | None
    areas: Mapping[str, str | None]
    """Label of every level that the protocol evaluates; None if the release has no label."""
    strata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledQueries:
    """A labeled set as read; `rows` is the sum of `queries` and `dropped`."""

    protocol: Protocol
    queries: tuple[LabeledQuery, ...]
    rows: int
    dropped: Mapping[str, int]
    """Reason, a key of `DROP_REASONS` → rows."""
    notes: tuple[str, ...]
    """Warnings that apply to every metric on this set, for people."""


def read_labels(
    protocol: Protocol,
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    limits: MediaSettings | None = None,
) -> LabeledQueries:
    """Read the queries of a protocol, in the order of its labels.

    Args:
        protocol: The benchmark.
        path: The label file; or a folder, if the protocol defines a label file in it or reads
            JPEG comments.
        columns: A column mapping that replaces the protocol's; see module `columns`.
        limits: Limits for tables and files; by default those of the environment.

    Raises:
        BadManifestError: The labels cannot be read, have no rows, or lack required columns.
        TooLargeError: A limit is exceeded.
    """
    source = open_labels(protocol, path, columns, limits or MediaSettings())
    latlon_order = detect_latlon_order(_read_position(source.layout, row) for row in source.rows())
    queries: dict[str, LabeledQuery] = {}
    dropped: Counter[str] = Counter()
    overruled = 0
    for row in source.rows():
        try:
            query = _build_query(protocol, source.layout, row, latlon_order)
            _reject_repeated(query, queries.get(query.file))
        except RejectedFileError as rejection:
            dropped[rejection.reason] += 1
        else:
            queries[query.file] = query
            overruled += _creator_differs(source.layout, row, query)
    rows = len(queries) + dropped.total()
    if rows == 0:
        raise BadManifestError(f"{path} contains no labels; expected: {protocol.label_format}")
    usable, strata_notes = _drop_wide_strata(tuple(queries.values()))
    return LabeledQueries(
        protocol=protocol,
        queries=usable,
        rows=rows,
        dropped=dict(sorted(dropped.items())),
        notes=(
            *_count_notes(protocol, len(usable)),
            *latlon_order.notes,
            *_creator_notes(overruled),
            *_area_notes(protocol, usable),
            *strata_notes,
        ),
    )


def find_missing_query_files(labeled: LabeledQueries, folder: Path) -> tuple[str, ...]:
    """Query files that are not regular files below the folder, in the order of the labels."""
    return tuple(q.file for q in labeled.queries if not (folder / q.file).is_file())


def _read_position(
    layout: Layout, row: LabelCells | RejectedFileError
) -> tuple[float | None, float | None]:
    """Values of the columns named latitude and longitude; None for values that are not numbers."""
    if isinstance(row, RejectedFileError):
        return None, None
    return to_finite(layout.fields["latitude"](row)), to_finite(layout.fields["longitude"](row))


def _build_query(
    protocol: Protocol,
    layout: Layout,
    row: LabelCells | RejectedFileError,
    latlon_order: LatLonOrder,
) -> LabeledQuery:
    """Convert one row to a query.

    Raises:
        RejectedFileError: A key of `DROP_REASONS`.
    """
    if isinstance(row, RejectedFileError):
        raise row
    texts = {name: _clean_cell(name, read(row)) for name, read in layout.fields.items()}
    lat, lon = _parse_number(texts["latitude"]), _parse_number(texts["longitude"])
    lat, lon = check_position(*((lon, lat) if latlon_order.swapped else (lat, lon)))
    file = _normalize_file_name(layout.fields["file"](row).strip())
    creator_match = layout.creator_pattern.search(file) if layout.creator_pattern else None
    strata = {name: _clean_cell(name, read(row)) for name, read in layout.strata.items()}
    return LabeledQuery(
        file=file,
        ground_truth=Point(lat, lon),
        creator=intern(creator_match[1]) if creator_match else texts.get("creator"),
        sequence=texts.get("sequence"),
        # Another word is a kind without an adapter in the bundle, which then uses its default.
        query_kind=cast("SourceKind | None", texts.get("kind")),
        areas={level: texts.get(level) for level in protocol.areas},
        strata={intern(name): value for name, value in strata.items() if value is not None},
    )


def _clean_cell(name: str, value: str) -> str | None:
    """Text of a cell; None for the markers of missing values in pandas, R and SQL."""
    is_clean = value.isprintable() and len(value) <= _MAX_TEXT
    text = value.strip() if is_clean else clean_metadata_text(value, _MAX_TEXT)
    if text is None or (
        text.casefold() in _MISSING_VALUES and (name, text) != ("country", _NAMIBIA)
    ):
        return None
    # The same areas, creators and strata occur in tens of thousands of rows.
    return intern(text)


def _parse_number(text: str | None) -> float | None:
    if text is None:
        return None
    number = to_finite(text)
    if number is None:
        raise RejectedFileError("bad_row", f"{text[:40]!r} is not a number")
    return number


def _normalize_file_name(name: str) -> str:
    """Normalize a file name and check that it is below the folder of images."""
    if not name or len(name) > _MAX_TEXT:
        raise RejectedFileError(
            "bad_row", f"the file name is empty or longer than {_MAX_TEXT} characters"
        )
    check_file_name(name)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise RejectedFileError("outside_root", f"{name} points outside the folder of images")
    return path.as_posix()


def _reject_repeated(query: LabeledQuery, earlier: LabeledQuery | None) -> None:
    if earlier is not None:
        same = earlier.ground_truth == query.ground_truth
        raise RejectedFileError("duplicate" if same else "contradiction", query.file)


def _creator_differs(
    layout: Layout, row: LabelCells | RejectedFileError, query: LabeledQuery
) -> bool:
    """Whether the creator's cell differs from the creator in the file name."""
    read = layout.fields.get("creator")
    if read is None or isinstance(row, RejectedFileError):
        return False
    return _clean_cell("creator", read(row)) not in (None, query.creator)


def _drop_wide_strata(
    queries: tuple[LabeledQuery, ...],
) -> tuple[tuple[LabeledQuery, ...], list[str]]:
    """Remove strata with too many values; returns the queries and a note that lists the strata."""
    values: dict[str, set[str]] = {}
    for query in queries:
        for name, value in query.strata.items():
            values.setdefault(name, set()).add(value)
    wide = sorted(name for name, distinct in values.items() if len(distinct) > MAX_STRATUM_VALUES)
    if not wide:
        return queries, []
    note = f"not used as strata (more than {MAX_STRATUM_VALUES} distinct values): {', '.join(wide)}"
    reduced = (
        replace(q, strata={name: q.strata[name] for name in q.strata if name not in wide})
        for q in queries
    )
    return tuple(reduced), [note]


def _count_notes(protocol: Protocol, num_queries: int) -> Iterator[str]:
    """Notes if the number of queries differs from the release, or the release has two numbers."""
    expected, released = protocol.num_labels, protocol.num_released_images
    if expected is not None and num_queries != expected:
        yield f"{num_queries:,} queries; the release has {expected:,} labeled photos"
    if expected is not None and released is not None and released != expected:
        yield f"{released:,} images were released, {expected:,} of them with a label"


def _creator_notes(overruled: int) -> Iterator[str]:
    if overruled:
        yield (
            f"{overruled:,} creators were taken from the file name, because the column has "
            "another value"
        )


def _area_notes(protocol: Protocol, queries: tuple[LabeledQuery, ...]) -> Iterator[str]:
    """Notes about missing labels, and about labels that no answer can match as released."""
    for level in protocol.areas:
        labels = [query.areas[level] for query in queries]
        if (unlabeled := labels.count(None)) and unlabeled < len(labels):
            yield (
                f"{level}: {unlabeled:,} of {len(labels):,} rows have no label; as released they "
                "count as wrong, over labeled rows they are excluded"
            )
        if num_unmatchable := sum(map(is_unmatchable, labels)):
            yield (
                f"{level}: {num_unmatchable:,} labels contain NaN for an unknown part; as released "
                "no answer can match them, over labeled rows the part is treated as empty"
            )
        if level == "country" and (namibia := labels.count(_NAMIBIA)):
            yield (
                f"country: {namibia:,} rows are labeled NA, Namibia; evaluators that use "
                "pandas' defaults read that as a missing label"
            )
