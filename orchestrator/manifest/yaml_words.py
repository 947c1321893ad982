"""The YAML library's complaints, in words that say what to do."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from orchestrator.manifest.manifest import Place

if TYPE_CHECKING:
    from yaml.error import YAMLError

_UNKNOWN: Final = "this is not YAML: look at the indentation, the quotes and the brackets"
_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")
# What the library says of the context and the problem (either of its parsers) -> whether the fault stands where the
# context began, and our words.
_WORDS: Final = (
    ("", "exceeded maximum nesting depth", False, "this is nested too deeply"),
    ("quoted scalar", "unexpected end of stream", True, "this quote is never closed"),
    ("quoted scalar", "unexpected document", True, "this quote is not closed where the document ends"),
    ("flow node", "", False, "a value is missing here: perhaps a bracket that was opened before is not closed"),
    ("flow sequence", "", True, "this list is not closed: a comma or `]` is missing, line {line} at the latest"),
    ("flow mapping", "", True, "this mapping is not closed: a comma or `}}` is missing, line {line} at the latest"),
    (
        "",
        "mapping values are not allowed",
        False,
        "a key with its `:` cannot stand here: look at the indentation, and put a text that holds `: ` in quotes",
    ),
    ("simple key", "':'", True, "this line is not `key: value`: a `:` is missing, or the line is not indented"),
    ("block mapping", "", False, "a `key: value` is missing here: look at the indentation and the quotes"),
    ("block collection", "", False, "a `- item` is missing here: look at the indentation"),
    ("", "block sequence entries are not allowed", False, "a `- item` cannot stand here: look at the indentation"),
    (
        "",
        "unknown escape character",
        False,
        "double quotes know no such escape: write `\\\\` for a backslash, or use single quotes",
    ),
    ("", "Unicode character escape", False, "this escape is no character"),
    ("double-quoted scalar", "hexadecimal", False, "this escape lacks hexadecimal digits"),
    ("quoted scalar", "hexdecimal", False, "this escape lacks hexadecimal digits"),
    ("", "undefined tag handle", False, "this tag is not known: remove it"),
    (" tag", "", False, "this tag is not understood: remove it"),
    (
        "anchor",
        "",
        False,
        "the name of an anchor or alias is letters, digits, `-` and `_`: a text that begins with `&` needs quotes",
    ),
    (
        "alias",
        "",
        False,
        "the name of an anchor or alias is letters, digits, `-` and `_`: a text that begins with `*` needs quotes",
    ),
    ("directive", "", False, "a line that begins with `%` is a directive: a text that begins with `%` needs quotes"),
    ("", "YAML document", False, "this file says that it is of another YAML than 1.1 or 1.2"),
    ("", "YAML directive", False, "the %YAML line stands twice: remove one"),
    ("block scalar", "indent", False, "the indentation after `|` or `>` is not understood"),
    ("block scalar", "", False, "only a comment may follow `|` or `>` in its line"),
    ("", "document start", False, "this stands outside of the document: look at the indentation of the lines before"),
)


def reword(error: YAMLError, text: str) -> tuple[Place, str]:
    """Where `text` stops being YAML, and what to do about it. The library's error is of either of its parsers."""
    context_mark = getattr(error, "context_mark", None)
    problem_mark = getattr(error, "problem_mark", None) or context_mark
    if problem_mark is None:
        return Place(1, 1), _UNKNOWN
    line, column = problem_mark.line, problem_mark.column
    place = Place(line + 1, column + 1)
    context, problem = getattr(error, "context", None) or "", getattr(error, "problem", None) or ""
    shown = _line(text, line)
    if _tab_indents(shown) and not ("flow" in context or "quoted" in context):
        return Place(line + 1, shown.index("\t") + 1), "a tab indents this line: use spaces"
    if "cannot start any token" in problem:
        return place, _no_token(shown, column)
    if "flow" in context and "${" in shown:
        return Place(line + 1, shown.index("${") + 1), "inside of brackets a `${...}` needs quotes around its text"
    for in_context, in_problem, from_context, words in _WORDS:
        if in_context in context and in_problem in problem:
            if from_context and context_mark is not None:
                place = Place(context_mark.line + 1, context_mark.column + 1)
            return place, words.format(line=line + 1)
    return place, _UNKNOWN


def _no_token(line: str, column: int) -> str:
    char = line[column : column + 1]
    if char == "\t":
        return "a tab stands here, where YAML wants spaces"
    return f"a text cannot begin with {char} here: put it in quotes"


def _tab_indents(line: str) -> bool:
    return "\t" in line[: len(line) - len(line.lstrip(" \t"))]


def _line(text: str, number: int) -> str:
    """The line of this number, counted from 0, with its end."""
    lines = _LINES.finditer(text)
    match = next(itertools.islice(lines, number, None), None)
    return match[0] if match else ""
