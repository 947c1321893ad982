"""Replaces `${VAR}` and `${VAR:-default}` in a value, once. `$$` becomes a dollar; any other `$` stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from orchestrator.manifest.diagnostics import InvalidValueError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIECE: Final = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_ONLY_PLACEHOLDERS: Final = re.compile(r"[ \t]*(?:\$\{[^}]*\}[ \t]*)+")


class VariableError(InvalidValueError):
    """A placeholder that cannot be replaced. The text shows no variable's value."""

    is_sentence = True


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with its placeholders replaced. Their values are not expanded. Raises VariableError."""
    if "$" not in text:
        return text
    return _PIECE.sub(lambda match: "$" if match[0] == "$$" else _value(*_parse(match), environ), text)


def placeholders(text: str) -> tuple[tuple[str, str | None], ...]:
    """Return the variables in `text`, each with its default. Raises VariableError for a malformed placeholder."""
    return tuple(_parse(match) for match in _PIECE.finditer(text) if match[0] != "$$")


def only_placeholders(text: str) -> bool:
    """Return whether `text` has only placeholders without defaults, and blanks.

    Raises VariableError for a malformed placeholder.
    """
    named = placeholders(text)
    return _ONLY_PLACEHOLDERS.fullmatch(text) is not None and not any(default for _, default in named)


def _parse(match: re.Match[str]) -> tuple[str, str | None]:
    inner, closed = match.groups()
    if not closed:
        message, hint = "`${` is never closed", "write `${NAME}`, or `$$` for a dollar"
        raise VariableError(message, code="invalid-placeholder", hint=hint)
    name, dash, default = inner.partition(":-")
    if not _NAME.fullmatch(name):
        message = "`${...}` does not contain a variable's name"
        hint = "write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar"
        raise VariableError(message, code="invalid-placeholder", hint=hint)
    if "${" in default:
        message = f"the default of ${{{name}}} contains another `${{`"
        raise VariableError(message, code="invalid-placeholder", hint="write a plain text as the default")
    return name, default.replace("$$", "$") if dash else None


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if default is not None:
        value = value or default
    if value is None:
        hint = f"set it, or write ${{{name}:-default}}"
        raise VariableError(f"the variable {name} is not set", code="unset-variable", hint=hint)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        message = f"the value of the variable {name} is not UTF-8"
        raise VariableError(message, code="not-utf8", hint="set it to UTF-8 text") from None
    return value
