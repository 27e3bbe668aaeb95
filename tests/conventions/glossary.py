"""Reads docs/reference/glossary.md and finds its terms and rejected synonyms in code and text.

python tests/conventions/glossary.py    # every occurrence of a rejected synonym
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from conventions.name_counts import PACKAGES
from conventions.rejected_words import (
    DOCUMENT_SUFFIXES,
    DOCUMENTS,
    GLOSSARY,
    ROOT,
    WordHit,
    blank_code,
    read_python_texts,
)

_KEY = re.compile(r"[A-Za-z][\w.-]*")
"""A string that is one word is a key of JSON, a column, a metric or a setting."""


@dataclass(frozen=True, slots=True)
class Term:
    """One row of the glossary."""

    term: str
    meaning: str
    rejected: tuple[str, ...]


@cache
def read_glossary() -> tuple[Term, ...]:
    """The rows of the glossary, in their order."""
    rows = []
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in ("term", "---"):
            synonyms = tuple(word.strip() for word in "".join(cells[2:]).split(",") if word.strip())
            rows.append(Term(cells[0], cells[1], synonyms))
    return tuple(rows)


def split_words(identifier: str) -> str:
    """`HTTPStatus_codes` as `http status codes`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\W]+", " ", identifier)
    return " ".join(spaced.lower().split())


def make_pattern(words: str) -> re.Pattern[str]:
    """Pattern of a term or synonym, singular or plural, in text whose words `split_words` made."""
    last = words.lower().replace("-", " ").replace("_", " ")
    plural = rf"{last[:-1]}(?:ys?|ies)" if last.endswith("y") else rf"{last}(?:s|es|ed|ing)?"
    return re.compile(rf"\b{plural}\b")


@cache
def list_identifiers() -> tuple[tuple[str, int, str], ...]:
    """File, line and text of each identifier of the product, keys in strings included."""
    return tuple(
        (path.relative_to(ROOT).as_posix(), line, name)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in [
            (1, path.stem),
            *_iterate_identifiers(ast.parse(path.read_text(encoding="utf-8"))),
        ]
    )


def _iterate_identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and _KEY.fullmatch(str(node.value)):
            yield node.lineno, str(node.value)


@cache
def list_product_texts() -> tuple[tuple[str, int, str], ...]:
    """File, line and text of each comment, docstring and message of the product."""
    return tuple(
        (path.relative_to(ROOT).as_posix(), line, text)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in read_python_texts(path)
    )


@cache
def list_document_texts() -> tuple[tuple[str, int, str], ...]:
    """File, line and text of each line of the documents, without the glossary."""
    paths = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)} - {GLOSSARY}
    return tuple(
        (path.relative_to(ROOT).as_posix(), number, line)
        for path in sorted(paths)
        if path.is_file() and path.suffix in DOCUMENT_SUFFIXES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    )


def find_synonym(synonym: str, term: str) -> list[WordHit]:
    """Uses of a rejected synonym in identifiers, product text and documents.

    A use inside the term itself is none: `ground truth` contains `truth`.
    """
    pattern, own = make_pattern(synonym), make_pattern(term)
    return [
        WordHit(path, line, synonym, term, text[max(0, match.start() - 50) : match.end() + 50])
        for path, line, text in list_split_texts()
        if pattern.search(text)
        for match in pattern.finditer(own.sub(lambda term: " " * len(term.group()), text))
    ]


@cache
def list_split_texts() -> tuple[tuple[str, int, str], ...]:
    """File, line and words of everything that is searched for synonyms."""
    return (
        *((path, line, split_words(name)) for path, line, name in list_identifiers()),
        *(
            (path, line, split_words(blank_code(text)))
            for path, line, text in (*list_product_texts(), *list_document_texts())
        ),
    )


def is_used_in_code(term: str) -> bool:
    """Whether a term occurs in an identifier or a text of the product."""
    return _occurs(term, list_code_words())


def is_used_in_documents(term: str) -> bool:
    """Whether a term occurs in a document other than the glossary."""
    return _occurs(term, list_document_words())


@cache
def list_code_words() -> tuple[str, ...]:
    """Words of each identifier and text of the product."""
    return _list_words((*list_identifiers(), *list_product_texts()))


@cache
def list_document_words() -> tuple[str, ...]:
    """Words of each line of the documents."""
    return _list_words(list_document_texts())


def _list_words(texts: tuple[tuple[str, int, str], ...]) -> tuple[str, ...]:
    """Each different text, split into words and in lower case."""
    distinct = dict.fromkeys(text for _path, _line, text in texts)
    return tuple(dict.fromkeys(form for t in distinct for form in (split_words(t), t.lower())))


def _occurs(term: str, texts: tuple[str, ...]) -> bool:
    pattern = make_pattern(term)
    return any(pattern.search(text) for text in texts)


def main() -> int:
    """Print every occurrence of a rejected synonym."""
    hits = [
        hit
        for row in read_glossary()
        for word in row.rejected
        for hit in find_synonym(word, row.term)
    ]
    sys.stdout.write("".join(f"{hit}\n" for hit in hits) + f"{len(hits)} rejected synonyms\n")
    return 1 if hits else 0


if __name__ == "__main__":
    raise SystemExit(main())
