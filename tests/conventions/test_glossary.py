"""Code and documents use the glossary's terms, and none of the synonyms that it rejects."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from conventions.glossary import (
    Term,
    find_synonym,
    is_used_in_code,
    is_used_in_documents,
    make_pattern,
    read_glossary,
    split_words,
)
from conventions.rejected_words import ROOT, WordHit

EXCEPTIONS = [
    ("author", "platform/pinpoint/evaluation/labels/protocols.py", ".", "columns of benchmarks"),
    ("author", "platform/pinpoint/media/manifests/columns.py", "^author$", "alias of a column"),
    ("author", "*", "co author|audit", "the person who wrote a document"),
    ("drive", "*", "windows drive|drive side|google drive", "a disk, and a side of the road"),
    ("drive", "platform/pinpoint/synthetic/*", ".", "seeds of the synthetic planet"),
    ("album", "platform/pinpoint/synthetic/*", ".", "seeds of the synthetic planet"),
    ("author", "platform/pinpoint/synthetic/*", "^author$", "seeds of the synthetic planet"),
    ("picture", "platform/pinpoint/media/manifests/columns.py", "^picture$", "alias of a column"),
    ("picture", "platform/pinpoint/cli/examples.py", "pinpoint", "the usual folder of photos"),
    ("picture", "*", "match pictures?", "the term for a drawing of two matched images"),
    ("picture", "platform/pinpoint/store/gallery/pictures.py", ".", "word of the Panoramax API"),
    ("picture", "platform/pinpoint/store/gallery/panoramax_tiles.py", ".", "the same word"),
    ("picture", "platform/pinpoint/store/db/*", "gallery pictures", "name of a module"),
    ("picture", "platform/pinpoint/synthetic/*", ".", "images that are drawn"),
    ("picture", "platform/pinpoint/api/panoramax/*", "^pictures$", "a layer of Panoramax tiles"),
    ("picture", "platform/pinpoint/store/gallery/pictures.py", ".", "the term of Panoramax"),
    ("picture", "platform/pinpoint/store/gallery/panoramax_tiles.py", ".", "layers of Panoramax"),
    ("picture", "platform/pinpoint/store/db/views.py", ".", "the term of Panoramax"),
    ("picture", "docs/how-to/panoramax-clients.md", ".", "the term of Panoramax"),
    ("town", "platform/pinpoint/synthetic/*", ".", "places of the synthetic planet"),
    ("truth", "*", "source of truth", "an established phrase"),
    ("truth", "platform/pinpoint/arrays.py", "truth values", "values of logic"),
    ("wall", "platform/pinpoint/media/*", ".", "wall clock: local time without a zone"),
    ("wall", "*", "wall clock|wall time", "local time without a zone"),
    ("wall", "platform/pinpoint/synthetic/*", ".", "walls of drawn buildings"),
]
"""Synonym, file pattern, pattern of the words around it, and why the word is right there."""


def list_open_hits(synonym: str, term: str) -> list[WordHit]:
    """Uses of a synonym that no exception allows."""
    return [
        hit
        for hit in find_synonym(synonym, term)
        if not any(
            synonym == word
            and fnmatch(hit.path, files)
            and re.search(pattern, split_words(hit.text))
            for word, files, pattern, _reason in EXCEPTIONS
        )
    ]


def test_glossary_has_about_sixty_terms_with_one_definition_each():
    terms = [row.term for row in read_glossary()]
    assert len(terms) >= 55
    assert len(set(terms)) == len(terms)
    assert terms == sorted(terms, key=str.lower)
    assert all(row.meaning.endswith(".") for row in read_glossary() if row.term != "GeoScore")


def test_glossary_rejects_no_word_that_it_defines():
    terms = {row.term for row in read_glossary()}
    assert [word for row in read_glossary() for word in row.rejected if word in terms] == []


@pytest.mark.parametrize("row", read_glossary(), ids=lambda row: row.term)
def test_glossary_term_occurs_in_code_and_documents(row: Term):
    assert is_used_in_code(row.term), f"no identifier, comment or message has {row.term!r}"
    assert is_used_in_documents(row.term), f"no document has {row.term!r}"


@pytest.mark.parametrize(
    "row", [r for r in read_glossary() if r.rejected], ids=lambda row: row.term
)
def test_rejected_synonyms_occur_nowhere(row: Term):
    hits = [str(hit) for synonym in row.rejected for hit in list_open_hits(synonym, row.term)]
    assert hits == [], "\n".join(hits)


def test_exceptions_name_existing_files_and_rejected_words():
    rejected = {word for row in read_glossary() for word in row.rejected}
    for word, files, _pattern, reason in EXCEPTIONS:
        assert word in rejected
        assert reason
        assert files == "*" or any(ROOT.glob(files))


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("HTTPStatus_codes", "http status codes"),
        ("groundTruth", "ground truth"),
        ("near_truth", "near truth"),
        ("pinpoint.ingest-items", "pinpoint ingest items"),
    ],
)
def test_split_words_splits_identifiers(identifier, words):
    assert split_words(identifier) == words


@pytest.mark.parametrize(
    ("synonym", "text", "matches"),
    [
        ("question", "num questions", True),
        ("question", "questionable", False),
        ("upload set", "an upload set", True),
        ("API key", "api keys", True),
        ("query", "queries", True),
    ],
)
def test_make_pattern_matches_singular_and_plural(synonym, text, matches):
    assert bool(make_pattern(synonym).search(text)) is matches
