"""Code blocks of Markdown pages, as one script that runs them in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_RUN = "<!-- not run by the tests"
_BLOCK = re.compile(
    r"(?P<comment><!--[^\n]*-->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One block of a page, with the line where its code begins."""

    page: Path
    line: int
    language: str
    code: str


def read_blocks(page: Path) -> list[CodeBlock]:
    """Blocks of bash and Python that a reader runs; blocks marked as not run are left out."""
    text = page.read_text(encoding="utf-8")
    return [
        CodeBlock(
            page, text.count("\n", 0, match.start("code")) + 1, match["language"], match["code"]
        )
        for match in _BLOCK.finditer(text)
        if not (match["comment"] or "").startswith(NOT_RUN)
    ]


def make_script(blocks: list[CodeBlock]) -> str:
    """A bash script that runs the blocks in one shell and stops at the first failure.

    Each block first prints its page and line, so that the output names the block that failed.
    """
    parts = ["set -euo pipefail\n"]
    for block in blocks:
        parts.append(f"echo '=== {block.page.name}:{block.line}'\n")
        if block.language == "bash":
            parts.append(block.code)
        else:
            parts.append(f"python - <<'END_OF_BLOCK'\n{block.code}END_OF_BLOCK\n")
    return "".join(parts)
