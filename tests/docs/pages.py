"""The documents as the tests read them: their texts, their fenced blocks, the words in their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.house.tree import ROOT, files

PAGES = tuple(
    path
    for path in files()
    if path.suffix == ".md" and (path.parts[0] == "docs" or str(path) in {"README.md", "CHANGELOG.md"})
)
"""What users read, from the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: where it begins, its language, its text, and the comment `<!-- ... -->` right above it."""

    page: Path
    line: int
    language: str
    text: str
    comment: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


_BLOCK = re.compile(
    r"(?:^<!-- (?P<comment>[^\n]*?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


def read_page(page: Path | str) -> str:
    """A page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """Each fenced block of a language, in all pages."""
    found = []
    for page in PAGES:
        text = read_page(page)
        for match in _BLOCK.finditer(text):
            if match["language"] == language:
                indent = len(match["indent"])
                found.append(
                    Block(
                        page=page,
                        line=text.count("\n", 0, match.start("language")) + 1,
                        language=language,
                        text="".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True)),
                        comment=match["comment"] or "",
                    )
                )
    return found


def rows(page: str, *headings: str) -> list[list[str]]:
    """The cells of each table row under the given second-level headings (all of the page where none is given)."""
    parts = re.split(r"^## (.+)$", read_page(page), flags=re.MULTILINE)
    texts = [parts[0], *parts[2::2]] if not headings else [parts[parts.index(heading) + 1] for heading in headings]
    found: list[list[str]] = []
    for text in texts:
        for table in re.findall(r"^\|.*?(?=\n[^|]|\n*\Z)", text, re.MULTILINE | re.DOTALL):
            found.extend(_cells(line) for line in table.splitlines()[2:])
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def words(cell: str) -> list[str]:
    """The words that a cell shows as code."""
    return re.findall(r"`([^`]+)`", cell)
