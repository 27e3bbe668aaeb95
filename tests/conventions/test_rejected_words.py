"""Text for people uses the field's words; `rejected_words.py` in this folder lists the others."""

from __future__ import annotations

import pytest

from conventions.rejected_words import (
    EXCEPTIONS,
    REJECTED,
    ROOT,
    find_in_document,
    find_in_python,
    find_words,
    list_document_hits,
    list_product_hits,
)


def test_product_text_has_no_rejected_word():
    hits = [str(hit) for hit in list_product_hits()]
    assert hits == [], "\n".join(hits)


def test_documents_have_no_rejected_word():
    hits = [str(hit) for hit in list_document_hits()]
    assert hits == [], "\n".join(hits)


def test_exceptions_name_existing_files():
    missing = [files for _word, files, _reason in EXCEPTIONS if not any(ROOT.glob(files))]
    assert missing == []


@pytest.mark.parametrize(
    "text",
    [
        "a wall clock without an offset",
        "the ground truth of a query",
        "PostgreSQL is the source of truth",
        "the column `licence` of a manifest",
        "a household name",
        "audited with the co-author",
    ],
)
def test_find_words_with_allowed_text_finds_nothing(text):
    assert list(find_words(text)) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Ask one Question.", "Question"),
        ("its walls are high", "walls"),
        ("near the truth", "truth"),
        ("the value must lie in (0, 1]", "must lie"),
        ("Of the candidates the best one stays.", "Of the candidates the best one stays"),
        ("coloured neighbours", "coloured"),
    ],
)
def test_find_words_with_rejected_text_finds_it(text, word):
    assert word in [hit for hit, _instead, _offset in find_words(text)]


def test_find_in_python_reads_comments_docstrings_and_messages_only(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(
        '"""The house of a thing."""\n'
        "KEYS = {'question': 1}  # one room\n"
        "question = KEYS\n"
        'raise SystemExit(f"{question} in the town")\n',
        encoding="utf-8",
    )
    hits = find_in_python(path, root=tmp_path)
    assert [(hit.line, hit.word) for hit in hits] == [(1, "house"), (2, "room"), (4, "town")]


def test_find_in_document_skips_code_blocks(tmp_path):
    path = tmp_path / "planted.md"
    path.write_text("a door\n```\na door\n```\n`door` and doors\n", encoding="utf-8")
    hits = find_in_document(path, root=tmp_path)
    assert [(hit.line, hit.word) for hit in hits] == [(1, "door"), (5, "doors")]


def test_rejected_words_have_a_replacement():
    assert all(instead for instead in REJECTED.values())
