"""The patterns behind the lexer: what a token, a comment and a string look like in each dialect."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

from orchestrator.changes.dialects import Dialect

_WORDS: Final = {
    "tsql": r"(?:[^\W\d]|\#)[\w$#@]*+",
    "redshift": r"\#?[^\W\d][\w$]*+",
}
"""What a word may hold where it may hold more than elsewhere; `#x` is a temporary table."""
_BACKSLASHED: Final = r"(?:[^{q}\\]++|\\.|{q}{q})*+"
_DOUBLED: Final = r"(?:[^{q}]++|{q}{q})*+"
STOPS: Final = (
    *("CREATE", "ALTER", "DROP", "SELECT", "EXEC", "EXECUTE", "USE", "DECLARE", "SET", "GRANT", "REVOKE", "DENY"),
    *("IF", "BEGIN", "DELIMITER"),
)
"""Words at which the hurried walk stops where statements need no semicolon between them."""

_TEMPLATE: Final = r"\{\{|\{%|\{\#|\$\{|<%|\$\(|&\{"


class Lexicon(NamedTuple):
    """A dialect's patterns."""

    token: re.Pattern[str]
    """The next token, and the blanks and comments before it; the group says what it is."""
    statement: re.Pattern[str]
    """All that a statement may hold, up to what may end it or needs a closer look."""
    inside: re.Pattern[str]
    """The same between parentheses."""


@cache
def lexicon(dialect: Dialect) -> Lexicon:
    """The patterns for that dialect's text; each is compiled once."""
    content = _BACKSLASHED if dialect.backslash else _DOUBLED
    comments = [r"--(?=\s|$)[^\n]*+|^[ \t]*+--[^\n]*+" if dialect.name == "mysql" else r"--[^\n]*+"]
    if dialect.hash_comments:
        comments.append(r"\#(?!\{)[^\n]*+" if dialect.name != "mysql" else r"\#[^\n]*+")
    if dialect.slash_comments:
        comments.append(r"(?<![:/])//[^\n]*+")
    if not dialect.nested_comments:
        begins = r"/\*(?!M?!)" if dialect.versioned_comments else r"/\*"
        comments.append(begins + r"(?:[^*]++|\*(?!/))*+\*/")
    strings: list[str] = []
    if dialect.triple_quotes:
        triple = r"(?:[rRbB]{{0,2}}){q}{q}{q}(?:[^\\{q}]++|\\.|{q}(?!{q}{q}))*+{q}{q}{q}"
        strings += [triple.format(q="'"), triple.format(q='"')]
    if dialect.raw_strings:
        for q in ("'", '"'):
            raw = content if dialect.name == "bigquery" else _DOUBLED
            strings.append(f"(?:[rR][bB]?|[bB][rR]){q}{raw.format(q=q)}{q}")
    if dialect.escape_strings:
        strings.append("[eE]'" + _BACKSLASHED.format(q="'") + "'")
    strings.append("(?:[nNbBxX]|[uU]&)?'" + content.format(q="'") + "'")
    if dialect.double_quoted_strings:
        strings.append('(?:[bB])?"' + content.format(q='"') + '"')
    names = ["`" + _DOUBLED.format(q="`") + "`"]
    if not dialect.double_quoted_strings:
        names.append('(?:[uU]&)?"' + _DOUBLED.format(q='"') + '"')
    if dialect.brackets:
        names.append(r"\[(?:[^\]]++|\]\])*+\]")
    word = _WORDS.get(dialect.name, r"[^\W\d][\w$]*+")
    parts = [
        rf"(?P<string>{'|'.join(strings)})",
        rf"(?P<word>(?![uU]&['\"]){word})",
        rf"(?P<name>{'|'.join(names)})",
        r"(?P<number>\d\w*+)",
        r"(?P<variable>@{1,2}[^\W\d][\w$]*+)",
        rf"(?P<template>{_TEMPLATE})",
        r"(?P<comment>/\*)",
        r"(?P<dollar>\$(?:[^\W\d]\w*+)?\$)",
        r"(?P<sign>:=|::|\|\||\+=|=>|<<|>>|.)",
    ]
    blank = rf"(?:[\s\ufeff\u200b]++|{'|'.join(comments)})*+"
    flags = re.DOTALL | re.MULTILINE
    return Lexicon(
        re.compile(f"{blank}(?:{'|'.join(parts)})?", flags),
        re.compile(_run(dialect, strings, comments, inside=False), flags),
        re.compile(_run(dialect, strings, comments, inside=True), flags),
    )


def _run(dialect: Dialect, strings: list[str], comments: list[str], *, inside: bool) -> str:
    """What can be passed over in one go: all up to the next thing that ends a statement or needs a closer look."""
    plain = r"[^;'\"`$/\-\#\[{<&\\\n*@]++"
    if inside:
        plain = r"[^();'\"`$/\-\#\[{<&\\\n*@]++"
    elif dialect.batches:
        plain = r"(?:[^\w;'\"`$/\-\#\[{<&\\\n*@]|\d)++|(?!(?i:" + "|".join(STOPS) + r")\b)(?:[^\W\d]|\#)[\w$#@]*+"
    prefixed = [each for each in strings if each.startswith(("[eE]", "(?:[rR]"))]
    behind = [rf"(?<=[^\w][eErR]){each[each.index(chr(39)) :]}" for each in prefixed if "'" in each]
    quotes = '"`' if not dialect.double_quoted_strings else "`"
    names = [rf"{q}[^{q}{{$<&]*+{q}" for q in quotes]
    if dialect.brackets:
        names.append(r"\[[^\]{$<&]*+\]")
    signs = [r"-(?!-)", r"/(?!\*)", r"\*(?!/)", "@", r"[{](?![{%\#])", r"<(?!%)", r"&(?!\{)", r"\$(?=\d)"]
    if dialect.name == "mysql":
        signs.append(r"--(?!\s)")
    if not dialect.hash_comments:
        signs.append(r"\#")
    if not dialect.brackets:
        signs.append(r"\[")
    ending = (
        r"[ \t]*+(?:[gG][oO]\b[ \t]*+\d*+[ \t]*+;?+[ \t]*+$|/[ \t]*+$|[dD][eE][lL][iI][mM][iI][tT][eE][rR]\s|\\"
        r"|(?:/\*(?:[^*]++|\*(?!/))*+\*/[ \t]*+)?(?i:CREATE|ALTER|DROP)\s++(?i:OR|TABLE|VIEW|SCHEMA|DATABASE|MATERIALIZED|TEMP|TEMPORARY|FUNCTION|PROCEDURE|"
        r"UNIQUE|INDEX|TYPE|EXTERNAL|TRANSIENT|DYNAMIC|UNLOGGED|FOREIGN|SEQUENCE|TRIGGER|EXTENSION|DOMAIN)\s"
        r"|(?i:RENAME\s++TABLE)\s|(?i:DO)\s++\$|(?i:EXECUTE\s++IMMEDIATE)\s)"
    )
    alternatives = [plain, *behind, *strings, *names, rf"\n(?!{ending})", *comments, *signs]
    return f"(?:{'|'.join(alternatives)})*+"
