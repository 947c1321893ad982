"""The marks of migration tools: where one piece of SQL ends, and which pieces revert a migration.

A border is a line that always ends a statement: a change set, a part, a cell, a breakpoint. A text is divided at its borders before
anything in it is read. Thus no quote, comment or body crosses a border.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final, NamedTuple


class Segment(NamedTuple):
    """SQL between two borders."""

    line: int
    """The number of its first line."""
    text: str
    delimiter: str = ";"
    """What ends a statement in it."""


_MARK: Final = re.compile(
    r"\n[ \t]*(?:"
    r"(?P<undo>--[ \t]*migrate:down(?:[ \t]+\w+:\w+)*[ \t]*$"  # dbmate
    r"|--[ \t]*\+(?:goose|migrate|micrate)[ \t]+down(?:[ \t]+no[ \t]?transaction)?[ \t]*$"
    r"|(?:--|\#)[ \t]*(?:---)?[ \t]*!Downs[ \t-]*$"  # Play evolutions
    r"|--[ \t]*(?://)?[ \t]*@UNDO[ \t]*$"  # MyBatis, dbdeploy
    r"|--[ \t]*rambler[ \t]+down[ \t]*$"
    r"|----[ \t]*create above[ \t]*/[ \t]*drop below[ \t]*----[ \t]*$)"  # tern
    r"|(?P<revert>--[ \t]*(?:Revert|Verify)[ \t]+\S+[ \t]+(?:from|on)[ \t]+\w+[ \t]*$)"  # Sqitch, in a file's first line
    r"|(?P<do>--[ \t]*migrate:up\b|--[ \t]*\+(?:goose|migrate|micrate)[ \t]+up\b"
    r"|(?:--|\#)[ \t]*(?:---)?[ \t]*!Ups\b|--[ \t]*rambler[ \t]+up\b"
    r"|--[ \t]*Deploy[ \t]+\S+[ \t]+to[ \t]+\w+[ \t]*$)"
    r"|(?P<down>--[ \t-]*down(?:[ \t]+migration)?[ \t-]*$)"  # node-pg-migrate, node-sqlite: see `_is_paired`
    r"|(?P<up>--[ \t-]*up(?:[ \t]+migration)?[ \t-]*$)"
    r"|(?P<changeset>--[ \t]*changeset[ \t]+[^\s:]+:)"  # Liquibase
    r"|(?P<border>--[ \t]*\+(?:goose|migrate|micrate)[ \t]+statement(?:begin|end)\b"
    r"|-- COMMAND -{5,}[ \t]*$|--[ \t]*bun:split\b|--;;[ \t]*$))[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)
_BREAKPOINT: Final = re.compile(r"-->[ \t]*statement-breakpoint[^\n]*")
"""Drizzle's border, which may stand behind a statement."""
_ATLAS: Final = re.compile(r"^--[ \t]*atlas:delimiter[ \t]+(.+)$", re.MULTILINE)
_END_DELIMITER: Final = re.compile(r"endDelimiter:\"?([^\s\"]+)", re.IGNORECASE)
_COMMENTS: Final = re.compile(r"(?:\s+|--[^\n]*|/\*(?:[^*]|\*(?!/))*+\*/)*+")
FLYWAY: Final = re.compile(r"(?:[VBU]\d[\d._]*|[RA])__", re.IGNORECASE)
"""How the names of Flyway's and schemachange's files begin."""


def divide(text: str, source: str) -> tuple[list[Segment], list[int]]:
    """Return the text's segments without the parts that revert its migration, and the line of each part that is left out.

    Known are the marks of dbmate, goose, sql-migrate, micrate, Play, MyBatis, rambler, node-pg-migrate, node-sqlite, tern, Sqitch,
    Atlas, Liquibase's formatted SQL, Drizzle, bun, migratus and Databricks notebooks. Liquibase's rollbacks are comments.
    """
    if "atlas:delimiter" in text:
        text = _atlas(text)
    marks = list(_MARK.finditer("\n" + text))
    is_paired = _is_paired(marks, text, source)
    cuts = [
        (max(mark.start() - 1, 0), mark.end() - 1, mark.lastgroup or "", mark[0])
        for mark in marks
        if is_paired or mark.lastgroup not in {"up", "down"}
        if mark.lastgroup != "revert" or not mark.start()
    ]
    if "statement-breakpoint" in text:
        cuts += [(found.start(), found.end(), "border", "") for found in _BREAKPOINT.finditer(text)]
        cuts.sort()
    segments: list[Segment] = []
    left_out: list[int] = []
    line, here, delimiter, is_undo = 1, 0, ";", False
    for begin, end, kind, mark in [*cuts, (len(text), len(text), "", "")]:
        piece = text[here:begin]
        if is_undo:
            if _COMMENTS.sub("", piece):
                left_out.append(line)
        elif piece:
            segments.append(Segment(line, piece, delimiter))
        line += text.count("\n", here, end)
        here = end
        if kind in {"undo", "down", "revert", "do", "up"}:
            is_undo = kind not in {"do", "up"}
        elif kind == "changeset":
            named = _END_DELIMITER.search(mark)
            delimiter = named[1] if named else ";"
            # a slash and GO in lines of their own always end a statement
            if delimiter.upper().removeprefix("\\N") in {"/", "GO"} or "\\" in delimiter:
                delimiter = ";"
    return segments, left_out


def _is_paired(marks: list[re.Match[str]], text: str, source: str) -> bool:
    """Return whether `-- Up` and `-- Down` are a tool's marks here, and not plain headings.

    They are if Up comes before any SQL and Down later, and the file's name is one of such a tool's: it begins with a number. The
    longer `-- Up Migration` needs no name but one that is not Flyway's.
    """
    paired = [mark for mark in marks if mark.lastgroup in {"up", "down"}]
    if len(paired) < 2 or paired[0].lastgroup != "up" or paired[1].lastgroup != "down":
        return False
    comments = _COMMENTS.match(text)
    if comments is None or paired[0].start() > comments.end():
        return False
    name = PurePath(source).name
    is_named = name[:1].isdigit() or "migration" in paired[0][0].lower()
    return is_named and not FLYWAY.match(name)


def _atlas(text: str) -> str:
    mark = _ATLAS.search(text)
    if mark is None:
        return text
    delimiter = mark[1].strip().replace("\\n", "\n").replace("\\r", "").replace("\\t", "\t")
    before, after = text[: mark.start()], text[mark.end() :]
    if not delimiter.strip():
        return before + after.replace(delimiter, ";" + delimiter)
    if delimiter.startswith("--"):
        return before + after.replace(delimiter, ";")
    return f"{before}DELIMITER {delimiter}{after}"
