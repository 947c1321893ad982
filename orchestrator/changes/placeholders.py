"""Placeholders: text that a tool puts into SQL before it runs. They are filled from values that are known, or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

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
"""A placeholder in a quoted name; the name is refused if the statement changes what it stands for."""

_NAME: Final = r"[^\W\d][\w.\-]*"
_USE: Final = re.compile(
    r"(?<![:\w]):(?:(?P<colon>[^\W\d]\w*)|'(?P<literal>[^\W\d]\w*)'|\"(?P<ident>[^\W\d]\w*)\")"
    rf"|\$\{{\s*(?P<brace>{_NAME})\s*(?::-?[^}}\n]*)?\}}|\$\((?P<sqlcmd>\w+)\)|\$(?P<dollars>[^\W\d]\w*)\$"
    r"|(?<![\w$])\$(?P<dollar>[^\W\d]\w*)"
    rf"|\{{\{{\s*(?P<jinja>{_NAME})\s*\}}\}}|<%=?\s*(?P<erb>{_NAME})\s*%>|\#\{{\s*(?P<octopus>{_NAME})\s*\}}"
    rf"|&\{{?(?P<amp>[^\W\d]\w*)\}}?(?:\.(?=\.))?|%\((?P<python>\w+)\)[sd]|%(?P<percent>[^\W\d]\w*)%|\{{(?P<single>{_NAME}|\d+)\}}"
    r"|@(?P<ats>[^\W\d]\w*)@|(?<![\w@])@(?P<at>[^\W\d]\w*)|\[\[(?P<bracket>\w+)\]\]"
)
"""Every form in which a tool or a client writes a variable; the group's name says which."""

_SETS: Final = re.compile(
    r"^[ \t]*(?::setvar[ \t]+(?P<setvar>\w+)[ \t]+(?P<value>\"[^\"\n]*\"|[^\s\"]+)[^\n]*"
    r"|\\set[ \t]+(?P<psql>\w+)[ \t]+(?P<words>[^\n]*)"
    r"|!define[ \t]+(?P<define>\w+)[ \t]*=[ \t]*(?P<defined>[^\s]+)[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)
"""Lines in which the text itself sets a variable of its client: sqlcmd, psql, SnowSQL."""


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with every placeholder filled whose value is known: given, or set by a line of the text before it.

    Lines keep their numbers. What is not known stays, and is refused where it would be part of a name.
    """
    for name, value in values.items():
        if not re.fullmatch(r"\w[\w.\-]*", name):  # the placeholder as it is written, signs included
            text = text.replace(name, value)
    may_set = "\\set" in text or "!define" in text or ":setvar" in text.lower()
    known = dict(values)
    kept: list[str] = []
    here = 0
    for line in _SETS.finditer(text) if may_set else ():
        kept.append(_filled(text[here : line.start()], known))
        here = line.end()
        name = line["setvar"] or line["psql"] or line["define"]
        value = _filled(line["value"] or line["words"] or line["defined"] or "", known)
        if line["psql"]:  # the words joined, without their quotes
            pieces = re.findall(r"'((?:[^'\\]|\\.|'')*)'|(\S+)", value)
            set_value = "".join(quoted.replace("''", "'") or bare for quoted, bare in pieces)
        else:
            set_value = value.strip('"')
        if name not in values and not (line["psql"] and "`" in value):  # a program's output is not known
            known[name] = set_value
            if line["setvar"]:
                known[name.lower()] = set_value
    kept.append(_filled(text[here:], known))
    return "".join(kept)


def _filled(text: str, known: Mapping[str, str]) -> str:
    if not known:
        return text

    def put(use: re.Match[str]) -> str:
        form = use.lastgroup or ""
        name = use[form]
        value = known.get(name, known.get(name.lower()) if form == "sqlcmd" else None)
        if value is None:
            return use[0]
        if form == "literal":
            return "'" + value.replace("'", "''") + "'"
        return '"' + value.replace('"', '""') + '"' if form == "ident" else value

    return _USE.sub(put, text)
