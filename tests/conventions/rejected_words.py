"""Finds words that this project does not use in text for people.

python tests/conventions/rejected_words.py    # every occurrence

Text for people is: comments, docstrings, every string literal with a blank (messages, help,
descriptions), and documents. Identifiers and keys are the glossary's business.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT_FOLDERS = ("platform", "workers", "migrations", "deploy")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile", "docs/**/*")
GLOSSARY = ROOT / "docs/reference/glossary.md"
DOCUMENT_SUFFIXES = {".md", ".toml", ""}

REJECTED: dict[str, str] = {
    # metaphors
    r"houses?": "package, building",
    r"rooms?": "package, space, capacity",
    r"walls?(?!\s(?:clock|time)s?\b)": "tenant isolation, boundary",
    r"doors?": "entry point, interface",
    r"shel(?:f|ves)": "partition, folder",
    r"seat(?:s|ed)?": "slot",
    r"graves?|bur(?:y|ies|ied)": "tombstone, delete",
    r"bells?": "kernel, normal distribution, signal",
    r"kin(?:ship)?": "creator and sequence",
    r"upkeep": "maintenance",
    r"beliefs?": "posterior",
    r"verdicts?": "status, result",
    r"judg(?:e|es|ed|ing|ements?|ments?)": "score, decide, evaluate",
    r"promises?": "guarantee, confidence",
    # archaic or literary words
    r"whom": "which, that",
    r"st(?:ands?|ood|anding) for": "means, denotes",
    r"lies|lay|lain|(?:must|not|to|may|can|they) lie": "is, is located",
    r"asunder|anew|afresh": "again, apart",
    r"beside": "next to",
    r"meanwhile": "in the meantime, concurrently",
    r"hereby|whereto|thereof": "by this, to which, of it",
    # one word per concept
    r"questions?": "query",
    r"(?<!match )(?<!match-)pictures?": "image, photo",
    r"(?<!co-)authors?": "creator",
    r"makers?": "creator, manufacturer",
    r"towns?": "locality, city",
    r"(?<!ground\s)(?<!ground-)(?<!source of )truths?(?! values?)": "ground truth",
    # American spelling
    r"licences?": "license",
    r"catalogues?": "catalog",
    r"neighbour\w*": "neighbor",
    r"colour\w*": "color",
    r"organisation\w*|organis\w+": "organization",
    r"(?:kilo|centi)?metres?": "meter",
    r"centred?|centres": "center",
    r"(?:un)?labelled|labelling": "labeled",
    r"behaviours?": "behavior",
    r"normalis\w+|optimis\w+|initialis\w+|serialis\w+|recognis\w+": "the spelling with z",
    # sentences
    r"(?:(?<=^)|(?<=\. ))Of (?:the|those|these|candidates|each|several)\b[^.]{0,80}": "start with "
    "the subject",
}
"""Pattern, matched as whole words without regard to case -> what to write instead."""

EXCEPTIONS: list[tuple[str, str, str]] = [
    (r"house|wall|town|bell", "platform/pinpoint/synthetic/*", "objects of the synthetic planet"),
    (r"author", "platform/pinpoint/evaluation/labels/protocols.py", "columns and people of others"),
    (r"picture", "platform/pinpoint/store/gallery/panoramax_tiles.py", "word of the Panoramax API"),
    (r"picture", "platform/pinpoint/store/gallery/pictures.py", "word of the Panoramax API"),
    (r"maker", "platform/pinpoint/media/metadata/*", "manufacturers of drones, as in EXIF"),
    (r"pictures?", "platform/pinpoint/store/gallery/pictures.py", "the term of Panoramax"),
    (r"pictures?", "platform/pinpoint/store/gallery/panoramax_tiles.py", "layers of Panoramax"),
    (r"pictures?", "platform/pinpoint/store/db/views.py", "the term of Panoramax"),
    (r"pictures?", "docs/how-to/panoramax-clients.md", "the term of Panoramax"),
]
"""Word, file pattern, and why the word is right there."""


@dataclass(frozen=True, slots=True)
class WordHit:
    """One occurrence of a rejected word."""

    path: str
    line: int
    word: str
    instead: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r} -> {self.instead}: {self.text}"


_COMPILED = [
    (re.compile(rf"(?<![\w`'/.-])(?:{pattern})(?![\w`'/-])", re.IGNORECASE), instead)
    for pattern, instead in REJECTED.items()
]
_PARAMETER = re.compile(r"^\w+:(?= [A-Z`\[])", re.MULTILINE)
"""Parameter in the section `Args` of a docstring."""
_CODE_SPAN = re.compile(r"``[^`]*``|`[^`\n]*`|https?://\S+")


def _blank(span: re.Match[str]) -> str:
    return " " * len(span.group())


def blank_code(text: str) -> str:
    """Text with blanks in place of code spans, addresses and parameter names of docstrings."""
    return _CODE_SPAN.sub(_blank, _PARAMETER.sub(_blank, text))


def find_words(text: str) -> Iterator[tuple[str, str, int]]:
    """Rejected words of a text with the words to use and their offsets; code spans are skipped."""
    plain = blank_code(text)
    for pattern, instead in _COMPILED:
        for match in pattern.finditer(plain):
            yield match.group(), instead, match.start()


def read_python_texts(path: Path) -> list[tuple[int, str]]:
    """Line and text of each comment, docstring and string literal with a blank."""
    source = path.read_text(encoding="utf-8")
    texts = [
        (token.start[0], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    nodes = list(ast.walk(ast.parse(source)))
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for node in formatted for part in node.values}
    for string in formatted:
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in string.values]
        texts.append((string.lineno, "".join(str(part) for part in parts)))
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            texts.append((node.lineno, node.value))
    return sorted({(line, _strip_lines(text)) for line, text in texts if " " in text})


def _strip_lines(text: str) -> str:
    return re.sub(r"[ \t]*\n[ \t]*", "\n", text)


def find_in_python(path: Path, root: Path = ROOT) -> list[WordHit]:
    """Rejected words in the comments, docstrings and messages of a Python file."""
    name = path.relative_to(root).as_posix()
    return [hit for line, text in read_python_texts(path) for hit in _make_hits(name, line, text)]


def find_in_document(path: Path, root: Path = ROOT) -> list[WordHit]:
    """Rejected words of a document; code blocks are skipped."""
    name = path.relative_to(root).as_posix()
    hits = []
    in_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            hits += _make_hits(name, number, line)
    return hits


def _make_hits(name: str, line: int, text: str) -> list[WordHit]:
    return [
        WordHit(
            name,
            line + text.count("\n", 0, offset),
            word,
            instead,
            " ".join(text[max(0, offset - 40) : offset + len(word) + 40].split()),
        )
        for word, instead, offset in find_words(text)
        if not _is_excepted(name, word)
    ]


def _is_excepted(name: str, word: str) -> bool:
    return any(
        fnmatch(name, files) and re.fullmatch(rf"(?:{pattern})s?", word, re.IGNORECASE)
        for pattern, files, _reason in EXCEPTIONS
    )


def list_product_hits() -> list[WordHit]:
    """Rejected words in the text of installed code, migrations and deployment files."""
    hits = []
    for folder in PRODUCT_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix == ".py" and "__pycache__" not in path.parts:
                hits += find_in_python(path)
            elif (
                path.is_file()
                and path.suffix in {".md", ".sh"}
                and "node_modules" not in path.parts
            ):
                hits += find_in_document(path)
    return hits


def list_document_hits() -> list[WordHit]:
    """Rejected words in the documents, without the glossary, which names them."""
    paths = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)} - {GLOSSARY}
    return [
        hit
        for path in sorted(paths)
        if path.is_file() and path.suffix in DOCUMENT_SUFFIXES
        for hit in find_in_document(path)
    ]


def main() -> int:
    """Print every occurrence."""
    hits = [*list_product_hits(), *list_document_hits()]
    sys.stdout.write("".join(f"{hit}\n" for hit in hits) + f"{len(hits)} rejected words\n")
    return 1 if hits else 0


if __name__ == "__main__":
    raise SystemExit(main())
