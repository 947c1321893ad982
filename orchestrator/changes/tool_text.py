"""What tools write into and around SQL: placeholders, and the marks where a piece ends or reverts a migration.

Placeholders are filled from known values, or refused. A border is a line that always ends a statement: a change set, a part, a cell, a
breakpoint. A text is divided at its borders before anything in it is read. Thus no quote, comment or body crosses a border.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final, NamedTuple

MARK: Final = "\0"
"""A piece that is not known, in SQL that is built at run time."""

SIGNS: Final = frozenset({":", "$", "%", "{", "&", "#", "@", "<", "?"})
"""How a placeholder may begin where a name is expected, or inside a name."""

TEMPLATE: Final = r"<%[=\-]?[^\n]*?%>|\$\([^\W\d]\w*\)|&\{\w+\}|\$\{[^}\n]*\}?|\{\{.{0,400}?\}\}|\{%.{0,400}?%\}|\{\#.{0,400}?\#\}|\{[{%]"
"""Placeholders that are never SQL: they are refused everywhere except in a string, a comment or a quoted name."""

PLACEHOLDER: Final = re.compile(
    rf"{MARK}|{TEMPLATE}|\{{[^{{}}\s]+\}}|\#\{{[^}}]*\}}|%\w+%|%\(\w+\)[sd]|%[sd](?![^\W_])|\$\w+\$|@\w+@|\[\[\w+\]\]",
    re.DOTALL,
)
"""A placeholder in a quoted name. A statement that changes an object of such a name is refused."""

_NAME: Final = r"[^\W\d][\w.\-]*"
_USE: Final = (
    r"(?<![:\w]):(?:(?P<colon>[^\W\d]\w*)|'(?P<literal>[^\W\d]\w*)'|\"(?P<ident>[^\W\d]\w*)\")"
    rf"|\$\{{\s*(?P<brace>{_NAME})\s*(?::-?[^}}\n]*)?\}}|\$\((?P<sqlcmd>\w+)\)|\$(?P<dollars>[^\W\d]\w*)\$"
    r"|(?<![\w$])\$(?P<dollar>[^\W\d]\w*)"
    rf"|\{{\{{\s*(?P<jinja>{_NAME})\s*\}}\}}|<%=?\s*(?P<erb>{_NAME})\s*%>|\#\{{\s*(?P<octopus>{_NAME})\s*\}}"
    rf"|&\{{?(?P<amp>[^\W\d]\w*)\}}?(?:\.(?=\.))?|%\((?P<python>\w+)\)[sd]|%(?P<percent>[^\W\d]\w*)%|\{{(?P<single>{_NAME}|\d+)\}}"
    r"|@(?P<ats>[^\W\d]\w*)@|(?<![\w@])@(?P<at>[^\W\d]\w*)|\[\[(?P<bracket>\w+)\]\]"
)
"""Every form in which a tool or a client writes a variable; the group's name says which."""

_SETS: Final = (
    r"(?i:^[ \t]*(?::setvar[ \t]+(?P<setvar>\w+)[ \t]+(?P<value>\"[^\"\n]*\"|[^\s\"]+)[^\n]*"
    r"|\\set[ \t]+(?P<psql>\w+)[ \t]+(?P<words>[^\n]*)"
    r"|!define[ \t]+(?P<define>\w+)[ \t]*=[ \t]*(?P<defined>[^\s]+)[^\n]*)$)"
)
"""Lines in which the text itself sets a variable of its client: sqlcmd, psql, SnowSQL."""
_MAY_SET: Final = re.compile(r"\\set|!define|:setvar", re.IGNORECASE)


class Filled(NamedTuple):
    """A text whose placeholders are filled."""

    text: str
    fills: Sequence[tuple[int, int, str]] = ()
    """Where each value begins and ends in the text, and its placeholder as the file has it."""

    def written(self, start: int, end: int) -> str:
        """Return the text from `start` to `end` as the file has it."""
        pieces: list[str] = []
        first = bisect_left(self.fills, start, key=lambda each: each[1])
        last = bisect_left(self.fills, end, key=lambda each: each[0])
        for begin, behind, placeholder in self.fills[first:last]:
            pieces += [self.text[start:begin], placeholder]
            start = behind
        return "".join([*pieces, self.text[start:end]])


def fill(text: str, values: Mapping[str, str], own: dict[str, str]) -> Filled:
    """Return the text with every placeholder filled whose value is known: given, or set by a line of the text before it.

    Lines keep their numbers. A placeholder without a value stays; it is refused later if it is part of a name. `own` holds the
    variables that earlier texts set for their client. Those of this text are added.
    """
    if not values and not own and not _MAY_SET.search(text):
        return Filled(text)
    signs = [name for name in values if not re.fullmatch(r"\w[\w.\-]*", name)]  # the placeholder as it is written
    kept: list[str] = []
    fills: list[tuple[int, int, str]] = []
    here = length = 0
    known = ChainMap(dict(values), own)
    for found in re.finditer("|".join([_SETS, *map(re.escape, signs), _USE]), text, re.MULTILINE):
        form = found.lastgroup or 0
        if form in {"value", "words", "defined"}:
            _set_variable(found, values, own)
            value: str | None = ""
        else:
            value = _value(found, form, known)
        if value is None:
            continue
        kept += [text[here : found.start()], value]
        length += found.start() - here + len(value)
        here = found.end()
        fills.append((length - len(value), length, found[0]))
    return Filled("".join([*kept, text[here:]]), fills)


def _value(use: re.Match[str], form: str | int, known: Mapping[str, str]) -> str | None:
    """Return the SQL for a placeholder; None if its value is not known."""
    value = known.get(use[form])
    if value is None and form == "sqlcmd":
        value = known.get(use[form].lower())
    if value is None or form not in {"literal", "ident"}:
        return value
    quote = "'" if form == "literal" else '"'
    return quote + value.replace(quote, quote * 2) + quote


def _set_variable(line: re.Match[str], values: Mapping[str, str], own: dict[str, str]) -> None:
    """Read a line that sets a variable. A value that was given wins."""
    name = line["setvar"] or line["psql"] or line["define"]
    value = fill(line["value"] or line["words"] or line["defined"] or "", values, own).text
    if line["psql"]:  # the words joined, without their quotes
        pieces = re.findall(r"'((?:[^'\\]|\\.|'')*)'|(\S+)", value)
        set_value = "".join(quoted.replace("''", "'") or bare for quoted, bare in pieces)
    else:
        set_value = value.strip('"')
    if name not in values and not (line["psql"] and "`" in value):  # a program's output is not known
        own[name] = set_value
        if line["setvar"]:
            own[name.lower()] = set_value


class Segment(NamedTuple):
    """SQL between two borders."""

    line: int
    """The number of its first line."""
    text: str
    delimiter: str = ";"
    """What ends a statement in it."""


_TOOL_MARK: Final = re.compile(
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
    marks = list(_TOOL_MARK.finditer("\n" + text))
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

    They are marks if Up precedes all SQL, Down follows, and the file's name begins with a number. `-- Up Migration` only needs a name
    that is not Flyway's.
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
