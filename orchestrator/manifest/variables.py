"""`${VAR}` and `${VAR:-default}` in a value, replaced once; `$$` is a dollar, any other `$` is itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIECE: Final = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_ONLY_PLACEHOLDERS: Final = re.compile(r"[ \t]*(?:\$\{[^}]*\}[ \t]*)+")


class VariableError(ValueError):
    """A placeholder that cannot be replaced; the text says why, and what to do, and shows no variable's value."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced; what comes out is not looked at again. Raises VariableError."""
    return _replace(text, lambda name, default: _value(name, default, environ)) if "$" in text else text


def placeholders(text: str) -> tuple[tuple[str, str | None], ...]:
    """The variables that `text` names, each with its default. Raises VariableError for a malformed placeholder."""
    found: list[tuple[str, str | None]] = []

    def note(name: str, default: str | None) -> str:
        found.append((name, default))
        return ""

    _replace(text, note)
    return tuple(found)


def only_placeholders(text: str) -> bool:
    """Whether `text` is made of placeholders and blanks alone, and no default puts a text of its own there.

    Raises VariableError for a malformed placeholder.
    """
    named = placeholders(text)
    return _ONLY_PLACEHOLDERS.fullmatch(text) is not None and not any(default for _, default in named)


def _replace(text: str, value_of: Callable[[str, str | None], str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        inner, closed = match.groups()
        if not closed:
            raise VariableError("`${` is never closed: write `${NAME}`, or `$$` for a dollar")
        name, dash, default = inner.partition(":-")
        if not _NAME.fullmatch(name):
            raise VariableError(
                "`${...}` holds no variable's name: write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar"
            )
        if "${" in default:
            raise VariableError(f"the default of ${{{name}}} holds another `${{`: a default is a plain text")
        return value_of(name, default.replace("$$", "$") if dash else None)

    return _PIECE.sub(one, text)


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise VariableError(f"the variable {name} is not set: set it, or write ${{{name}:-default}}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise VariableError(f"the variable {name} is not UTF-8") from None
    return value
