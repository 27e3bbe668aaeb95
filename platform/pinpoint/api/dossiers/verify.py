"""Checks a dossier offline: files, checksums, document, layer, and the hash of the photo."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from pinpoint.api.dossiers.archive import (
    ANSWER_NAME,
    CHECKSUMS_NAME,
    DOCUMENT_NAME,
    PDF_NAME,
    compute_sha256,
)
from pinpoint.api.v1.schemas.dossiers import DossierOut

MAX_FILES: Final = 1_000
MAX_TOTAL_BYTES: Final = 1 << 30
"""Limits of what is read, so that a hostile ZIP file does not use up the memory."""

_CHECKSUM_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\x00\n]+)")
_MAX_SCHEMA_PROBLEMS: Final = 20

ProblemCode = Literal[
    "unreadable", "missing", "altered", "extra", "invalid", "inconsistent", "other_photo"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierProblem:
    """One reason not to trust a dossier."""

    code: ProblemCode
    """`unreadable`: no ZIP file, or above a limit. `missing`, `altered`, `extra`: a file of the
    list, or none of it. `invalid`: a file is not what its name says. `inconsistent`: two files
    disagree. `other_photo`: a photo has another hash."""
    file: str
    """File in the dossier, or the photo."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierCheck:
    """Result of a check."""

    sha256: str
    """Hash of the ZIP file."""
    document: DossierOut | None
    """None if it is missing or invalid."""
    problems: tuple[DossierProblem, ...]


def verify_dossier(path: Path, photos: Sequence[Path] = ()) -> DossierCheck:
    """Check a dossier.

    Args:
        path: The ZIP file.
        photos: Photos whose hashes must be those of the query.

    Raises:
        OSError: A file cannot be read.
    """
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    hashes = {str(photo): compute_sha256(photo.read_bytes()) for photo in photos}
    try:
        with zipfile.ZipFile(path) as archive:
            problems = list(_check_limits(archive))
            files = {} if problems else _read_files(archive, problems)
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
        problems, files = [_problem("unreadable", str(path), f"no ZIP file: {error}")], {}
    if not files:
        return DossierCheck(sha256=sha256, document=None, problems=tuple(problems))
    problems += _check_checksums(files, {problem.file for problem in problems})
    document, invalid = _read_document(files)
    problems += invalid
    if document is not None:
        reported = {problem.file for problem in problems}
        references = _check_references(document, files)
        problems += [problem for problem in references if problem.file not in reported]
        problems += _check_layer(document, files)
        problems += _check_photos(document, hashes)
    return DossierCheck(sha256=sha256, document=document, problems=tuple(problems))


def _problem(code: ProblemCode, file: str, message: str) -> DossierProblem:
    return DossierProblem(code=code, file=file, message=message)


def _check_limits(archive: zipfile.ZipFile) -> Iterator[DossierProblem]:
    """Files that are not read: too many, too large, or two with one name."""
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    name = str(archive.filename)
    if len(entries) > MAX_FILES:
        yield _problem("unreadable", name, f"it has more than {MAX_FILES:,} files")
    elif size > MAX_TOTAL_BYTES:
        yield _problem("unreadable", name, f"its files have more than {MAX_TOTAL_BYTES:,} bytes")
    names = Counter(entry.filename for entry in entries)
    for repeated in sorted(name for name, number in names.items() if number > 1):
        yield _problem("unreadable", repeated, "several files have this name")
    if not entries:
        yield _problem("unreadable", name, "it has no file")


def _read_files(archive: zipfile.ZipFile, problems: list[DossierProblem]) -> dict[str, bytes]:
    """Read all files; those that cannot be read become problems."""
    files = {}
    for entry in archive.infolist():
        try:
            files[entry.filename] = archive.read(entry)
        except (
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            EOFError,
        ) as error:
            message = f"it cannot be read: {error}"
            problems.append(_problem("altered", entry.filename, message))
    return files


def _check_checksums(files: Mapping[str, bytes], unreadable: set[str]) -> Iterator[DossierProblem]:
    """Compare the files with the list of checksums."""
    if CHECKSUMS_NAME not in files:
        if CHECKSUMS_NAME not in unreadable:
            yield _problem("missing", CHECKSUMS_NAME, "the list of checksums is missing")
        return
    checksums: dict[str, str] = {}
    text = files[CHECKSUMS_NAME].decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line)
        if match is None or match[2] in checksums:
            yield _problem("invalid", CHECKSUMS_NAME, f"line {number} is not a new checksum")
        else:
            checksums[match[2]] = match[1]
    for name in sorted({*checksums, DOCUMENT_NAME, ANSWER_NAME, PDF_NAME} - set(files)):
        if name not in unreadable:
            yield _problem("missing", name, "the file is missing")
    for name in sorted(set(files) - {CHECKSUMS_NAME}):
        if name not in checksums:
            yield _problem("extra", name, "the list of checksums does not have this file")
        elif compute_sha256(files[name]) != checksums[name]:
            yield _problem("altered", name, "its checksum differs from the list")


def _read_document(
    files: Mapping[str, bytes],
) -> tuple[DossierOut | None, list[DossierProblem]]:
    """Parse the document; a document that violates the schema is one problem for each field."""
    if DOCUMENT_NAME not in files:
        return None, []
    try:
        return DossierOut.model_validate_json(files[DOCUMENT_NAME]), []
    except ValidationError as error:
        return None, [
            _problem(
                "invalid",
                DOCUMENT_NAME,
                f"{'.'.join(map(str, entry['loc'])) or 'document'}: {entry['msg']}",
            )
            for entry in error.errors(include_url=False, include_input=False)[:_MAX_SCHEMA_PROBLEMS]
        ]


def _check_references(document: DossierOut, files: Mapping[str, bytes]) -> Iterator[DossierProblem]:
    """Check that the document names the files that exist, and the hashes of included photos."""
    named = {DOCUMENT_NAME, ANSWER_NAME, PDF_NAME, CHECKSUMS_NAME}
    for photo in document.photos:
        if photo.path is not None:
            named.add(photo.path)
            data = files.get(photo.path)
            if data is not None and compute_sha256(data) != photo.sha256:
                message = f"it is not the photo with the hash {photo.sha256}"
                yield _problem("inconsistent", photo.path, message)
    for image in document.images:
        named |= {name for name in (image.thumbnail, image.match_picture) if name is not None}
    for name in sorted(named - set(files)):
        if name not in (DOCUMENT_NAME, ANSWER_NAME, PDF_NAME, CHECKSUMS_NAME):
            yield _problem("missing", name, f"{DOCUMENT_NAME} names this file")
    for name in sorted(set(files) - named):
        yield _problem("extra", name, f"{DOCUMENT_NAME} does not name this file")


def _check_layer(document: DossierOut, files: Mapping[str, bytes]) -> Iterator[DossierProblem]:
    """Check that the layer has the point and the regions of the document."""
    if ANSWER_NAME not in files:
        return
    try:
        features = json.loads(files[ANSWER_NAME])["features"]
        stated = [
            (feature["properties"]["feature_type"], feature["geometry"]["coordinates"])
            for feature in features
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        yield _problem("invalid", ANSWER_NAME, "it is no FeatureCollection of an answer")
        return
    answer = document.answer.model_dump(mode="json")
    point = [] if answer["geometry"] is None else [answer["geometry"]["coordinates"]]
    regions = answer["posterior"]["credible_regions"] if answer["posterior"] else []
    expected = {
        "point": point,
        "credible_region": [region["geometry"]["coordinates"] for region in regions],
    }
    for kind, geometries in expected.items():
        shown = [geometry for feature_type, geometry in stated if feature_type == kind]
        if sorted(map(str, shown)) != sorted(map(str, geometries)):
            message = f"its features of type {kind} are not those of {DOCUMENT_NAME}"
            yield _problem("inconsistent", ANSWER_NAME, message)


def _check_photos(document: DossierOut, hashes: Mapping[str, str]) -> Iterator[DossierProblem]:
    expected = {photo.sha256 for photo in document.photos}
    for name, sha256 in hashes.items():
        if sha256 not in expected:
            message = f"its SHA-256 {sha256} is not that of a photo of the query"
            yield _problem("other_photo", name, message)
