"""Reading labels: a table or a folder of commented JPEGs → questions with a known answer.

Counts are conserved: every row becomes a question or is dropped under a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Final

from pinpoint.errors import BadManifest
from pinpoint.evaluation.areas import unmatchable
from pinpoint.evaluation.axes import Axes, axes_of
from pinpoint.evaluation.columns import Cells, Layout
from pinpoint.evaluation.protocols import Protocol
from pinpoint.evaluation.sources import open_labels
from pinpoint.media.checks import Refused, check_position
from pinpoint.media.facts import clean_text, finite
from pinpoint.media.files import check_name
from pinpoint.records import Point, SourceKind
from pinpoint.settings import MediaSettings

DROPPED: Final[Mapping[str, str]] = {
    "bad_row": "the row cannot be read, names no file, or a coordinate is no number",
    "bad_name": "the file's name is not UTF-8",
    "outside_root": "the file's name leads out of the folder of images",
    "no_position": "no position is given",
    "half_position": "only one of latitude and longitude is given",
    "out_of_range": "the latitude is beyond 90 degrees or the longitude beyond 180",
    "null_island": "the position is 0/0, what devices write when they do not know",
    "duplicate": "an earlier row says the same of the same file",
    "contradiction": "an earlier row puts the same file elsewhere",
    "unreadable_image": "the image cannot be read for its comment",
}
"""Why a row is no question, for people."""

MAX_STRATUM_VALUES: Final = 40
"""A column with more different values than this sorts nothing, and is left out of the strata."""
_MISSING_VALUES: Final = frozenset({"", "nan", "na", "n/a", "null", "none"})
_NAMIBIA: Final = "NA"
_MAX_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A photo to be placed, and what is known of it."""

    file: str
    """Relative to the folder of images, with `/`."""
    truth: Point
    creator: str | None
    sequence: str | None
    kind: SourceKind | None
    areas: Mapping[str, str | None]
    """Label of every level that the protocol judges; None where the release has none."""
    strata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A set of labelled photos as read; `rows` is the sum of `questions` and `dropped`."""

    protocol: Protocol
    questions: tuple[Question, ...]
    rows: int
    dropped: Mapping[str, int]
    """Reason, a key of `DROPPED` → rows."""
    notes: tuple[str, ...]
    """What a reader of any figure on this set should know, for people."""


def read_labels(
    protocol: Protocol,
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    limits: MediaSettings | None = None,
) -> Labelled:
    """Questions of a protocol, in the order of its labels.

    Args:
        protocol: What is expected.
        path: The label file; or a folder, where the protocol knows a label file in it or reads
            the comments of JPEG files.
        columns: A column mapping in place of the protocol's own; see `columns`.
        limits: Of tables and files; the environment's by default.

    Raises:
        BadManifest: The labels cannot be read, hold no row, or do not have the columns.
        TooLarge: A limit is exceeded.
    """
    source = open_labels(protocol, path, columns, limits or MediaSettings())
    axes = axes_of(_read_position(source.layout, row) for row in source.rows())
    queries: dict[str, Question] = {}
    dropped: Counter[str] = Counter()
    overruled = 0
    for row in source.rows():
        try:
            query = _build_query(protocol, source.layout, row, axes)
            _reject_repeated(query, queries.get(query.file))
        except Refused as rejection:
            dropped[rejection.reason] += 1
        else:
            queries[query.file] = query
            overruled += _creator_differs(source.layout, row, query)
    rows = len(queries) + dropped.total()
    if rows == 0:
        raise BadManifest(f"{path} holds no labels; wanted is {protocol.label_format}")
    usable, strata_notes = _drop_wide_strata(tuple(queries.values()))
    return Labelled(
        protocol=protocol,
        questions=usable,
        rows=rows,
        dropped=dict(sorted(dropped.items())),
        notes=(
            *_count_notes(protocol, len(usable)),
            *axes.notes,
            *_creator_notes(overruled),
            *_area_notes(protocol, usable),
            *strata_notes,
        ),
    )


def missing(labelled: Labelled, folder: Path) -> tuple[str, ...]:
    """Files of questions that are no regular file below the folder, in the order of the labels."""
    return tuple(q.file for q in labelled.questions if not (folder / q.file).is_file())


def _read_position(layout: Layout, row: Cells | Refused) -> tuple[float | None, float | None]:
    """What the columns called latitude and longitude hold, if they are numbers."""
    if isinstance(row, Refused):
        return None, None
    return finite(layout.fields["latitude"](row)), finite(layout.fields["longitude"](row))


def _build_query(protocol: Protocol, layout: Layout, row: Cells | Refused, axes: Axes) -> Question:
    """One row as a question.

    Raises:
        Refused: A key of `DROPPED`.
    """
    if isinstance(row, Refused):
        raise row
    texts = {name: _clean_cell(name, read(row)) for name, read in layout.fields.items()}
    lat, lon = _parse_number(texts["latitude"]), _parse_number(texts["longitude"])
    lat, lon = check_position(*((lon, lat) if axes.swapped else (lat, lon)))
    file = _normalize_file_name(layout.fields["file"](row).strip())
    creator_match = layout.creator_pattern.search(file) if layout.creator_pattern else None
    strata = {name: _clean_cell(name, read(row)) for name, read in layout.strata.items()}
    return Question(
        file=file,
        truth=Point(lat, lon),
        creator=intern(creator_match[1]) if creator_match else texts.get("creator"),
        sequence=texts.get("sequence"),
        kind=texts.get("kind"),
        areas={level: texts.get(level) for level in protocol.areas},
        strata={intern(name): value for name, value in strata.items() if value is not None},
    )


def _clean_cell(name: str, value: str) -> str | None:
    """A cell's text; None for what pandas, R and SQL write where nothing is known."""
    plain = value.isprintable() and len(value) <= _MAX_TEXT
    text = value.strip() if plain else clean_text(value, _MAX_TEXT)
    if text is None or (
        text.casefold() in _MISSING_VALUES and (name, text) != ("country", _NAMIBIA)
    ):
        return None
    # Areas, creators and strata repeat by the ten thousand.
    return intern(text)


def _parse_number(text: str | None) -> float | None:
    if text is None:
        return None
    number = finite(text)
    if number is None:
        raise Refused("bad_row", f"{text[:40]!r} is no number")
    return number


def _normalize_file_name(name: str) -> str:
    """A name that stays below the folder of images, written one way."""
    if not name or len(name) > _MAX_TEXT:
        raise Refused("bad_row", f"no file is named, or by over {_MAX_TEXT} characters")
    check_name(name)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise Refused("outside_root", f"{name} leads out of the folder of images")
    return path.as_posix()


def _reject_repeated(query: Question, earlier: Question | None) -> None:
    if earlier is not None:
        same = earlier.truth == query.truth
        raise Refused("duplicate" if same else "contradiction", query.file)


def _creator_differs(layout: Layout, row: Cells | Refused, query: Question) -> bool:
    """Whether the creator's cell says something else than the file's name."""
    read = layout.fields.get("creator")
    if read is None or isinstance(row, Refused):
        return False
    return _clean_cell("creator", read(row)) not in (None, query.creator)


def _drop_wide_strata(queries: tuple[Question, ...]) -> tuple[tuple[Question, ...], list[str]]:
    """Questions without the columns that have too many values, and a note that names those."""
    values: dict[str, set[str]] = {}
    for query in queries:
        for name, value in query.strata.items():
            values.setdefault(name, set()).add(value)
    wide = sorted(name for name, distinct in values.items() if len(distinct) > MAX_STRATUM_VALUES)
    if not wide:
        return queries, []
    note = f"no strata, because of over {MAX_STRATUM_VALUES} different values: {', '.join(wide)}"
    reduced = (
        replace(q, strata={name: q.strata[name] for name in q.strata if name not in wide})
        for q in queries
    )
    return tuple(reduced), [note]


def _count_notes(protocol: Protocol, num_queries: int) -> Iterator[str]:
    """Where the number of questions is not the one released, or the release has two numbers."""
    expected, released = protocol.denominator, protocol.released
    if expected is not None and num_queries != expected:
        yield f"{num_queries:,} questions; the release has {expected:,} labelled photos"
    if expected is not None and released is not None and released != expected:
        yield f"{released:,} images were released, {expected:,} of them with a label"


def _creator_notes(overruled: int) -> Iterator[str]:
    if overruled:
        yield (
            f"{overruled:,} creators were taken from the file's name, where the column says "
            "something else"
        )


def _area_notes(protocol: Protocol, queries: tuple[Question, ...]) -> Iterator[str]:
    """Where labels are missing, or are there and no answer can match them as released."""
    for level in protocol.areas:
        labels = [query.areas[level] for query in queries]
        if (unlabeled := labels.count(None)) and unlabeled < len(labels):
            yield (
                f"{level}: {unlabeled:,} of {len(labels):,} rows have no label; as released they "
                "count as wrong, over labelled rows they do not count"
            )
        if num_unmatchable := sum(map(unmatchable, labels)):
            yield (
                f"{level}: {num_unmatchable:,} labels hold NaN for an unknown part; as released no answer "
                "can match them, over labelled rows the part is taken as empty"
            )
        if level == "country" and (namibia := labels.count(_NAMIBIA)):
            yield (
                f"country: {namibia:,} rows are labelled NA, Namibia; evaluators that read with "
                "pandas' defaults take that for a missing label"
            )
