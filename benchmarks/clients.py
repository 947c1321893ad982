"""SQL text to statements, as the engines' own clients and the migration tools cut it. It shares nothing with the reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple


class Piece(NamedTuple):
    """One statement as it is sent."""

    line: int
    """The number of the line in which its first word stands."""
    text: str
    begin: int
    """Where it begins in the text."""


_POSTGRES: Final = re.compile(
    r"(?P<comment>--[^\n]*)|(?P<block>/\*)|[eE]'(?:[^'\\]|\\.|'')*'|(?<![eE])'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$|(?P<end>;)|(?P<paren>[()])|(?P<client>\\[^\n]*)|(?P<word>[^\W\d][\w$]*)",
    re.DOTALL,
)
_MARIADB: Final = re.compile(
    r"(?P<comment>#[^\n]*|--(?=\s|$)[^\n]*)|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`"
    r"|(?P<delimiter>(?<![^\n])[ \t]*DELIMITER[ \t]+(?P<sign>\S+)[^\n]*)|(?P<word>[^\W\d][\w$]*)",
    re.DOTALL | re.IGNORECASE,
)
_BORDER: Final = re.compile(
    r"--\s*changeset\s+\S+:|--\s*\+(?:goose|migrate)\s+(?:up|statement(?:begin|end))|-->\s*statement-breakpoint|--\s*migrate:up",
    re.IGNORECASE,
)
_DOWN: Final = re.compile(
    r"--\s*\+(?:goose|migrate)\s+down|--\s*migrate:down|--\s*down migration\s*$|--\s*//\s*@undo", re.IGNORECASE
)
COPIES: Final = re.compile(
    r"(?:\s++|--[^\n]*+|/\*.*?\*/)*+\bcopy\b[^;]*\bfrom\s+stdin\b[^;]*;", re.IGNORECASE | re.DOTALL
)
_COPIED: Final = re.compile(r"[^\n]*\n(?:.*?\n)??\\\.[ \t]*(?:\n|\Z)", re.DOTALL)


_COMMENTS: Final = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_COMMENTS_OF_MARIADB: Final = re.compile(r"(?:\s+|--[^\n]*|#[^\n]*|/\*(?!M?!).*?\*/)*", re.DOTALL)


def split(text: str, engine: str) -> Iterator[Piece]:
    """Return the statements of a text, without the part that takes a migration back."""
    line = counted = 0
    for begin, end in _postgres(text) if engine == "postgres" else _mariadb(text):
        held = text[begin:end]
        first = begin + len(held) - len(held.lstrip())
        comments = (_COMMENTS if engine == "postgres" else _COMMENTS_OF_MARIADB).match(text, first, end)
        first = comments.end() if comments else first
        line += text.count("\n", counted, first)
        counted = first
        if held.strip():
            yield Piece(line + 1, held, begin)


def _postgres(text: str) -> Iterator[tuple[int, int]]:
    begin = here = parens = blocks = 0
    words: list[str] = []
    while (found := _POSTGRES.search(text, here)) is not None:
        here = found.end()
        kind = found.lastgroup
        if kind == "word":
            words.append(found[0].lower())
            if {"function", "procedure"} & set(words[1:4]) and words[0] == "create":
                blocks += words[-1] in {"begin", "case"}
                blocks = max(0, blocks - (words[-1] == "end"))
        elif kind == "paren":
            parens += 1 if found[0] == "(" else -1
        elif kind == "block":
            here = _behind_comment(text, here)
        elif kind == "comment" and _DOWN.match(found[0]):
            yield begin, found.start()
            return
        elif (
            (kind == "end" and parens <= 0 and not blocks)
            or kind == "client"
            or (kind == "comment" and _BORDER.match(found[0]))
        ):
            if kind == "end" and COPIES.match(text[begin:here]) and (data := _COPIED.match(text, here)):
                here = data.end()
            yield begin, found.start() if kind == "comment" else here
            begin, parens, blocks, words = here, 0, 0, []
    yield begin, len(text)


def _behind_comment(text: str, here: int) -> int:
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(text, here):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(text)


def _mariadb(text: str) -> Iterator[tuple[int, int]]:
    begin = here = 0
    delimiter = ";"
    while here < len(text):
        found = _MARIADB.search(text, here)
        at = text.find(delimiter, here)
        if at >= 0 and (found is None or at <= found.start()):
            yield begin, at
            begin = here = at + len(delimiter)
        elif found is None:
            break
        elif found["delimiter"]:
            yield begin, found.start()
            delimiter = found["sign"]
            begin = here = found.end()
        elif found["comment"] and _DOWN.match(found[0]):
            yield begin, found.start()
            return
        else:
            if found["comment"] and _BORDER.match(found[0]):
                yield begin, found.start()
                begin = found.end()
            here = found.end()
    yield begin, len(text)
