"""Placeholders: text that a tool puts into SQL before it runs. They are filled from values that are known, or refused."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

MARK: Final = "\0"
"""Stands in SQL that is put together when it runs, for a piece that is not known before."""

SIGNS: Final = frozenset({":", "$", "%", "{", "&", "#", "@", "<", "?"})
"""How a placeholder may begin in the place of a name, or in the middle of one."""

TEMPLATE: Final = r"<%[=\-]?[^\n]*?%>|\$\([^\W\d]\w*\)|&\{\w+\}|\$\{[^}\n]*\}?|\{\{.{0,400}?\}\}|\{%.{0,400}?%\}|\{\#.{0,400}?\#\}|\{[{%]"
"""Placeholders that no SQL can be: they are refused in any place but a string, a comment or a quoted name."""

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
        for begin, behind, placeholder in self.fills[bisect_left(self.fills, start, key=lambda each: each[1]) :]:
            if begin >= end:
                break
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
    for found in re.finditer("|".join([_SETS, *map(re.escape, signs), _USE]), text, re.MULTILINE):
        form = found.lastgroup or 0
        if form in {"value", "words", "defined"}:
            _set_variable(found, values, own)
            value: str | None = ""
        else:
            value = _value(found, form, ChainMap(dict(values), own))
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
